package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// crowded opens a bubble with a hub of that limit, and users u00, u01, … in its
// room "r".
func crowded(t *testing.T, limit, users int, f func(t *testing.T, h *Hub, tabs []tab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{PresenceLimit: limit})
		var tabs []tab
		for i := range users {
			b := comer(t, h, fmt.Sprintf("u%02d", i))
			b.join(t, "r", JoinOptions{})
			tabs = append(tabs, b)
		}
		for _, b := range tabs {
			b.told()
		}
		f(t, h, tabs)
	})
}

// comer opens a session of a user who may be present everywhere.
func comer(t *testing.T, h *Hub, user string) tab {
	return newTab(t, h, user, verbs(user, "join", "publish", "presence"))
}

// goes has users leave for good.
func goes(tabs ...tab) {
	for _, b := range tabs {
		b.Leave("r")
	}
	after(5 * time.Second)
}

// While a room has more users than the limit nobody is told of one. From nine
// tenths on everybody is told what has changed since.
func TestCrowdPaused(t *testing.T) {
	crowded(t, 10, 10, func(t *testing.T, h *Hub, tabs []tab) {
		late := comer(t, h, "v0")
		if j := late.join(t, "r", JoinOptions{}); j.Members != nil || j.Viewers != 11 {
			t.Errorf("the answer has %v, and %d", j.Members, j.Viewers)
		}
		if j := late.join(t, "r", JoinOptions{}); j.Members != nil || j.Viewers != 11 || !j.Already {
			t.Errorf("the repeated answer has %v, and %d", j.Members, j.Viewers)
		}
		for _, b := range tabs {
			b.wants(t, "paused r  11")
		}
		if err := tabs[1].SetPresence(t.Context(), "r", json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
		guest := newTab(t, h, "guest", verbs("", "join", "presence"))
		if j := guest.join(t, "r", JoinOptions{}); j.Members != nil || j.Viewers != 11 {
			t.Errorf("a guest's answer has %v, and %d", j.Members, j.Viewers)
		}
		list, err := late.Members(t.Context(), "r")
		if err != nil || len(list) != 10 || list[9].ID != "u09" {
			t.Errorf("the first are %v, %v", list, err)
		}
		if list, viewers, err := h.FirstMembers(t.Context(), "r"); err != nil || len(list) != 10 || viewers != 11 {
			t.Errorf("the first of %d are %v, %v", viewers, list, err)
		}
		if list, err := h.Members(t.Context(), "r"); err != nil || len(list) != 11 {
			t.Errorf("all are %v, %v", list, err)
		}
		goes(tabs[8]) // 10 are left, which is not few enough
		passing := comer(t, h, "w0")
		passing.join(t, "r", JoinOptions{})
		goes(passing)
		tabs[9].Leave("r")
		after(5*time.Second - 1)
		for _, b := range slices.Concat(tabs[:8], []tab{late, guest, passing}) {
			b.wants(t, "")
		}
		after(1)
		tabs[0].wants(t, "update r u01 U 1; leave r u08 U 9; leave r u09 U 8; join r v0 V 9; resumed r  9")
		tabs[1].wants(t, "leave r u08 U 9; leave r u09 U 8; join r v0 V 9; resumed r  9")
		late.wants(t, "join r u00 U 9; join r u01 U 1 9; join r u02 U 9; join r u03 U 9; join r u04 U 9; join r u05 U 9; join r u06 U 9; join r u07 U 9; resumed r  9")
		for _, b := range []tab{guest, passing, tabs[8], tabs[9]} {
			b.wants(t, "")
		}

		// Up to the limit all is as ever, and over it again.
		tabs[9].join(t, "r", JoinOptions{})
		tabs[0].wants(t, "join r u09 U 10")
		if j := passing.join(t, "r", JoinOptions{}); j.Viewers != 11 {
			t.Errorf("the answer has %d", j.Viewers)
		}
		late.wants(t, "join r u09 U 10; paused r  11")
	})
}

// Who was there before and who came since both know what is true in the end,
// however often it is too many.
func TestCrowdUpAndDown(t *testing.T) {
	crowded(t, 2, 0, func(t *testing.T, h *Hub, _ []tab) {
		var tabs []tab
		for i := range 6 {
			tabs = append(tabs, comer(t, h, fmt.Sprint("u", i)))
		}
		in := func(who ...int) {
			for _, i := range who {
				tabs[i].join(t, "r", JoinOptions{Presence: json.RawMessage(fmt.Sprint(i))})
			}
		}
		out := func(who ...int) {
			for _, i := range who {
				tabs[i].Leave("r")
			}
			after(5 * time.Second)
		}
		sees := func(who int, want ...string) {
			t.Helper()
			picture, _ := tabs[who].picture("r")
			if tabs[who].old("r") || len(picture) != len(want) {
				t.Fatalf("%d sees %q (old: %v), want %q", who, picture, tabs[who].old("r"), want)
			}
			for _, user := range want {
				if _, ok := picture[user]; !ok {
					t.Fatalf("%d sees %q, want %q", who, picture, want)
				}
			}
		}
		in(0, 1, 2, 3)
		out(1, 2)
		sees(0, "u3")
		sees(3, "u0")
		in(1)
		out(3, 0) // comes down to one
		in(4)
		sees(1, "u4")
		sees(4, "u1")
		in(5, 0, 2, 3)
		out(1, 4, 5, 0) // nobody whom the first ones knew is left
		sees(2, "u3")
		sees(3, "u2")
		out(2, 3)
		if r := h.rooms["r"]; r != nil {
			t.Errorf("the room is left: %v", r.crowd)
		}
	})
}

// A right that is lost or found while there are too many.
func TestCrowdRights(t *testing.T) {
	crowded(t, 2, 2, func(t *testing.T, h *Hub, tabs []tab) {
		old, late, last := tabs[0], comer(t, h, "v0"), comer(t, h, "w0")
		late.join(t, "r", JoinOptions{})
		last.join(t, "r", JoinOptions{})
		old.wants(t, "paused r  3")
		all, none := verbs("", "join", "presence").Permissions, verbs("", "join").Permissions
		may := func(b tab, p holdfast.Permissions) {
			b.SetIdentity(&holdfast.Identity{User: b.conn.user, Name: "N", Permissions: p})
		}
		may(old, none)
		old.wants(t, "leave r u01 U; resumed r ") // what it knew is taken back
		may(late, none)
		late.wants(t, "resumed r ")
		after(4 * time.Second)
		may(old, all)
		old.wants(t, "paused r  4")
		after(4 * time.Second) // late has gone
		last.wants(t, "")
		may(late, all)
		late.wants(t, "paused r  4")
		goes(last, tabs[1])
		old.wants(t, "join r v0 N 2; resumed r  2")
		late.wants(t, "join r u00 N 2; resumed r  2")
	})
}

// A join that was answered with a list before there were too many, and is under
// way until there are few again.
func TestCrowdWhileJoining(t *testing.T) {
	for _, tc := range []struct {
		name string
		few  bool // before the join is done
		want string
	}{
		{"few again", true, "leave r u00 U 3; join r w0 W 3"},
		{"still many", false, "paused r  4; leave r u00 U 3; join r w0 W 3; resumed r  3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			crowded(t, 3, 2, func(t *testing.T, h *Hub, tabs []tab) {
				bob, other := comer(t, h, "bob"), comer(t, h, "w0")
				ready := bob.ready("bob")
				j, err := bob.Join(t.Context(), "r", JoinOptions{}, func(j Joined) {
					ready(j)
					other.join(t, "r", JoinOptions{})
					if tc.few {
						goes(tabs[0])
					}
				})
				if err != nil || len(j.Members) != 3 || j.Viewers != 0 {
					t.Fatalf("%v, %d, %v", j.Members, j.Viewers, err)
				}
				goes(tabs[0])
				bob.wants(t, tc.want)
				if got := other.told(); !strings.HasSuffix(got, "resumed r  3") || !strings.Contains(got, "join r bob B 3") {
					t.Errorf("the other was told %q", got)
				}
			})
		})
	}
}

// stuck is a Sink that takes nothing until it is closed.
type stuck chan struct{}

func (s stuck) Send(*Frame) bool { <-s; return true }

// What is over before anybody could be told of it is told to nobody, but to who
// saw it in an answer.
func TestCrowdUnheard(t *testing.T) {
	crowded(t, 2, 2, func(t *testing.T, h *Hub, tabs []tab) {
		sink := make(stuck)
		slow := openAs(t, h, SessionConfig{ID: "slow", Identity: verbs("", "join"), Sink: sink, Encoder: talkEncoder{}})
		if _, err := slow.Join(t.Context(), "r", JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = h.Publish(context.Background(), &holdfast.Event{Room: "r", Name: "e"}) }()
		synctest.Wait()
		passing := comer(t, h, "v")
		if j := passing.join(t, "r", JoinOptions{}); j.Viewers != 3 {
			t.Errorf("the answer has %d", j.Viewers)
		}
		tabs[0].strict = false // it hears of an end without a beginning
		if j := tabs[0].join(t, "r", JoinOptions{}); !j.Already || j.Viewers != 3 {
			t.Errorf("the repeated answer has %d", j.Viewers)
		}
		goes(passing)
		passing.join(t, "other", JoinOptions{})
		if users := len(h.rooms["r"].crowd.users); users != 2 {
			t.Errorf("%d users are kept", users)
		}
		close(sink)
		synctest.Wait()
		tabs[0].wants(t, "resumed r  2")
		tabs[1].wants(t, "")
		passing.wants(t, "")

		// The same without there being too many.
		goes(tabs[1])
		tabs[0].wants(t, "leave r u01 U 1")
		sink = make(stuck)
		slow.sink = sink
		slow.Leave("r")
		if _, err := slow.Join(t.Context(), "r", JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = h.Publish(context.Background(), &holdfast.Event{Room: "r", Name: "e"}) }()
		synctest.Wait()
		passing.join(t, "r", JoinOptions{})
		goes(passing)
		close(sink)
		synctest.Wait()
		tabs[0].wants(t, "")
		tabs[1].join(t, "r", JoinOptions{})
		tabs[0].wants(t, "join r u01 U 2")
	})
}

// A list has a bound in bytes as well.
func TestCrowdBytes(t *testing.T) {
	crowded(t, 0, 2, func(t *testing.T, h *Hub, tabs []tab) {
		big := json.RawMessage(`"` + strings.Repeat("<", MaxPresence-2) + `"`) // six times that in an answer
		n := 0
		for ; ; n++ {
			b := comer(t, h, fmt.Sprintf("v%02d", n))
			j := b.join(t, "r", JoinOptions{Presence: big})
			text, err := json.Marshal(j.Members)
			if err != nil || len(text) > maxListBytes {
				t.Fatalf("%d users: %d bytes, %v", n, len(text), err)
			}
			if j.Viewers > 0 {
				tabs = append(tabs, b)
				break
			}
		}
		if n != maxListBytes/(6*MaxPresence) {
			t.Errorf("%d users fit", n)
		}
		list, err := tabs[0].Members(t.Context(), "r")
		if text, _ := json.Marshal(list); err != nil || len(text) > maxListBytes || len(list) < n {
			t.Errorf("the first %d users: %d bytes, %v", len(list), len(text), err)
		}
		if told := tabs[0].told(); !strings.HasSuffix(told, fmt.Sprint("; paused r  ", n+3)) {
			t.Errorf("told …%q", told[len(told)-40:])
		}
		if err := tabs[2].SetPresence(t.Context(), "r", nil); err != nil { // not a tenth
			t.Fatal(err)
		}
		tabs[0].wants(t, "")
	})
}

func TestCrowdWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("a<>&\"\\\n\x00\x7fé\u2028\u2029\ufffd😀")))
		data, err := json.Marshal(text.Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		p := &present{user: text.Draw(t, "user"), name: text.Draw(t, "name"), data: data}
		listed, err := json.Marshal(Member{ID: p.user, Name: p.name, Data: p.data, Connections: 20})
		if err != nil {
			t.Fatal(err)
		}
		if len(listed)+len(",") > p.weight() {
			t.Errorf("%d bytes, thought to be %d at the most: %s", len(listed), p.weight(), listed)
		}
	})
}

// tally is a Sink that counts notices.
type tally struct{ notices int }

func (s *tally) Send(f *Frame) bool {
	if f != nil {
		s.notices++
	}
	return true
}

// What it costs to fill and empty a room is bounded by the limit, whoever comes.
func TestCrowdCost(t *testing.T) {
	const limit, many = 100, 1000
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{PresenceLimit: limit})
		s, listed := new(tally), 0
		var sessions []*Session
		for i := range many {
			who := fmt.Sprintf("u%04d", i)
			session := openAs(t, h, SessionConfig{ID: who, Identity: verbs(who, "join", "presence"), Sink: s, Encoder: talkEncoder{}})
			j, err := session.Join(t.Context(), "r", JoinOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			listed += len(j.Members)
			sessions = append(sessions, session)
		}
		// Of who came the others hear up to the limit, and then once of that.
		if want := limit*(limit-1)/2 + limit; s.notices != want {
			t.Errorf("%d notices, want %d", s.notices, want)
		}
		if want := limit * (limit + 1) / 2; listed != want {
			t.Errorf("%d users were listed, want %d", listed, want)
		}
		s.notices = 0
		old, late := limit/2, limit/4 // who stays
		for _, session := range sessions[old : many-late] {
			session.Leave("r")
			time.Sleep(time.Millisecond) // they go one after the other
		}
		after(5 * time.Second)
		few := limit - limit/10 // whom the late ones are told of, and the old ones what is new of that; then the rest goes
		want := old*(limit-old) + old*(few-old) + late*(few-1) + (old+late)*(1+few-old-late)
		if s.notices != want {
			t.Errorf("%d notices, want %d", s.notices, want)
		}
		if c := h.rooms["r"].crowd; c.here != old+late || c.told != c.here || len(c.users) != c.here || h.rooms["r"].talk != nil {
			t.Errorf("%d are here, %d are told of, %d are kept", c.here, c.told, len(c.users))
		}
	})
}

// A user's connections are counted, however many sessions each has.
func TestCrowdConnections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, want := new(present), map[*connection][]*member{}
		conns := make([]*connection, 4)
		for i := range conns {
			conns[i] = &connection{id: fmt.Sprint(i)}
		}
		for _, i := range rapid.SliceOf(rapid.IntRange(0, 7)).Draw(t, "steps") {
			c := conns[i%4]
			if has := want[c]; i < 4 {
				m := &member{session: &Session{conn: c}}
				p.add(m)
				want[c] = append(has, m)
			} else if len(has) > 0 {
				p.remove(has[0])
				if want[c] = has[1:]; len(has) == 1 {
					delete(want, c)
				}
			}
			if int(p.conns) != len(want) || (len(p.members) > 0) != (len(want) > 0) {
				t.Fatalf("%d connections by %d memberships, want %d", p.conns, len(p.members), len(want))
			}
		}
	})
}

// Without a limit everybody is told of everybody.
func TestCrowdUnlimited(t *testing.T) {
	crowded(t, -1, 20, func(t *testing.T, h *Hub, tabs []tab) {
		big := json.RawMessage(`"` + strings.Repeat("<", MaxPresence-2) + `"`)
		for _, b := range tabs {
			if err := b.SetPresence(t.Context(), "r", big); err != nil {
				t.Fatal(err)
			}
		}
		late := comer(t, h, "v")
		if j := late.join(t, "r", JoinOptions{}); len(j.Members) != 21 || j.Viewers != 0 {
			t.Errorf("the answer has %d, and %d", len(j.Members), j.Viewers)
		}
		if list, viewers, err := h.FirstMembers(t.Context(), "r"); err != nil || len(list) != 21 || viewers != 21 {
			t.Errorf("%d of %d, %v", len(list), viewers, err)
		}
		if told := tabs[0].told(); !strings.HasSuffix(told, "join r v V 21") {
			t.Errorf("told %.100q", told)
		}
	})
}
