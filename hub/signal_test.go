package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestSignal(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		ann2 := newTab(t, h, "ann2", verbs("ann", "join"))
		guest := newTab(t, h, "guest", verbs("", "join", "publish"))
		hidden := newTab(t, h, "hidden", verbs("bob", "join", "publish", "presence"))
		away := newTab(t, h, "away", verbs("cid", "join", "publish", "presence"))
		ann2.join(t, "r", JoinOptions{})
		guest.join(t, "r", JoinOptions{})
		hidden.join(t, "r", JoinOptions{Hidden: true})
		away.join(t, "other", JoinOptions{})
		if err := ann.Signal(t.Context(), Signal{Room: "r", Event: "cursor", Data: json.RawMessage(`[1,2]`), Key: "k"}); err != nil {
			t.Fatal(err)
		}
		ann2.wants(t, "signal r ann A cursor [1,2] k") // the user's other tab
		guest.wants(t, "signal r ann A cursor [1,2] k")
		if err := guest.Signal(t.Context(), Signal{Room: "r", Event: "wave"}); err != nil {
			t.Fatal(err)
		}
		ann.wants(t, "signal r  wave")
		for _, nobody := range []tab{hidden, away} {
			nobody.wants(t, "")
		}
		guest.wants(t, "")
	})
}

func TestTyping(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		ann2 := newTab(t, h, "ann2", verbs("ann", "join"))
		bob := newTab(t, h, "bob", verbs("bob", "join"))
		guest := newTab(t, h, "guest", verbs("", "join"))
		other := newTab(t, h, "other", verbs("", "join"))
		hidden := newTab(t, h, "hidden", verbs("cid", "join", "presence"))
		for _, b := range []tab{ann2, bob, guest, other} {
			b.join(t, "r", JoinOptions{})
		}
		hidden.join(t, "r", JoinOptions{Hidden: true})
		if err := ann.Typing(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		for _, b := range []tab{bob, guest, other} {
			b.wants(t, "typing r ann A")
		}
		for _, b := range []tab{ann, ann2, hidden} {
			b.wants(t, "")
		}
		if err := guest.Typing(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		for _, b := range []tab{ann, ann2, bob, other} {
			b.wants(t, "typing r ")
		}
		guest.wants(t, "")
	})
}

// Who has the answer to his join is in the room: what is said there from then on
// reaches him, after the answer, and after what his join has still to send.
func TestSignalRightAfterTheAnswer(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		bob := newTab(t, h, "bob", verbs("bob", "join"))
		ready := func(j Joined) {
			bob.ready("bob")(j)
			for n := range maxNotes + 1 {
				if err := ann.Typing(t.Context(), "r"); err != nil {
					t.Error(err)
				}
				if n == 0 {
					bob.wants(t, "") // not before the answer is there
				}
			}
		}
		if _, err := bob.Join(t.Context(), "r", JoinOptions{}, ready); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(bob.told(), "typing r ann A"); got != maxNotes {
			t.Errorf("%d times, want as many as may wait", got)
		}
		if err := ann.Typing(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		bob.wants(t, "typing r ann A")
	})
}

// A join that history has served ahead of the live events is over when they have
// come, and not only with the next one: until then all is quiet there.
func TestSignalAfterLateEvents(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
		first := publish(t, h, "r", "1")[0]
		ann := newTab(t, h, "ann", verbs("ann", "join", "publish", "presence"))
		ann.join(t, "r", JoinOptions{})
		var late []func()
		b.deliver = func(r Receiver, ev *holdfast.Event, prev uint64) {
			late = append(late, func() { r.Deliver(ev, prev) })
		}
		publish(t, h, "r", "2", "3")
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		bob.join(t, "r", JoinOptions{Since: &holdfast.Position{Epoch: first.Epoch}})
		typing := func() {
			if err := ann.Typing(t.Context(), "r"); err != nil {
				t.Fatal(err)
			}
		}
		typing() // while he waits for them
		bob.wants(t, "typing r ann A")
		for _, deliver := range late {
			deliver()
		}
		if r := h.rooms["r"]; len(r.joining) > 0 {
			t.Error("he waits for more")
		}
		typing()
		bob.wants(t, "typing r ann A")
		cid := newTab(t, h, "cid", verbs("cid", "join", "presence"))
		cid.join(t, "r", JoinOptions{})
		bob.wants(t, "join r cid C 3")
	})
}

func TestSignalRefused(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		mute := newTab(t, h, "mute", verbs("bob", "join", "presence"))
		mute.join(t, "r", JoinOptions{})
		hidden := newTab(t, h, "hidden", verbs("bob", "join", "publish"))
		hidden.join(t, "r", JoinOptions{Hidden: true})
		gone := newTab(t, h, "gone", verbs("bob", "join", "publish"))
		gone.join(t, "r", JoinOptions{})
		gone.Session.Close()
		ann.told()
		big := json.RawMessage(`"` + strings.Repeat("x", 64<<10) + `"`)
		for _, tc := range []struct {
			name string
			by   tab
			sig  Signal
			code holdfast.Code
		}{
			{"room", ann, Signal{Room: "*", Event: "e"}, holdfast.InvalidArgument},
			{"event", ann, Signal{Room: "r"}, holdfast.InvalidArgument},
			{"reserved", ann, Signal{Room: "r", Event: "presence:join"}, holdfast.InvalidArgument},
			{"long key", ann, Signal{Room: "r", Event: "e", Key: strings.Repeat("k", 129)}, holdfast.InvalidArgument},
			{"bad key", ann, Signal{Room: "r", Event: "e", Key: "\xff"}, holdfast.InvalidArgument},
			{"large", ann, Signal{Room: "r", Event: "e", Data: big}, holdfast.MessageTooLarge},
			{"elsewhere", ann, Signal{Room: "q", Event: "e"}, holdfast.Forbidden},
			{"no right", mute, Signal{Room: "r", Event: "e"}, holdfast.Forbidden},
			{"hidden", hidden, Signal{Room: "r", Event: "e"}, holdfast.Forbidden},
			{"closed", gone, Signal{Room: "r", Event: "e"}, holdfast.GoingAway},
		} {
			if err := tc.by.Signal(t.Context(), tc.sig); holdfast.CodeOf(err) != tc.code {
				t.Errorf("%s: %v, want %s", tc.name, err, tc.code)
			}
		}
		wantCode(t, hidden.Typing(t.Context(), "r"), holdfast.Forbidden)
		wantCode(t, ann.Typing(t.Context(), "q"), holdfast.Forbidden)
		wantCode(t, ann.Typing(t.Context(), ""), holdfast.InvalidArgument)
		ann.wants(t, "")
		if err := ann.Signal(t.Context(), Signal{Room: "r", Event: "e", Key: strings.Repeat("k", 128), Data: append(big[:64<<10-1:64<<10-1], '"')}); err != nil {
			t.Error(err)
		}
	})
}

func TestSignalRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		speak := verbs("ann", "join", "publish")
		ann, ann2 := newTab(t, h, "ann", speak), newTab(t, h, "ann2", speak)
		guest, guest2 := newTab(t, h, "guest", verbs("", "join", "publish")), newTab(t, h, "guest2", verbs("", "join", "publish"))
		for _, b := range []tab{ann, ann2, guest, guest2} {
			b.join(t, "r", JoinOptions{})
			b.join(t, "q", JoinOptions{})
		}
		// send sends until it is refused, by several in turn, and counts.
		send := func(by ...tab) int {
			for n := range 100 {
				err := by[n%len(by)].Signal(t.Context(), Signal{Room: []string{"r", "q"}[n%2], Event: "e"})
				if err == nil {
					continue
				}
				e := holdfast.AsError(err)
				if e.Code != holdfast.RateLimited || e.RetryAfter <= 0 || e.RetryAfter > time.Second/20 {
					t.Fatalf("%v, after %v", err, e.RetryAfter)
				}
				return n
			}
			return 100
		}
		if n := send(ann, ann2); n != 20 {
			t.Errorf("a user may send %d at once", n)
		}
		if n := send(guest); n != 20 {
			t.Errorf("a guest may send %d at once", n)
		}
		if n := send(guest2); n != 20 {
			t.Errorf("another guest may send %d at once", n)
		}
		time.Sleep(time.Second / 2)
		if n := send(ann2); n != 10 {
			t.Errorf("after half a second a user may send %d", n)
		}
		for _, b := range []tab{ann, ann2, guest, guest2} {
			b.Session.Close()
		}
		if len(h.signals) != 0 {
			t.Errorf("%d rates are kept of who has gone", len(h.signals))
		}
	})
}

// Frames of which only the latest counts say so, and no two things have the
// same key.
func TestFrameKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{SignalRate: -1})
		ear := newTab(t, h, "ear/ear", verbs("ear", "join"))
		w := &watcher{}
		openAs(t, h, SessionConfig{ID: "ear2", Connection: "ear", Identity: verbs("ear", "join"), Sink: w, Encoder: talkEncoder{lineEncoder{tag: "other"}}})
		space := tab{h.conns["ear"].sessions[1], w}
		keys := map[string]string{}
		n := 0
		seen := func(what string, b tab) {
			frame := b.frames[len(b.frames)-1]
			if frame.Overflow != OverflowLatest || frame.Key == "" {
				t.Errorf("%s: overflow %d, key %q", what, frame.Overflow, frame.Key)
			}
			if other, there := keys[frame.Key]; there && other != what {
				t.Errorf("%s has the key of %s: %q", what, other, frame.Key)
			}
			keys[frame.Key] = what
			n++
		}
		for _, room := range []string{"r", "r1", "1:r"} {
			ear.join(t, room, JoinOptions{})
			space.join(t, room, JoinOptions{})
			for _, name := range []string{"", "", "u", "1:u", "r"} {
				n++
				b := newTab(t, h, fmt.Sprint("c", n), verbs(name, "join", "publish"))
				b.join(t, room, JoinOptions{})
				for _, sig := range []Signal{{Event: "e"}, {Event: "e", Key: "k"}, {Event: "e1:k"}, {Event: "e", Key: "1:k"}, {Event: "k", Key: "e"}} {
					sig.Room = room
					for range 2 {
						if err := b.Signal(t.Context(), sig); err != nil {
							t.Fatal(err)
						}
						what := fmt.Sprintf("%v of %s in ", sig, b.ID())
						seen(what+"/", ear)
						seen(what+"/other", space)
					}
				}
				if err := b.Typing(t.Context(), room); err != nil {
					t.Fatal(err)
				}
				seen("typing of "+b.ID()+" in "+room, ear)
				b.Session.Close()
			}
		}
		if want := 3 * 5 * (5*2 + 1); len(keys) != want {
			t.Errorf("%d keys, want %d", len(keys), want)
		}
	})
}

// What waits behind something that takes long is bounded: the oldest goes.
func TestSignalsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{SignalRate: -1})
		ann := newTab(t, h, "ann", verbs("ann", "join", "publish"))
		bob := newTab(t, h, "bob", verbs("bob", "join", "publish"))
		stuck, free := make(chan struct{}), make(chan struct{})
		slow := openAs(t, h, SessionConfig{ID: "slow", Identity: verbs("", "join"), Encoder: lineEncoder{}, Sink: &recorder{onSend: func(string) {
			close(stuck)
			<-free
		}}})
		ann.join(t, "r", JoinOptions{})
		bob.join(t, "r", JoinOptions{})
		join(t, slow, "r", nil)
		go func() { _, _ = h.Publish(t.Context(), event("r", "1")) }()
		<-stuck
		for n := range maxNotes + 10 {
			if err := ann.Signal(t.Context(), Signal{Room: "r", Event: "n", Data: json.RawMessage(fmt.Sprint(n))}); err != nil {
				t.Fatal(err)
			}
		}
		bob.wants(t, "")
		close(free)
		synctest.Wait()
		if len(bob.notices) != maxNotes || string(bob.notices[0].Data) != "10" || string(bob.notices[maxNotes-1].Data) != fmt.Sprint(maxNotes+9) {
			t.Errorf("%d signals, from %s on", len(bob.notices), bob.notices[0].Data)
		}
		if h.rooms["r"].talk != nil {
			t.Error("something is kept for what is said")
		}
	})
}

// Event.Except keeps a live event from one connection, whichever of its
// sessions is in the room, and from a join under way; history has it.
func TestExcept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		sinks := map[string]*recorder{}
		sessions := map[string]*Session{}
		for _, name := range []string{"a/one", "b/one", "c/two", "d/"} {
			sinks[name] = &recorder{}
			id, connection, _ := strings.Cut(name, "/")
			sessions[name] = openAs(t, h, SessionConfig{ID: id, Connection: connection, Identity: user("", "**"), Sink: sinks[name], Encoder: lineEncoder{}})
			if id != "d" {
				join(t, sessions[name], "r", nil)
			}
		}
		send := func(data, except string) {
			ev := event("r", data)
			ev.Except = except
			if _, err := h.Publish(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
		late := sessions["d/"]
		if _, err := late.Join(t.Context(), "r", JoinOptions{}, func(Joined) { send("1", "one"); send("2", "d") }); err != nil {
			t.Fatal(err)
		}
		send("3", "two")
		send("4", "")
		send("5", "nobody")
		for name, want := range map[string]string{"a/one": "2 3 4 5", "b/one": "2 3 4 5", "c/two": "1 2 4 5", "d/": "1 3 4 5"} {
			if got := strings.Join(sinks[name].data("r"), " "); got != want {
				t.Errorf("%s got %s, want %s", name, got, want)
			}
		}
		page, err := h.History(t.Context(), "r", nil, 0)
		if err != nil || len(page.Events) != 5 {
			t.Errorf("history has %d events, %v", len(page.Events), err)
		}
	})
}
