#!/usr/bin/env bash
# Runs the tests of both languages. The soak waits more than it works: it runs
# beside the browser client's checks, and is printed after them.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
log=$(mktemp)
trap 'kill "$soak" 2>/dev/null || true; rm -f "$log"' EXIT
$go test -race -timeout 8m ./internal/soak >"$log" 2>&1 &
soak=$!
failed=""
./scripts/web.sh || failed=yes
wait "$soak" || failed=yes
cat "$log"
$go test -race -timeout 8m $($go list ./... | grep -v '/internal/soak$') || failed=yes
[ -z "$failed" ]
