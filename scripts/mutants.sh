#!/usr/bin/env bash
# Changes the code in small ways, one at a time, and looks whether a test fails:
# of the packages given, or of those that keep somebody signed in. What lived is
# printed, and a score for each package; docs/design/checking.md explains those
# that may live. It works on a copy of what git has or would add.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./tokens ./client # and the packages under them
place=${TMPDIR:-/tmp}
[ -w /dev/shm ] && place=/dev/shm # in memory: what is tested writes through to the disk
work=$(mktemp -d "$place/mutants-XXXXXX")
# A test that ran out of time leaves programs behind, such as a keyring, that
# write there as long as they live: those whose TMPDIR it is are ended first.
clean() {
  for process in /proc/[0-9]*; do
    { tr '\0' '\n' <"$process/environ" | grep -qxF "TMPDIR=$work/tmp" && kill "${process#/proc/}"; } 2>/dev/null || true
  done
  chmod -R u+w "$work" || true
  for _ in {1..50}; do rm -rf "$work" 2>/dev/null && return; sleep 0.1; done
  echo "mutants: $work could not be removed" >&2
}
trap clean EXIT
GOBIN=$work/bin go install github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
mkdir "$work/tree" "$work/tmp"
git ls-files -z -co --exclude-standard | tar --null --ignore-failed-read -T - -cf - | tar -xf - -C "$work/tree"
cd "$work/tree"
# Left out is what takes long and adds nothing: real processes, links, measurements,
# and random runs, which would make the score another one each time.
export TMPDIR=$work/tmp GOFLAGS="-vet=off -count=1 -skip=TestL16Killed|TestL17Processes|TestModelOf|TestModelFaults|TestSizeOfAProgram|TestWhatIsLinked|TestTransportCost"
for package in "$@"; do
  "$work/bin/gremlins" unleash "$package" -E "(^|/)testdata/" --workers "${MUTANTS_WORKERS:-2}" --timeout-coefficient "${MUTANTS_TIMEOUT:-3}" 2>&1 |
    tee "$work/log" | { grep --line-buffered -E 'LIVED|NOT COVERED|TIMED OUT' || true; }
  score=$(grep -E '^(Killed|Timed out|Test efficacy|Mutator coverage)' "$work/log" | tr '\n' ' ')
  [ -n "$score" ] || { cat "$work/log" >&2; exit 1; }
  echo "mutants: $package: $score"
done
