package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = time.Minute

// eventName is that of all events of the drill.
const eventName = "moved"

func rooms() []string { return []string{"red", "green"} }

// settings reads how long the drill takes (HOLDFAST_CHECK, 3 s) and its seed
// (HOLDFAST_CHECK_SEED, a random one).
func settings(t *testing.T) (time.Duration, uint64) {
	t.Helper()
	length, seed := 3*time.Second, rand.Uint64N(1e6)
	var err error
	if text := os.Getenv("HOLDFAST_CHECK"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("HOLDFAST_CHECK_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return length, seed
}

// TestRooms is the drill: whatever happens to servers, broker and connections,
// each member's log is a gap-free, duplicate-free part of its room's one order,
// or it was told; and every acknowledged publish is in it.
func TestRooms(t *testing.T) {
	length, seed := settings(t)
	t.Logf("%v with HOLDFAST_CHECK_SEED=%d", length, seed)
	var run checker.Recorder
	c := newCluster(t, seed)
	dice := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

	var members []member
	for i := range 2 {
		for _, kind := range []string{"socket.io", "ws", "sse", "poll", "client"} {
			name := fmt.Sprint(kind, "-", i)
			l := c.line(dice(uint64(len(members))))
			members = append(members, newMember(t, kind, l, token(t, name), run.Member(name)))
		}
	}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { m.live(dice(uint64(100+i)), stop) })
	}
	for i := range 3 {
		user := fmt.Sprint("publisher-", i)
		p := &publisher{cluster: c, line: c.line(dice(uint64(200 + i))), user: user, token: token(t, user), run: &run, wires: make(map[string]wire)}
		wg.Go(func() { p.live(dice(uint64(300+i)), stop) })
	}
	trouble := tally{made: make(map[string]int)}
	wg.Go(func() { c.disturb(dice(1000), stop, &trouble) })
	<-time.After(length)
	for late := time.After(patience); tame(checker.Check(run.History()), &trouble); { // on a slow machine
		select {
		case <-time.After(100 * time.Millisecond):
			continue
		case <-late:
		}
		break
	}
	close(stop)
	wg.Wait()
	settle(t, c, members, &run)

	history := run.History()
	report := checker.Check(history)
	for _, l := range history.Logs {
		if !slices.ContainsFunc(l.Entries, func(e checker.Entry) bool { return e.Kind == checker.Event }) {
			t.Errorf("%s heard nothing in %s", l.Member, l.Room)
		}
	}
	if want := len(rooms()) * (len(members) + 1); len(history.Logs) != want {
		t.Errorf("%d logs, want %d", len(history.Logs), want)
	}
	t.Logf("%s; %v", report, trouble.made)
	if report.Err() != nil {
		t.Errorf("to see it again: HOLDFAST_CHECK=%v HOLDFAST_CHECK_SEED=%d go test -run TestRooms -v ./internal/drill", length, seed)
	}
	if tame(report, &trouble) {
		t.Error("too tame")
	}
}

// tame reports whether too little has happened to say anything.
func tame(r *checker.Report, trouble *tally) bool {
	return r.Acked < 50 || r.Received < 200 || r.Recovered == 0 || r.Told == 0 ||
		trouble.of("server restarts") == 0 || trouble.of("broker wipes") == 0
}

func newMember(t *testing.T, kind string, l *line, token string, rec *checker.Member) member {
	switch kind {
	case "socket.io":
		return newWireMember(l, dialSocketIO, token, rec)
	case "ws":
		return newWireMember(l, dialPlain, token, rec)
	case "sse":
		return newStreamMember(l, token, rec)
	case "poll":
		return newPollMember(l, token, rec)
	default:
		return newClientMember(t, l, token, rec)
	}
}

// settle heals everything, and waits until each member has all there is. A
// member who was told of a gap knows where it is only at the next event, so
// there are some more of them.
func settle(t *testing.T, c *cluster, members []member, run *checker.Recorder) {
	for _, n := range c.nodes {
		n.broker.Heal()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() { m.settle(ctx) })
	}
	last := make(map[string]holdfast.Position)
	for try, rounds := 0, 0; ; try++ {
		for _, room := range rooms() {
			value := fmt.Sprintf("last/%s/%d", room, try)
			data, _ := json.Marshal(value)
			a := run.Publish(room, value)
			pos, err := c.nodes[0].broker.Publish(t.Context(), &holdfast.Event{Room: room, Name: eventName, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			a.Acked(pos)
			last[room] = pos
		}
		if allAt(members, last) {
			rounds++ // of those who have just come, some heard nothing in the first
		} else {
			rounds = 0
		}
		if rounds == 2 || try == 120 {
			break
		}
	}
	for _, room := range rooms() {
		for _, m := range members {
			m.upto(room, last[room])
		}
		h, err := c.nodes[0].broker.History(t.Context(), room, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		run.Reading("the last reading", room, nil, h.Events, valueOf, h.Position, true)
	}
	cancel()
	wg.Wait()
}

// allAt waits a moment for all members to be at the last positions.
func allAt(members []member, last map[string]holdfast.Position) bool {
	for range 25 {
		<-time.After(20 * time.Millisecond)
		all := true
		for _, m := range members {
			for room, pos := range last {
				at := m.at(room)
				all = all && at.Epoch == pos.Epoch && at.Offset >= pos.Offset
			}
		}
		if all {
			return true
		}
	}
	return false
}

func valueOf(ev *holdfast.Event) string {
	var value string
	_ = json.Unmarshal(ev.Data, &value)
	return value
}
