#!/usr/bin/env bash
# Runs Schemathesis, a fuzzer that generates requests from the document, against `docket dev` with the race detector.
# Usage: contract/fuzz.sh [SEED] [OPTION OF schemathesis run]...
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
seed=${1:-$((RANDOM * 32768 + RANDOM))}
shift || true

source contract/venv.sh

# The database is in memory if possible, so that the run does not depend on the speed of the disk.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
chmod 755 "$work" # PostgreSQL does not run as root, so its user needs access
bin=$(mktemp -d) # /dev/shm may be mounted noexec
docket=
finish() {
  if [ -n "$docket" ]; then kill "$docket" 2>/dev/null || true; wait "$docket" 2>/dev/null || true; fi
  rm -rf "$work" "$bin"
}
trap finish EXIT

go build -race -o "$bin/docket" ./cmd/docket
(
  cd "$work"
  unset "${!DATABASE_@}" "${!BETTER_AUTH_@}" "${!AUTH_@}" "${!MIGRATE_@}" # may be set for another instance
  umask 077
  exec "$bin/docket" dev --addr 127.0.0.1:0 >out 2>log
) &
docket=$!
until grep -q '^Ctrl-C' "$work/out" 2>/dev/null; do
  kill -0 "$docket" 2>/dev/null || { cat "$work/log"; exit 1; }
  sleep 0.1
done

url=$(sed -n 's|^ *API  *\(http://127\.0\.0\.1:[0-9]*\)$|\1|p' "$work/out")
DOCKET_TOKEN=$(grep -m1 '^eyJ' "$work/out")
DOCKET_OWNER=$(sed -n 's/^A token for the demo user \([^,]*\),.*/\1/p' "$work/out")
export DOCKET_URL=$url DOCKET_TOKEN DOCKET_OWNER NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
export SCHEMATHESIS_HOOKS=$root/contract/hooks.py PYTHONDONTWRITEBYTECODE=1
failed=0
(cd "$work" && "$venv/bin/schemathesis" --config-file "$root/contract/schemathesis.toml" run "$root/openapi.yaml" \
  --url "$url" --seed "$seed" --report ndjson --report-ndjson-path "$work/events" "$@") || failed=1
# Options may exclude operations, so that counting would fail.
[ $# -gt 0 ] || "$venv/bin/python" contract/examples.py "$work/events" openapi.yaml || failed=1

kill "$docket"
wait "$docket" || { echo "docket ended with status $? (66: a data race)"; failed=1; }
docket=
if grep -E 'level=ERROR|DATA RACE|panic' "$work/log"; then failed=1; fi
[ "$failed" = 0 ] || { echo "run it again with: contract/fuzz.sh $seed"; exit 1; }
