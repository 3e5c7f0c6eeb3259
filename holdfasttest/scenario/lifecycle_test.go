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
var features = []string{}

// waiting are the files that are not played, and what they need.
var waiting = map[string][]string{
	"L19-an-emit":                 {"activity"},
	"L33-csrf-mismatch":           {"csrf"},
	"L34-where-the-csrf-token-is": {"csrf"},
	"L41-no-rotation-in-place":    {"sessions"},
	"L49-a-queue-for-each-user":   {"queue", "sessions"},
	"L49-another-user":            {"sessions"},
	"L49-sign-out":                {"sessions"},
	"L60-emits-while-offline":     {"queue"},
	"L61-removed-on-their-ack":    {"queue"},
	"L62-lost-acks":               {"queue", "ids"},
	"L64-a-full-queue":            {"queue"},
	"L65-refused-for-good":        {"queue"},
	"L66-withdrawn":               {"queue"},
	"L67-one-queue-for-two":       {"queue"},
}

// played is how many files are.
const played = 45

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
