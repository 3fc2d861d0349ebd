#!/usr/bin/env bash
# Compares the days of rules with those of python-dateutil: random rules first, then those that Go's fuzzer finds.
# Usage: internal/recurrence/fuzz.sh [DURATION]
set -euo pipefail
cd "$(dirname "$0")/../.."
source contract/venv.sh
export DOCKET_TEST_DATEUTIL=$venv/bin/python PYTHONDONTWRITEBYTECODE=1
go test -count=1 -run '^TestDays' ./internal/recurrence -rules 2000
go test -run '^$' -fuzz '^FuzzDays$' -fuzztime "${1:-2m}" ./internal/recurrence
