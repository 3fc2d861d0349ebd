#!/usr/bin/env bash
# pgbouncer.sh prints the path of a PgBouncer that supports prepared statements (1.21 or newer). It prefers an installed
# one. On Debian before 13 it downloads Debian 13's package with its libraries through apt (25 MB, once) and unpacks it
# in the user's cache folder; nothing is installed. It exits with 1 and a message if it cannot provide one.
set -euo pipefail

supported() { # supported PROGRAM: it runs and is 1.21 or newer
  local version
  version=$("$1" --version 2>/dev/null | sed -n 's/^PgBouncer //p') && [ -n "$version" ] &&
    [ "$(printf '%s\n' 1.21 "$version" | sort -V | head -n 1)" = 1.21 ]
}

for program in $(type -P pgbouncer || true) /usr/sbin/pgbouncer; do
  if supported "$program"; then
    echo "$program"
    exit
  fi
done

folder=${XDG_CACHE_HOME:-$HOME/.cache}/docket/pgbouncer-debian-13
program=$folder/pgbouncer
if supported "$program"; then
  echo "$program"
  exit
fi
rm -rf "$folder"

# shellcheck source=/dev/null
. /etc/os-release 2>/dev/null || true
if [ "${ID:-}" != debian ] || ! command -v apt-get >/dev/null; then
  echo "there is no PgBouncer 1.21 or newer, and it is fetched on Debian only: install one" >&2
  exit 1
fi

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial,sources} "$work/root"
touch "$work/apt/status"

# Copies of this machine's package sources, changed to Debian 13.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
  if [ -f "$file" ] && grep -q "\b$VERSION_CODENAME\b" "$file"; then
    sed "s/\b$VERSION_CODENAME\b/trixie/g" "$file" >"$work/apt/sources/$(basename "$file")"
  fi
done
apt() {
  apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/apt/sources" \
    -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" "$@" >&2
}
echo "downloading Debian 13's PgBouncer through apt (25 MB, once) ..." >&2
apt update
cd "$work/root"
apt download pgbouncer libaudit1 libc6 libcap-ng0 libcap2 libcares2 libevent-2.1-7t64 libpam0g libssl3t64 libsystemd0 \
  libzstd1 zlib1g
for package in *.deb; do
  dpkg-deb -x "$package" .
  rm "$package"
done

# Start the program with the C library that it was built for.
loader=$(find usr/lib -name 'ld-linux-*.so.*' -type f | head -n 1)
cat >pgbouncer <<END
#!/bin/sh
exec '$folder/$loader' --library-path '$folder/$(dirname "$loader")' '$folder/usr/sbin/pgbouncer' "\$@"
END
chmod 755 . pgbouncer
mv -T "$work/root" "$folder" 2>/dev/null || true # another run may have been faster
if ! supported "$program"; then
  echo "Debian 13's PgBouncer does not run here:" >&2
  "$program" --version >&2 || true
  exit 1
fi
echo "$program"
