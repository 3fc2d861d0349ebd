#!/usr/bin/env bash
# Usage: bash tools/setup.sh TARGET
#
# Checks that this machine has what `make TARGET` needs. On Debian and Ubuntu it installs missing packages through apt,
# as root or with sudo. If something cannot be installed, it names that in one line and exits with 1 before it changes
# anything.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1-} in
  run) needs=(go postgresql) ;;
  lint) needs=(go node git) ;;
  race) needs=(go cc) ;;
  release) needs=(go node git) ;;
  restore) needs=(go node cc postgresql pg_dump) ;;
  test) needs=(go node git cc curl pgbouncer new-pgbouncer postgresql pg_dump chromium systemd nginx haproxy) ;;
  rolling) needs=(go cc postgresql nginx haproxy) ;;
  bench) needs=(go pgbouncer postgresql) ;;
  ci) needs=(make go node git cc curl pgbouncer new-pgbouncer postgresql pg_dump chromium systemd nginx haproxy) ;;
  *) echo "usage: tools/setup.sh run|lint|race|release|restore|test|rolling|bench|ci" >&2 && exit 2 ;;
esac

on_path() { command -v "$1" >/dev/null; }

# in_postgresql finds a program in the folders of PostgreSQL's packages, which are not in PATH.
in_postgresql() {
  compgen -G "/usr/lib/postgresql/*/bin/$1" || compgen -G "/opt/homebrew/opt/postgresql@*/bin/$1" ||
    compgen -G "/usr/local/opt/postgresql@*/bin/$1"
}

# has reports whether a need is met.
has() {
  case $1 in
    go) go list -m ;; # fails if go.mod requires a newer Go that this one may not fetch
    node) on_path npm && node -e 'const [major, minor] = process.versions.node.split(".").map(Number)
      process.exit(major > 20 || major === 20 && minor >= 19 ? 0 : 1)' ;;
    cc) echo '#include <stdlib.h>' | $(go env CC) -x c -fsyntax-only - ;;
    pgbouncer | nginx | haproxy) on_path "$1" || [ -x "/usr/sbin/$1" ] ;;
    new-pgbouncer) tools/pgbouncer.sh ;; # downloads it on Debian
    postgresql) on_path initdb || in_postgresql initdb || on_path npm ;; # without initdb, docket dev fetches PostgreSQL through npm
    pg_dump) on_path pg_dump || in_postgresql pg_dump || [ -x /opt/homebrew/opt/libpq/bin/pg_dump ] ;;
    chromium) on_path chromium || on_path chromium-browser || on_path google-chrome ;;
    systemd) [ "$(uname)" != Linux ] || on_path systemd-analyze ;; # systemd need not run
    *) on_path "$1" ;;
  esac >/dev/null 2>&1
}

# name returns the description of a need for messages.
name() {
  case $1 in
    go) echo "Go 1.26 or newer" ;;
    node) echo "Node.js 20.19 or newer with npm" ;;
    cc) echo "a C compiler" ;;
    pgbouncer) echo "PgBouncer" ;;
    haproxy) echo "HAProxy" ;;
    new-pgbouncer) echo "PgBouncer 1.21 or newer, or Debian to download it (tools/pgbouncer.sh says what is wrong)" ;;
    postgresql) echo "PostgreSQL 15 to 18 or npm" ;;
    pg_dump) echo "PostgreSQL's client programs, such as pg_dump" ;;
    chromium) echo "Chromium or Google Chrome" ;;
    systemd) echo "systemd-analyze" ;;
    *) echo "$1" ;;
  esac
}

# packages lists the apt packages for a need, or nothing if apt's version is too old on most releases.
packages() {
  case $1 in
    go | node) ;;
    new-pgbouncer) echo pgbouncer ;;
    cc) echo gcc libc6-dev ;;
    postgresql) echo postgresql ;;
    pg_dump) echo postgresql-client ;;
    chromium) if grep -q '^ID=ubuntu' /etc/os-release; then echo chromium-browser; else echo chromium; fi ;;
    *) echo "$1" ;;
  esac
}

# fail prints the unmet needs in one line, with the hint if there is one, and exits.
hint="README.md says what is needed"
fail() {
  local names="" need
  for need in "$@"; do names+="${names:+; }$(name "$need")"; done
  echo "missing: $names ($hint)" >&2
  exit 1
}

missing=()
for need in "${needs[@]}"; do
  has "$need" || missing+=("$need")
done
[ ${#missing[@]} -gt 0 ] || exit 0

apt=() by_hand=()
for need in "${missing[@]}"; do
  read -ra found <<<"$(packages "$need")"
  if [ ${#found[@]} -gt 0 ]; then apt+=("${found[@]}"); else by_hand+=("$need"); fi
done
[ ${#by_hand[@]} = 0 ] || fail "${by_hand[@]}"
[ -r /etc/os-release ] && on_path apt-get || fail "${missing[@]}"
sudo=(env)
if [ "$(id -u)" != 0 ]; then
  hint="as root: apt-get install ${apt[*]}"
  on_path sudo || fail "${missing[@]}"
  sudo=(sudo env)
fi
echo "Installing what is missing: ${sudo[*]/env/}apt-get install ${apt[*]}"
"${sudo[@]}" apt-get update -qq || echo "apt-get update failed: continuing with the existing package lists" >&2
"${sudo[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${apt[@]}" >/dev/null ||
  fail "${missing[@]}"
for need in "${missing[@]}"; do
  has "$need" || fail "$need"
done
