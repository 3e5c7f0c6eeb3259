#!/usr/bin/env bash
# Fuzzes every target of the module, or those whose name matches $1 (a regular
# expression), for FUZZTIME each (default 30s). Inputs that fail are kept by go
# under the package's testdata/fuzz, where every later go test runs them.
set -euo pipefail
cd "$(dirname "$0")/.."
each=${FUZZTIME:-30s} want=${1:-.} targets=0 failed=""
while read -r dir; do
  # grep says 1 where nothing matches, which is no failure here.
  names=$({ grep -hoE '^func Fuzz[A-Za-z0-9_]*\(' "$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //; s/($//' | sort -u)
  for name in $names; do
    [[ $name =~ $want ]] || continue
    targets=$((targets + 1))
    echo "== ${dir#"$PWD"/} $name"
    (cd "$dir" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$each" .) || failed+=" $name"
  done
done < <(go list -f '{{.Dir}}' ./...)
[ "$targets" -gt 0 ] || { echo "fuzz: no target matches '$want'" >&2; exit 1; }
[ -z "$failed" ] || { echo "fuzz: failed:$failed (the inputs are under testdata/fuzz)" >&2; exit 1; }
