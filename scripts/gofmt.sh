#!/usr/bin/env bash
# Fails, naming them, when files are not formatted. Packages of npm may bring
# Go files along; those are none of ours.
set -euo pipefail
cd "$(dirname "$0")/.."
gofmt="$(go env GOROOT)/bin/gofmt" # the toolchain that go.mod asks for has its own
bad=$(find . -name '*.go' -not -path '*/node_modules/*' -not -path './.git/*' -exec "$gofmt" -l {} +)
[ -z "$bad" ] && exit 0
printf 'not formatted, run gofmt -w on:\n%s\n' "$bad" >&2
exit 1
