#!/usr/bin/env bash
# Runs the checks of both languages. All Go code is compiled once, with the race
# detector: what vet and staticcheck need as well, and the programs that tests
# build. The browser client's checks run at the same time as the Go tests, and
# more packages than there are cores: each waits a lot, for clocks, browsers and
# databases, while others work. Chromium's tabs wait for each other, so that the
# Go tests give way to them. What the browser client's checks say is printed last.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
GOFLAGS="$($go env GOFLAGS) -race"
export GOFLAGS
$go vet ./...
$go tool staticcheck ./...
log=$(mktemp)
set -m # a process group of its own, so that all of it can be ended
./scripts/web.sh >"$log" 2>&1 &
web=$!
set +m
trap 'kill -- "-$web" 2>/dev/null || true; rm -f "$log"' EXIT
failed=""
nice -n 5 $go test -vet=off -p "$(($(getconf _NPROCESSORS_ONLN) + 2))" -timeout 10m ./... || failed=yes # all of it is vetted above
wait "$web" || failed=yes
cat "$log"
[ -z "$failed" ]
