package hub

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// present opens a bubble with a hub in which ann sees the room "r".
func inRoom(t *testing.T, f func(t *testing.T, h *Hub, ann tab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		ann := newTab(t, h, "ann", verbs("ann", "join", "publish", "presence"))
		ann.join(t, "r", JoinOptions{})
		f(t, h, ann)
	})
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestPresenceComesAndGoes(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		j := bob.join(t, "r", JoinOptions{Presence: json.RawMessage(`{"at":1}`)})
		if got := lines(j.Members); got != `ann A 1; bob B {"at":1} 1` {
			t.Errorf("the answer has %q", got)
		}
		ann.wants(t, `join r bob B {"at":1} 2`)
		bob.wants(t, "")
		bob.Leave("r")
		after(5*time.Second - 1)
		ann.wants(t, "")
		if list, err := ann.Members(t.Context(), "r"); err != nil || lines(list) != `ann A 1; bob B {"at":1} 0` {
			t.Errorf("a moment before he has gone there is %q, %v", lines(list), err)
		}
		after(1)
		ann.wants(t, "leave r bob B 1")
		if list, err := h.Members(t.Context(), "r"); err != nil || lines(list) != "ann A 1" {
			t.Errorf("after it there is %q, %v", lines(list), err)
		}
		if j := bob.join(t, "r", JoinOptions{}); lines(j.Members) != "ann A 1; bob B 1" {
			t.Errorf("his data did not go with him: %q", lines(j.Members))
		}
		ann.wants(t, "join r bob B 2")
	})
}

func TestPresenceQuickReturn(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		bob := newTab(t, h, "bob1", verbs("bob", "join", "presence"))
		bob.join(t, "r", JoinOptions{Presence: json.RawMessage(`1`)})
		ann.told()
		bob.Session.Close()
		after(4 * time.Second)
		bob = newTab(t, h, "bob2", verbs("bob", "join", "presence"))
		if j := bob.join(t, "r", JoinOptions{}); lines(j.Members) != "ann A 1; bob B 1 1" {
			t.Errorf("back to %q", lines(j.Members))
		}
		after(time.Minute)
		ann.wants(t, "")
		bob.Leave("r")
		after(3 * time.Second)
		bob.join(t, "r", JoinOptions{Presence: json.RawMessage(`2`)})
		ann.wants(t, "update r bob B 2")
		bob.Leave("r")
		after(4 * time.Second)
		ann.wants(t, "")
		after(time.Second)
		ann.wants(t, "leave r bob B 1")
	})
}

func TestPresenceManyTabs(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		id := verbs("bob", "join", "presence")
		one := newTab(t, h, "root/bob1", id)
		space := newTab(t, h, "space/bob1", id) // another namespace of the same connection
		two := newTab(t, h, "bob2", id)
		for _, b := range []tab{one, space, two} {
			b.join(t, "r", JoinOptions{})
		}
		ann.wants(t, "join r bob B 2")
		if list, _ := h.Members(t.Context(), "r"); lines(list) != "ann A 1; bob B 2" {
			t.Errorf("%q", lines(list))
		}
		if err := two.SetPresence(t.Context(), "r", json.RawMessage(`"b"`)); err != nil {
			t.Fatal(err)
		}
		one.wants(t, "") // not to himself, on any of his connections
		space.wants(t, "")
		ann.wants(t, `update r bob B "b"`)
		one.Session.Close()
		two.Session.Close()
		after(time.Minute)
		ann.wants(t, "")
		space.Leave("r")
		after(5 * time.Second)
		ann.wants(t, "leave r bob B 1")
	})
}

func TestPresenceOfWhomItIsNot(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   *holdfast.Identity
		o    JoinOptions
		sees string // what the answer to its join shows
		list bool   // whether Members answers
	}{
		{"anonymous", verbs("", "join", "publish", "presence"), JoinOptions{Presence: json.RawMessage(`1`)}, "ann A 1", true},
		{"without the right", verbs("bob", "join", "publish"), JoinOptions{Presence: json.RawMessage(`1`)}, "", false},
		{"hidden", verbs("bob", "join", "publish", "presence"), JoinOptions{Hidden: true}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inRoom(t, func(t *testing.T, h *Hub, ann tab) {
				bob := newTab(t, h, "x", tc.id)
				for range 2 { // the second join is a repeated one
					j := bob.join(t, "r", tc.o)
					if got := lines(j.Members); got != tc.sees || (j.Members == nil) != (tc.sees == "") {
						t.Errorf("the answer has %q", got)
					}
				}
				list, err := bob.Members(t.Context(), "r")
				if (err == nil) != tc.list || tc.list && lines(list) != "ann A 1" {
					t.Errorf("Members: %q, %v", lines(list), err)
				}
				wantCode(t, bob.SetPresence(t.Context(), "r", json.RawMessage(`1`)), holdfast.Forbidden)
				cid := newTab(t, h, "cid", verbs("cid", "join", "presence"))
				cid.join(t, "r", JoinOptions{})
				bob.Leave("r")
				after(time.Minute)
				bob.wants(t, "")
				ann.wants(t, "join r cid C 2")
				cid.wants(t, "")
			})
		})
	}
}

func TestPresenceRightLostAndFound(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		cid := newTab(t, h, "cid", verbs("cid", "join", "presence"))
		cid.join(t, "r", JoinOptions{})
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		bob.join(t, "r", JoinOptions{})
		ann.told()
		bob.SetIdentity(verbs("bob", "join"))
		bob.wants(t, "leave r ann A; leave r cid C")
		wantCode(t, bob.SetPresence(t.Context(), "r", nil), holdfast.Forbidden)
		cid.Leave("r")
		after(5 * time.Second)
		bob.wants(t, "")
		if got := ann.told(); got != "leave r bob B 2; leave r cid C 1" && got != "leave r cid C 2; leave r bob B 1" {
			t.Errorf("ann was told %q", got)
		}
		bob.SetIdentity(verbs("bob", "join", "presence"))
		bob.wants(t, "join r ann A 2")
		ann.wants(t, "join r bob B 2")

		renamed := verbs("bob", "join", "presence")
		renamed.Name = "Robert"
		bob.SetIdentity(renamed)
		ann.wants(t, "update r bob Robert")
		bob.SetIdentity(renamed)
		ann.wants(t, "")
		bob.SetIdentity(verbs("bob"))
		after(5 * time.Second)
		ann.wants(t, "leave r bob Robert 1")
		bob.wants(t, "") // not in the room
	})
}

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestPresenceData(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		big := json.RawMessage(`"` + strings.Repeat("x", MaxPresence-2) + `"`)
		for _, tc := range []struct {
			data json.RawMessage
			code holdfast.Code
			told string
		}{
			{json.RawMessage(`{"a":[1]}`), "", `update r bob B {"a":[1]}`},
			{json.RawMessage(`{"a":[1]}`), "", ""},
			{json.RawMessage(`{"a":`), holdfast.InvalidArgument, ""},
			{json.RawMessage("\"\xff\""), holdfast.InvalidArgument, ""},
			{json.RawMessage(deep(maxPresenceDepth + 1)), holdfast.InvalidArgument, ""},
			{json.RawMessage(deep(maxPresenceDepth)), "", "update r bob B " + deep(maxPresenceDepth)},
			{append(big, ' '), holdfast.MessageTooLarge, ""},
			{big, "", "update r bob B " + string(big)},
			{json.RawMessage(`null`), "", "update r bob B"},
			{nil, "", ""},
		} {
			if tc.code != "" {
				_, err := bob.Join(t.Context(), "other", JoinOptions{Presence: tc.data}, nil)
				wantCode(t, err, tc.code)
			}
			bob.join(t, "r", JoinOptions{})
			ann.told()
			err := bob.SetPresence(t.Context(), "r", tc.data)
			if tc.code != "" {
				wantCode(t, err, tc.code)
			} else if err != nil {
				t.Errorf("%.20s: %v", tc.data, err)
			}
			ann.wants(t, tc.told)
		}

		// What is kept is not what the caller may go on using.
		data := json.RawMessage(`"mine"`)
		if err := bob.SetPresence(t.Context(), "r", data); err != nil {
			t.Fatal(err)
		}
		copy(data, `"your"`)
		if list, _ := h.Members(t.Context(), "r"); lines(list) != `ann A 1; bob B "mine" 1` {
			t.Errorf("%q", lines(list))
		}
		wantCode(t, bob.SetPresence(t.Context(), "elsewhere", nil), holdfast.Forbidden)
		wantCode(t, bob.SetPresence(t.Context(), "*", nil), holdfast.InvalidArgument)
	})
}

func TestMembersOfNobody(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		for _, room := range []string{"nobody", "r"} {
			ann.Leave("r") // the room ends with its last member, and so does presence in it
			if list, err := h.Members(t.Context(), room); err != nil || list == nil || len(list) != 0 {
				t.Errorf("%s: %v, %v", room, list, err)
			}
		}
		_, err := h.Members(t.Context(), "")
		wantCode(t, err, holdfast.InvalidArgument)
		_, err = ann.Members(t.Context(), "r")
		wantCode(t, err, holdfast.Forbidden)
		ann.Session.Close()
		_, err = ann.Members(t.Context(), "r")
		wantCode(t, err, holdfast.GoingAway)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = h.Members(t.Context(), "r")
		wantCode(t, err, holdfast.GoingAway)
	})
}

// What the answer to a join shows and what is told from then on fit together,
// whatever happens in between.
func TestPresenceWhileJoining(t *testing.T) {
	inRoom(t, func(t *testing.T, h *Hub, ann tab) {
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		cid := newTab(t, h, "cid", verbs("cid", "join", "presence"))
		dan := newTab(t, h, "dan", verbs("dan", "join", "presence"))
		cid.join(t, "r", JoinOptions{})
		ann.told()
		ready := bob.ready("bob")
		j, err := bob.Join(t.Context(), "r", JoinOptions{}, func(j Joined) {
			ready(j)
			dan.join(t, "r", JoinOptions{})
			cid.Leave("r")
			_ = ann.SetPresence(t.Context(), "r", json.RawMessage(`1`))
			time.Sleep(6 * time.Second)
		})
		if err != nil || lines(j.Members) != "ann A 1; bob B 1; cid C 1" {
			t.Fatalf("%q, %v", lines(j.Members), err)
		}
		bob.wants(t, "update r ann A 1; leave r cid C 3; join r dan D 3")
		ann.wants(t, "join r bob B 3; join r dan D 4; leave r cid C 3")
		if picture, _ := bob.picture("r"); len(picture) != 2 || picture["ann"] != "A 1" || picture["dan"] != "D " {
			t.Errorf("%q", picture)
		}
	})
}

// A room without anybody who counts, or without anything to say, has nothing
// for it; and what is there is given up with the last.
func TestPresenceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{})
		guest := newTab(t, h, "guest", verbs("", "join", "publish"))
		guest.join(t, "r", JoinOptions{})
		bob := newTab(t, h, "bob", verbs("bob", "join", "presence"))
		r := h.rooms["r"]
		for range 2 {
			if err := guest.Typing(t.Context(), "r"); err != nil {
				t.Fatal(err)
			}
			if r.crowd != nil || r.talk != nil {
				t.Errorf("crowd %v, talk %v", r.crowd, r.talk)
			}
			bob.join(t, "r", JoinOptions{})
			if r.talk != nil || len(r.crowd.users) != 1 {
				t.Errorf("crowd %v, talk %v", r.crowd, r.talk)
			}
			bob.Leave("r")
			after(5 * time.Second)
		}
	})
}
