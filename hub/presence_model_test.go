package hub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// presenceModel is who is where, one call at a time.
type presenceModel struct {
	limit int                                 // below 10: where presence is paused, and where it goes on, is the same
	rooms map[string]map[string]*presentModel // room → user
	in    map[string]map[int]bool             // room → session → whether it counts
}

type presentModel struct {
	name, data string
	left       time.Time // when the last membership that counts went; zero while there is one
}

// list returns who is present, with what others see of him.
func (m *presenceModel) list(room, but string) map[string]string {
	list := map[string]string{}
	for user, p := range m.rooms[room] {
		if user != but {
			list[user] = p.name + " " + p.data
		}
	}
	return list
}

// paused returns how many are present, if they are too many.
func (m *presenceModel) paused(room string) int {
	if n := len(m.rooms[room]); m.limit >= 0 && n > m.limit {
		return n
	}
	return 0
}

// count makes a session's membership count, or not.
func (m *presenceModel) count(room string, session int, counts bool, user, name string, of func(int) string) {
	was := m.in[room][session]
	m.in[room][session] = counts
	switch p := m.rooms[room][user]; {
	case counts && p == nil:
		m.rooms[room][user] = &presentModel{name: name}
	case counts:
		p.name, p.left = name, time.Time{}
	case was:
		for other, counts := range m.in[room] {
			if counts && of(other) == user {
				return
			}
		}
		p.left = time.Now()
	}
}

// settle takes away who has gone, and all where nobody is.
func (m *presenceModel) settle(grace time.Duration) {
	for room, users := range m.rooms {
		for user, p := range users {
			if len(m.in[room]) == 0 || !p.left.IsZero() && time.Since(p.left) >= grace {
				delete(users, user)
			}
		}
	}
}

// modelTab is a tab as the model sees it.
type modelTab struct {
	tab
	user   string
	rights []string
	hidden map[string]bool // rooms
}

func (b *modelTab) may(right string) bool { return slices.Contains(b.rights, right) }

// TestPresenceModel compares what each member makes of the answer to its join
// and of the notices with who is there, or with that there are too many.
func TestPresenceModel(t *testing.T) {
	for _, limit := range []int{-1, 1, 2, 3} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) { presenceModelOf(t, limit) })
	}
}

func presenceModelOf(t *testing.T, limit int) {
	rooms := []string{"a", "b"}
	users := []string{"u", "u", "u", "v", "w", "", "x", "y"}
	connections := []string{"u1", "u1", "u2", "v1", "w1", "g1", "x1", "y1"}
	const grace = 5 * time.Second
	// The bubble is around all of it: what rapid does to fail must stay in
	// its goroutine.
	synctest.Test(t, func(outer *testing.T) {
		rapid.Check(struct{ testing.TB }{outer}, func(t *rapid.T) {
			h := New(Config{PresenceLimit: limit})
			defer h.Close()
			m := &presenceModel{limit: limit, rooms: map[string]map[string]*presentModel{}, in: map[string]map[int]bool{}}
			for _, room := range rooms {
				m.rooms[room], m.in[room] = map[string]*presentModel{}, map[int]bool{}
			}
			tabs := make([]*modelTab, len(users))
			of := func(i int) string { return users[i] }
			rights := rapid.SampledFrom([][]string{{"join", "publish", "presence"}, {"join", "publish", "presence"}, {"join", "presence"}, {"join"}, {"presence"}})
			open := func(t *rapid.T, i int) {
				w := &watcher{strict: true}
				may := rights.Draw(t, "rights")
				s, err := h.Open(SessionConfig{ID: fmt.Sprint(i), Connection: connections[i], Identity: verbs(users[i], may...), Sink: w, Encoder: talkEncoder{lineEncoder{tag: fmt.Sprint(i % 2)}}})
				if err != nil {
					t.Fatal(err)
				}
				tabs[i] = &modelTab{tab: tab{s, w}, user: users[i], rights: may, hidden: map[string]bool{}}
			}
			for i := range tabs {
				open(t, i)
			}
			out := func(room string, i int) {
				if _, in := m.in[room][i]; in {
					m.count(room, i, false, users[i], "", of)
					delete(m.in[room], i)
					m.settle(grace)
				}
			}
			pick := func(t *rapid.T) (*modelTab, int, string) {
				i := rapid.IntRange(0, len(tabs)-1).Draw(t, "session")
				return tabs[i], i, rapid.SampledFrom(rooms).Draw(t, "room")
			}
			data := func(t *rapid.T) json.RawMessage {
				return json.RawMessage(rapid.SampledFrom([]string{"", "1", "2", "null"}).Draw(t, "data"))
			}
			set := func(room, user string, data json.RawMessage) {
				if string(data) == "null" {
					data = nil
				}
				m.rooms[room][user].data = string(data)
			}
			t.Repeat(map[string]func(*rapid.T){
				"join": func(t *rapid.T) {
					b, i, room := pick(t)
					o := JoinOptions{Hidden: rapid.IntRange(0, 4).Draw(t, "hidden") == 0, Presence: data(t)}
					if len(o.Presence) == 0 {
						o.Presence = nil
					}
					_, already := m.in[room][i]
					ready := b.ready(b.user)
					j, err := b.Join(t.Context(), room, o, func(j Joined) {
						if !j.Already {
							ready(j)
						}
					})
					if already || !b.may("join") {
						if (err == nil) != already {
							t.Fatalf("join: %v", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					b.hidden[room] = o.Hidden
					counts := !o.Hidden && b.user != "" && b.may("presence")
					m.count(room, i, counts, b.user, b.Identity().Name, of)
					if counts && o.Presence != nil {
						set(room, b.user, o.Presence)
					}
					sees, viewers := b.may("presence") && !o.Hidden, m.paused(room)
					if (j.Members != nil) != (sees && viewers == 0) || sees && j.Viewers != viewers || !sees && j.Viewers != 0 {
						t.Fatalf("the answer has %v, and %d", j.Members, j.Viewers)
					}
					if j.Members != nil {
						checkList(t, m, room, j.Members)
					}
				},
				"leave": func(t *rapid.T) {
					b, i, room := pick(t)
					b.Leave(room)
					out(room, i)
				},
				"reopen": func(t *rapid.T) {
					b, i, _ := pick(t)
					b.Session.Close()
					for _, room := range rooms {
						out(room, i)
					}
					b.check(t)
					open(t, i)
				},
				"identity": func(t *rapid.T) {
					b, i, _ := pick(t)
					b.rights = rights.Draw(t, "rights")
					id := verbs(b.user, b.rights...)
					if b.user != "" {
						id.Name = rapid.SampledFrom([]string{"X", "Y"}).Draw(t, "name")
					}
					b.SetIdentity(id)
					for _, room := range rooms {
						if _, in := m.in[room][i]; !in {
							continue
						}
						if !b.may("join") {
							out(room, i)
							continue
						}
						m.count(room, i, !b.hidden[room] && b.user != "" && b.may("presence"), b.user, id.Name, of)
					}
				},
				"data": func(t *rapid.T) {
					b, i, room := pick(t)
					data := data(t)
					err := b.SetPresence(t.Context(), room, data)
					if (err == nil) != m.in[room][i] {
						t.Fatalf("SetPresence: %v", err)
					}
					if err == nil {
						set(room, b.user, data)
					}
				},
				"time": func(t *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds")) * time.Second)
				},
				"": func(t *rapid.T) {
					synctest.Wait()
					m.settle(grace)
					for _, room := range rooms {
						list, err := h.Members(t.Context(), room)
						if err != nil {
							t.Fatal(err)
						}
						checkList(t, m, room, list)
						first, viewers, err := h.FirstMembers(t.Context(), room)
						if err != nil || viewers != len(list) || limit >= 0 && len(first) != min(limit, viewers) || !reflect.DeepEqual(first, list[:len(first)]) {
							t.Fatalf("first %v, %d, %v of %v", first, viewers, err, list)
						}
						for i, b := range tabs {
							b.check(t)
							checkPicture(t, m, room, i, b)
						}
					}
				},
			})
		})
	})
}

func checkList(t *rapid.T, m *presenceModel, room string, list []Member) {
	got := map[string]string{}
	for _, u := range list {
		got[u.ID] = shown(u)
	}
	if want := m.list(room, "-"); !maps.Equal(got, want) || len(list) != len(got) {
		t.Fatalf("in %s are %q, want %q", room, got, want)
	}
	if !slices.IsSortedFunc(list, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) }) {
		t.Fatalf("not sorted: %v", list)
	}
}

func checkPicture(t *rapid.T, m *presenceModel, room string, i int, b *modelTab) {
	picture, viewers := b.picture(room)
	counts, in := m.in[room][i]
	switch {
	case !in:
	case !counts:
		if b.user != "" && len(picture) > 0 { // a guest has the list of his join
			t.Fatalf("session %d sees %q in %s", i, picture, room)
		}
	case b.old(room) != (m.paused(room) > 0):
		t.Fatalf("session %d takes what it sees for old: %v; in %s are %d", i, b.old(room), room, len(m.rooms[room]))
	case m.paused(room) == 0:
		if want := m.list(room, b.user); !maps.Equal(picture, want) {
			t.Fatalf("session %d sees %q in %s, want %q", i, picture, room, want)
		}
		if viewers != 0 && viewers != len(picture)+1 {
			t.Fatalf("session %d counts %d viewers in %s, and sees %q", i, viewers, room, picture)
		}
	}
}

// TestPresenceStress does everything at once: the race detector looks, and when
// it is quiet every member's picture is right.
func TestPresenceStress(t *testing.T) {
	for _, limit := range []int{0, 3} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) { presenceStress(t, limit) })
	}
}

func presenceStress(t *testing.T, limit int) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{SignalRate: -1, ConnectionsPerUser: 100, JoinBuffer: 4, PresenceLimit: limit})
		rooms := []string{"a", "b"}
		rights := [][]string{{"join", "publish", "presence"}, {"join", "publish", "presence"}, {"join"}, {"presence"}}
		var tabs []tab
		var wg sync.WaitGroup
		for i := range 12 {
			who := []string{"", "u", "v", "w", "x"}[i%5]
			b := newTab(t, h, fmt.Sprintf("%d/%d", i, i%10), verbs(who, rights[0]...)) // two connections have two sessions
			b.strict = false                                                           // a right that is lost and found at once repeats joins
			tabs = append(tabs, b)
			for lane := range 2 {
				wg.Go(func() { stressPresence(t, b, rooms, rights, rand.New(rand.NewPCG(uint64(i), uint64(lane)))) })
			}
		}
		for _, room := range rooms {
			wg.Go(func() {
				for range 200 {
					publish(t, h, room, "1")
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		for _, b := range tabs {
			b.SetIdentity(verbs(b.conn.user, rights[0]...))
			for _, room := range rooms {
				b.join(t, room, JoinOptions{})
			}
		}
		after(time.Minute)
		users := 4
		if users > limit && limit > 0 {
			for _, room := range rooms {
				for _, b := range tabs {
					if b.conn.user != "" && !b.old(room) {
						t.Errorf("%s takes what it sees in %s for the present", b.ID(), room)
					}
				}
			}
			for _, b := range tabs {
				if b.conn.user == "x" {
					b.Session.Close()
				}
			}
			tabs = slices.DeleteFunc(tabs, func(b tab) bool { return b.conn.user == "x" })
			users = 3
			after(time.Minute)
		}
		for _, room := range rooms {
			list, err := h.Members(t.Context(), room)
			if err != nil || len(list) != users {
				t.Fatalf("%s: %v, %v", room, list, err)
			}
			for _, b := range tabs {
				if b.conn.user != "" && b.old(room) {
					t.Errorf("%s takes what it sees in %s for old", b.ID(), room)
				}
				b.check(t)
				want := map[string]string{}
				for _, u := range list {
					if u.ID != b.conn.user {
						want[u.ID] = shown(u)
					}
				}
				picture, viewers := b.picture(room)
				if b.conn.user != "" && (!maps.Equal(picture, want) || viewers != 0 && viewers != len(list)) {
					t.Errorf("%s sees %q and %d viewers in %s, want %q", b.ID(), picture, viewers, room, want)
				}
			}
		}
	})
}

func stressPresence(t *testing.T, b tab, rooms []string, rights [][]string, rng *rand.Rand) {
	ready := b.ready(b.conn.user)
	for n := range 300 {
		room := rooms[rng.IntN(len(rooms))]
		data := json.RawMessage(fmt.Sprint(n))
		switch rng.IntN(12) {
		case 0, 1, 2:
			_, _ = b.Join(t.Context(), room, JoinOptions{Presence: data}, func(j Joined) {
				if !j.Already { // what a repeated answer shows is told besides
					ready(j)
				}
			})
		case 3, 4:
			b.Leave(room)
		case 5:
			b.SetIdentity(verbs(b.conn.user, rights[rng.IntN(len(rights))]...))
		case 6, 7:
			_ = b.SetPresence(t.Context(), room, data)
		case 8:
			_ = b.Signal(t.Context(), Signal{Room: room, Event: "e", Data: data})
		case 9:
			_ = b.Typing(t.Context(), room)
		case 10:
			if list, err := b.Members(t.Context(), room); err == nil && slices.ContainsFunc(list, func(u Member) bool { return u.ID == "" || bytes.Contains(u.Data, []byte("x")) }) {
				t.Errorf("%v", list)
			}
		default:
			time.Sleep(time.Duration(rng.IntN(int(3 * time.Second))))
		}
	}
}
