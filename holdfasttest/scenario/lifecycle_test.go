package scenario_test

import (
	"maps"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/holdfasttest/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// features are what the Go client has of Scenario.Needs. A file that needs
// what is not here is listed in waiting, and nowhere else.
var features = []string{"activity", "csrf", "ids", "queue", "sessions"}

// waiting are the files that are not played, and what they need.
var waiting = map[string][]string{
	"L45-opened-again": {"go"}, // a Socket that was closed is closed
}

// played is how many files are.
const played = 60

func TestLifecycle(t *testing.T) {
	all, err := scenario.ReadDir(os.DirFS("../../testdata/lifecycle"))
	if err != nil {
		t.Fatal(err)
	}
	p := scenario.Player{Features: features}
	n, left := 0, map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if missing := p.Missing(all[name]); len(missing) > 0 {
			left[name] = missing
			continue
		}
		n++
		t.Run(name, func(t *testing.T) { p.Play(t, all[name]) })
	}
	if n != played || !maps.EqualFunc(left, waiting, slices.Equal) {
		t.Errorf("%d files were played, want %d; waiting are %q, want %q", n, played, left, waiting)
	}
}
