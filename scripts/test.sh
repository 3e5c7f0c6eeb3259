#!/usr/bin/env bash
# Runs the checks of both languages. All Go code is compiled once, with the race
# detector: what vet and staticcheck need as well, and the programs that tests
# build. The browser client's checks take longest, so they begin as soon as what
# they start is compiled, and go on beside all else; likewise the Go tests that
# wait most are the first of them, and there are more packages at a time than cores:
# each waits a lot, for clocks, browsers and databases, while others work. Chromium's
# tabs wait for each other, so that Go gives way to them. What the browser client's
# checks say is printed last.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
GOFLAGS="$($go env GOFLAGS) -race"
export GOFLAGS
$go vet ./internal/browserstage ./examples/taskboard/... ./cmd/holdfast # which compiles what they are made of
log=$(mktemp)
set -m # a process group of its own, so that all of it can be ended
./scripts/web.sh >"$log" 2>&1 &
web=$!
set +m
trap 'kill -- "-$web" 2>/dev/null || true; rm -f "$log"' EXIT
nice -n 5 $go vet ./...
nice -n 5 $go tool staticcheck ./...
failed=""
first=(./internal/soak ./bench ./internal/interop ./cmd/holdfast ./examples/tutorial ./tokens ./identity ./hub/brokertest)
nice -n 5 $go test -vet=off -p "$(($(getconf _NPROCESSORS_ONLN) + 2))" -timeout 40m "${first[@]}" ./... || failed=yes # all of it is vetted above
wait "$web" || failed=yes
cat "$log"
[ -z "$failed" ]
