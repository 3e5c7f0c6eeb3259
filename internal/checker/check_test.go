package checker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// script runs a history that is written in words, each of them one step:
//
//	>a        a publish of a begins       a@3, a@f:3   it is acknowledged at e:3, f:3
//	a!        it is refused
//	m:ask     member m asks to join       m:ask@2      since e:2
//	m:join@2  the answer is e:2           m:join@2+    recovered; @2- not
//	m:a@3     a comes, at e:3             m:resume m:already m:left m:cut m:reset m:upto@3
//	r:final@2=a@1,b@2   a last reading of history, whole, ends at e:2
//
// A step may begin with room/ and is in room r otherwise.
func script(t *testing.T, text string) History {
	t.Helper()
	var rec Recorder
	open := make(map[string][]*Attempt)
	for _, word := range strings.Fields(text) {
		room := "r"
		if before, after, ok := strings.Cut(word, "/"); ok {
			room, word = before, after
		}
		member, what, isMember := strings.Cut(word, ":")
		if isMember && !strings.Contains(member, "@") && !strings.HasPrefix(word, ">") {
			scriptMember(t, &rec, room, member, what)
			continue
		}
		if v, ok := strings.CutPrefix(word, ">"); ok {
			open[v] = append(open[v], rec.Publish(room, v))
			continue
		}
		if v, ok := strings.CutSuffix(word, "!"); ok {
			open[v][0].Refused()
			open[v] = open[v][1:]
			continue
		}
		v, pos := parsePlace(t, word)
		open[v][0].Acked(pos)
		open[v] = open[v][1:]
	}
	return rec.History()
}

func scriptMember(t *testing.T, rec *Recorder, room, member, what string) {
	t.Helper()
	m := rec.Member(member)
	verb, pos := what, holdfast.Position{}
	var recovered *bool
	if strings.HasPrefix(what, "final") {
		scriptReading(t, rec, room, what)
		return
	}
	if strings.Contains(what, "@") {
		for suffix, v := range map[string]bool{"+": true, "-": false} {
			if rest, ok := strings.CutSuffix(what, suffix); ok {
				what, recovered = rest, &v
			}
		}
		verb, pos = parsePlace(t, what)
	}
	switch verb {
	case "ask":
		if pos.Epoch == "" {
			m.Asked(room, nil)
		} else {
			m.Asked(room, &pos)
		}
	case "join":
		m.Joined(room, pos, recovered)
	case "already":
		m.Already(room)
	case "resume":
		m.Resumed(room)
	case "left":
		m.Left(room, "")
	case "cut":
		m.Cut(room, "")
	case "reset":
		m.Reset(room, "")
	case "upto":
		m.Upto(room, pos)
	default:
		m.Event(room, pos, verb)
	}
}

func scriptReading(t *testing.T, rec *Recorder, room, what string) {
	head, list, _ := strings.Cut(what, "=")
	_, pos := parsePlace(t, head)
	var events []*holdfast.Event
	for one := range strings.SplitSeq(list, ",") {
		if one == "" {
			continue
		}
		v, at := parsePlace(t, one)
		events = append(events, &holdfast.Event{Data: []byte(v), Position: at})
	}
	rec.Reading("reading", room, nil, events, func(ev *holdfast.Event) string { return string(ev.Data) }, pos, true)
}

// parsePlace reads "a@3" and "a@f:3".
func parsePlace(t *testing.T, text string) (string, holdfast.Position) {
	t.Helper()
	v, at, _ := strings.Cut(text, "@")
	epoch, offset, ok := strings.Cut(at, ":")
	if !ok {
		epoch, offset = "e", at
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v, holdfast.Position{Epoch: epoch, Offset: n}
}

func TestCheck(t *testing.T) {
	const abc = ">a a@1 >b b@2 >c c@3 "
	for _, c := range []struct{ name, script, rules string }{
		{"nothing", "", ""},
		{"nobody listens", abc, ""},
		{"live", "m:ask m:join@0 >a m:a@1 a@1 >b b@2 m:b@2 m:upto@2", ""},
		{"skipped numbers", ">a a@5 >b b@9 m:ask@2 m:a@5 m:b@9 m:join@12+ m:upto@12", ""},
		{"replay", abc + "m:ask@1 m:b@2 m:c@3 m:join@3+", ""},
		{"replay, nothing missed", abc + "m:ask@3 m:join@3+ m:upto@3", ""},
		{"no replay", abc + "m:ask@0 m:join@3- >d d@4 m:d@4", ""},
		{"a replay that breaks off, not recovered", abc + "m:ask@0 m:a@1 m:join@3- m:upto@3", ""},
		{"a replay that breaks off with the connection", abc + "m:ask@0 m:a@1 m:cut m:ask@1 m:b@2 m:c@3 m:join@3+", ""},
		{"on its way while leaving", ">a a@1 m:ask m:join@1 m:left >b b@2 m:b@2", ""},
		{"on its way while joining again", ">a a@1 m:ask m:join@1 m:left m:ask@1 >b b@2 m:b@2 m:b@2 m:join@2+", ""},
		{"never out", ">a a@1 m:ask m:join@1 m:left >b b@2 m:b@2 m:ask@2 >c c@3 m:c@3 m:already >d d@4 m:d@4", ""},
		{"unknown, there", ">a m:ask m:join@0 m:a@1", ""},
		{"unknown, not there", ">a m:ask m:join@0 >b b@1 m:b@1", ""},
		{"refused", ">a a!", ""},
		{"repeat", ">a >a a@1 a@1 m:ask@0 m:a@1 m:join@1+", ""},
		{"repeat in a new epoch", ">a a@1 >a a@f:1 m:ask m:join@f:0 m:a@f:1", ""},
		{"told of a new epoch", ">a a@1 m:ask m:join@1 >b b@f:1 m:left m:ask@1 m:join@f:1-", ""},
		{"stream", ">a a@1 m:resume >b b@2 m:b@2 m:cut >c c@3 m:resume m:c@3 m:upto@3", ""},
		{"stream with reset", ">a m:resume a@1 m:a@1 m:cut m:resume >b b@f:1 m:reset >c c@f:2 m:c@f:2", ""},
		{"rooms", ">a a@1 s/>b s/b@1 m:ask m:join@1 s/m:ask@0 s/m:b@1 s/m:join@1+", ""},
		{"final", abc + "r:final@3=a@1,b@2,c@3", ""},
		{"at once", ">a >b b@1 a@2 m:ask@0 m:b@1 m:a@2 m:join@2+", ""},

		{"lost live", abc + "m:ask@0 m:a@1 m:join@1+ m:c@3", "gap"},
		{"lost live, known from another member", ">x n:ask n:join@0 n:x@1 m:ask m:join@0 >y y@2 m:y@2", "gap"},
		{"lost at the end", "m:ask m:join@0 " + abc + "m:a@1 m:b@2 m:upto@3", "behind"},
		{"lost in a replay", abc + "m:ask@0 m:a@1 m:c@3 m:join@3+", "replay"},
		{"lost between replay and live", abc + "m:ask@0 m:a@1 m:join@1+ m:c@3", "gap"},
		{"lost behind a join", ">a a@1 >b b@2 m:ask m:join@1 >c c@3 m:c@3", "gap"},
		{"joined too far", "m:ask m:join@3 " + abc, "replay"},
		{"lost in a stream", "m:resume " + abc + "m:a@1 m:c@3", "gap"},
		{"lost at the beginning of a stream", "m:resume " + abc + "m:b@2", "gap"},
		{"lost at the beginning of a stream, all", "m:resume " + abc + "m:upto@3", "behind"},
		{"lost between streams", "m:resume " + abc + "m:a@1 m:cut m:resume m:c@3", "gap"},
		{"lost after a reset", ">a a@1 m:resume m:reset >b b@2 >c c@3 m:c@3", "gap"},
		{"never out, lost", ">a a@1 m:ask m:join@1 m:left m:ask@2 >b b@2 >c c@3 m:c@3 m:already", "replay"},
		{"never out, lost later", ">a a@1 m:ask m:join@1 m:left m:ask@2 m:already >b b@2 >c c@3 m:c@3", "gap"},
		{"doubled", "m:ask m:join@0 " + abc + "m:a@1 m:b@2 m:b@2 m:c@3", "again"},
		{"doubled in a replay", abc + "m:ask@1 m:b@2 m:b@2 m:c@3 m:join@3+", "replay"},
		{"doubled by replay and live", abc + "m:ask@1 m:b@2 m:c@3 m:join@3+ m:c@3", "again"},
		{"doubled between streams", "m:resume " + abc + "m:a@1 m:b@2 m:cut m:resume m:b@2", "again"},
		{"swapped", "m:ask m:join@0 " + abc + "m:b@2 m:a@1 m:c@3", "again gap"},
		{"swapped in a replay", abc + "m:ask@0 m:a@1 m:c@3 m:b@2 m:join@3+", "replay"},
		{"of another epoch", ">x x@f:1 m:ask m:join@0 >a a@1 m:a@1 m:x@f:1", "epoch"},
		{"a new epoch in silence", "m:ask m:join@0 >a a@1 m:a@1 >b b@f:1 m:b@f:1", "epoch"},
		{"recovered over an epoch", ">a a@1 >b b@f:1 m:ask@1 m:join@f:1+", "replay"},
		{"recovered backwards", ">a a@1 >b b@2 m:ask@2 m:join@1+", "replay"},
		{"recovered without since", "m:ask m:join@0+", "replay"},
		{"since without recovered", "m:ask@0 m:join@0", "replay"},
		{"a replay without since", abc + "m:ask m:c@3 m:join@3", "replay"},
		{"a join that broke off, with a hole", abc + "m:ask@0 m:b@2 m:cut", "replay"},
		{"two events at one place, acks", ">a a@1 >b b@1", "conflict"},
		{"two events at one place, members", ">a a@1 >b m:ask m:join@0 m:b@1", "conflict"},
		{"one event at two places", "m:ask m:join@0 >a a@1 m:a@1 m:a@2", "twice"},
		{"a repeat that counts twice", ">a a@1 >a a@2", "twice"},
		{"two epochs, published once", ">a a@1 m:ask m:join@f:0 m:a@f:1", "twice"},
		{"refused and there", ">a a! m:ask m:join@0 m:a@1", "refused"},
		{"never published", "m:ask m:join@0 m:x@1", "nowhere"},
		{"of another room", ">a a@1 s/m:ask s/m:join@0 s/m:a@1", "nowhere"},
		{"not in the room", ">a a@1 m:a@1", "uninvited"},
		{"after a cut", ">a m:ask m:join@0 m:cut a@1 m:a@1", "uninvited"},
		{"not there at the end", ">a a@1 m:ask m:join@1 m:left m:upto@1", "behind"},
		{"in an old epoch at the end", ">a a@1 m:ask m:join@1 >b b@f:1 m:upto@f:1", "behind"},
		{"acknowledged and dropped", "m:ask m:join@0 >a a@1 >b b@2 >c c@3 m:a@1 m:c@3", "gap"},
		{"acknowledged and dropped, the last", abc + "r:final@2=a@1,b@2", "lost"},
		{"acknowledged and dropped, in a reading", abc + "r:final@3=a@1,c@3", "replay"},
		{"against the clock", ">a a@2 >b b@1", "time"},
		{"against the clock, without an answer", ">a a@2 >b m:ask@0 m:b@1 m:a@2 m:join@2+", "time"},
		{"an epoch comes back", ">a a@1 >b b@f:1 >c c@2", "epoch"},
		{"no place", ">a a@0", "position"},
		{"a bad epoch", ">a a@€:1", "position"},
		{"a record that can't be", "m:ask m:join@0 m:ask", "record"},
		{"a record that can't be, either", "m:join@0", "record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := Check(script(t, c.script))
			got := strings.Join(report.Rules(), " ")
			want := slices.Sorted(slices.Values(strings.Fields(c.rules)))
			if got != strings.Join(want, " ") {
				t.Errorf("found %q, want %q\n%s", got, c.rules, report)
			}
			if (report.Err() == nil) != (c.rules == "") {
				t.Error(report.Err())
			}
		})
	}
}

func TestReport(t *testing.T) {
	report := Check(script(t, ">a a@1 >b b@2 >c c@3 m:ask@0 m:a@1 m:join@1+ m:c@3 n:ask m:cut"))
	text := report.String()
	for _, want := range []string{
		`gap, room "r", member m: 1 events before e:3 did not come, the first is "b" at 2, as of the answer to its publish`,
		"order: 1=a [2=b] 3=c", "-> 3. event e:3 c", "2. joined at e:1, recovered true", "1 unseen",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	// A broken run does not bury its reader.
	var words strings.Builder
	words.WriteString("m:ask m:join@0 ")
	for i := range 1000 {
		fmt.Fprintf(&words, ">v%d v%d@%d ", i, i, 2*i+1)
		if i%2 == 0 {
			fmt.Fprintf(&words, "m:v%d@%d ", i, 2*i+1)
		}
	}
	report = Check(script(t, words.String()))
	if len(report.Faults) != maxTold || report.Count["gap"] != 499 || !strings.Contains(report.String(), "gap: 499 in all") {
		t.Errorf("%d faults of %v", len(report.Faults), report.Count)
	}
}
