#!/usr/bin/env bash
# Fuzzes every target of the module, or those whose package and name match $1 (a
# regular expression, such as 'internal/transport Fuzz'), for FUZZTIME each
# (default 30s), and ends with a table: what was run and found, and how much of the
# package's files the corpus reaches. FUZZREPORT=FILE writes the table into FILE,
# between its two marks. Inputs that fail are kept by go under the package's
# testdata/fuzz, where every later go test runs them.
set -euo pipefail
report=${FUZZREPORT:+$(realpath "$FUZZREPORT")}
cd "$(dirname "$0")/.."
for mark in '<!-- fuzz -->' '<!-- end of fuzz -->'; do
  [ -z "$report" ] || grep -qxF -- "$mark" "$report" || { echo "fuzz: $report has no line $mark" >&2; exit 1; }
done
root=$PWD each=${FUZZTIME:-30s} want=${1:-.} targets=0 failed=""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=$(go env GOCACHE)/fuzz module=$(go list -m)

# run PACKAGE TARGET runs the corpus, seeds and what was found since, and leaves a
# profile of what it covers.
run() {
  local package=$1 name=$2 tree=$work/tree place entry
  place=$tree/$package
  rm -rf "$tree" && mkdir -p "$place/testdata/fuzz/$name"
  # Where tests find other files of theirs.
  for entry in "$root/$package/testdata"/* "$root"/*; do
    case $entry in
      */testdata/fuzz) ;;
      "$root/$package/testdata"/*) ln -sfn "$entry" "$place/testdata/${entry##*/}" ;;
      *) [ -e "$tree/${entry##*/}" ] || ln -s "$entry" "$tree/${entry##*/}" ;;
    esac
  done
  for seeds in "$package/testdata/fuzz/$name" "$cache/$module/$package/$name"; do
    [ ! -d "$seeds" ] || cp -r "$seeds/." "$place/testdata/fuzz/$name/"
  done
  go test -c -cover -o "$work/binary" "./$package" >/dev/null
  (cd "$place" && "$work/binary" -test.run "^$name\$" -test.coverprofile="$work/$name.profile" >"$work/covered" 2>&1) || { cat "$work/covered" >&2; return 1; }
}

# reach PROFILE... prints the files of which at least a quarter is covered.
reach() {
  awk -F '[: ]' 'FNR > 1 {
    n = split($1, path, "/"); file = path[n]
    block = $1 ":" $2
    size[block] = $3; name[block] = file
    if ($4 > 0) hit[block] = 1
  }
  END {
    for (b in size) { all[name[b]] += size[b]; if (b in hit) good[name[b]] += size[b] }
    for (f in all) if (good[f] * 4 >= all[f]) printf "%s %d %%\n", f, 100 * good[f] / all[f]
  }' "$@" | sort | paste -sd, | sed 's/,/, /g'
}

table=$work/table
{
  echo "| target | executions | new inputs | inputs | what they run of the package's files |"
  echo "|---|---|---|---|---|"
} >"$table"
while read -r dir; do
  package=${dir#"$root"/}
  [ "$package" != "$root" ] || package=.
  # grep says 1 where nothing matches, which is no failure here.
  names=$({ grep -hoE '^func Fuzz[A-Za-z0-9_]*\(' "$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //; s/($//' | sort -u)
  for name in $names; do
    [[ "$package $name" =~ $want ]] || continue
    targets=$((targets + 1))
    echo "== $package $name"
    if (cd "$dir" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$each" -fuzzminimizetime 2s .) 2>&1 | tee "$work/log"; then result=ok; else
      failed+=" $name" result=failed
    fi
    line=$(grep -E '^fuzz: elapsed: .*execs: ' "$work/log" | tail -1 || true)
    execs=$(sed -nE 's/.*execs: ([0-9]+).*/\1/p' <<<"$line")
    new=$(sed -nE 's/.*new interesting: ([0-9]+).*/\1/p' <<<"$line")
    all=$(sed -nE 's/.*\(total: ([0-9]+)\).*/\1/p' <<<"$line")
    files=failed
    if [ $result = ok ]; then
      files="not measured"
      run "$package" "$name" && files=$(reach "$work/$name.profile")
    fi
    echo "| \`$package\` $name | ${execs:-?} | ${new:-?} | ${all:-?} | $files |" >>"$table"
  done
  if [ "$(find "$work" -name '*.profile' | wc -l)" -gt 1 ]; then
    echo "| \`$package\` all of them | | | | $(reach "$work"/*.profile) |" >>"$table"
  fi
  rm -f "$work"/*.profile
done < <(go list -f '{{.Dir}}' ./...)
[ "$targets" -gt 0 ] || { echo "fuzz: no target matches '$want'" >&2; exit 1; }
cat "$table"
if [ -n "$report" ]; then
  {
    sed '/^<!-- fuzz -->$/q' "$report"
    printf '\n%s, %s, for %s each, with %s: `FUZZTIME=%s scripts/fuzz.sh %q`.\n\n' "$(date -u +%F)" "$(go env GOVERSION)" "$each" "$(nproc) processors" "$each" "$want"
    cat "$table"
    echo
    sed -n '/^<!-- end of fuzz -->$/,$p' "$report"
  } >"$work/report"
  cp "$work/report" "$report"
fi
[ -z "$failed" ] || { echo "fuzz: failed:$failed (the inputs are under testdata/fuzz)" >&2; exit 1; }
