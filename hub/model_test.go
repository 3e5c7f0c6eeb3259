package hub

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// hubModel is what a hub does, one call at a time, in as few words as can be.
type hubModel struct {
	keep  int
	rooms map[string][]string         // all events ever
	epoch map[string]string           // learnt from the first answer
	ids   map[string]uint64           // offset of "room from id"
	in    map[string]map[int]bool     // room → sessions
	lines map[int][]string            // what each session was sent
	may   map[int]map[string]struct{} // rooms that each session may be in
}

func (m *hubModel) pos(room string, offset int) holdfast.Position {
	return holdfast.Position{Epoch: m.epoch[room], Offset: uint64(offset)}
}

func (m *hubModel) line(room string, offset int) string {
	return fmt.Sprintf("%s %s %d %s", room, m.epoch[room], offset, m.rooms[room][offset-1])
}

func (m *hubModel) publish(room, data string) {
	m.rooms[room] = append(m.rooms[room], data)
	for s := range m.in[room] {
		m.lines[s] = append(m.lines[s], m.line(room, len(m.rooms[room])))
	}
}

// join returns what Join is to return, Recovered apart.
func (m *hubModel) join(s int, room string, since *holdfast.Position) (already, recovered bool) {
	if m.in[room][s] {
		return true, false
	}
	m.in[room][s] = true
	if since == nil {
		return false, false
	}
	top := len(m.rooms[room])
	first := max(top-m.keep, 0)
	if since.Epoch != m.epoch[room] || since.Offset > uint64(top) || since.Offset < uint64(first) {
		return false, false
	}
	for offset := int(since.Offset) + 1; offset <= top; offset++ {
		m.lines[s] = append(m.lines[s], m.line(room, offset))
	}
	return false, true
}

func TestModel(t *testing.T) {
	rooms := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		const sessions = 3
		m := &hubModel{
			keep: rapid.IntRange(1, 6).Draw(t, "keep"), rooms: map[string][]string{}, epoch: map[string]string{}, ids: map[string]uint64{},
			in: map[string]map[int]bool{}, lines: map[int][]string{}, may: map[int]map[string]struct{}{},
		}
		b := NewMemory(MemoryConfig{Events: m.keep})
		defer b.Close()
		h := New(Config{Broker: b})
		defer h.Close()
		for _, room := range rooms {
			m.in[room] = map[int]bool{}
			page, _ := h.History(t.Context(), room, nil, 0)
			m.epoch[room] = page.Position.Epoch
		}
		all := make([]*Session, sessions)
		sinks := make([]*recorder, sessions)
		reopen := func(i int) {
			sinks[i] = &recorder{}
			s, err := h.Open(SessionConfig{
				ID: fmt.Sprint(i), Identity: user("u", rooms...), Sink: sinks[i], Encoder: lineEncoder{tag: fmt.Sprint(i % 2)},
				Left: func(room string, _ *holdfast.Error) { sinks[i].put("left " + room) },
			})
			if err != nil {
				t.Fatal(err)
			}
			all[i], m.lines[i] = s, nil
			m.may[i] = map[string]struct{}{}
			for _, room := range rooms {
				m.may[i][room] = struct{}{}
			}
		}
		for i := range all {
			reopen(i)
		}
		pick := func(t *rapid.T) (int, string) {
			return rapid.IntRange(0, sessions-1).Draw(t, "session"), rapid.SampledFrom(rooms).Draw(t, "room")
		}
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				_, room := pick(t)
				n++
				ev := event(room, fmt.Sprint(n))
				ev.From = rapid.SampledFrom([]string{"", "u"}).Draw(t, "from")
				ev.ID = rapid.SampledFrom([]string{"", "", "1", "2"}).Draw(t, "id")
				pos, err := h.Publish(t.Context(), ev)
				if err != nil {
					t.Fatal(err)
				}
				key := room + " " + ev.From + " " + ev.ID
				want, repeated := m.ids[key]
				if !repeated {
					m.publish(room, fmt.Sprint(n))
					want = uint64(len(m.rooms[room]))
					if ev.ID != "" {
						m.ids[key] = want
					}
				}
				if pos != m.pos(room, int(want)) {
					t.Fatalf("published at %v, want %d", pos, want)
				}
			},
			"join": func(t *rapid.T) {
				s, room := pick(t)
				var since *holdfast.Position
				if rapid.Bool().Draw(t, "resume") {
					pos := m.pos(room, rapid.IntRange(0, len(m.rooms[room])+1).Draw(t, "since"))
					if rapid.IntRange(0, 9).Draw(t, "epoch") == 0 {
						pos.Epoch = "other"
					}
					since = &pos
				}
				j, err := all[s].Join(t.Context(), room, JoinOptions{Since: since}, nil)
				if _, ok := m.may[s][room]; !ok {
					if holdfast.CodeOf(err) != holdfast.Forbidden {
						t.Fatalf("joined without the right: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				already, recovered := m.join(s, room, since)
				want := Joined{Room: room, Position: m.pos(room, len(m.rooms[room])), Already: already}
				if (j.Recovered != nil) != (since != nil && !already) || j.Recovered != nil && *j.Recovered != recovered {
					t.Fatalf("recovered %v, want %v", j.Recovered, recovered)
				}
				if j.Recovered, j.Members = nil, nil; !reflect.DeepEqual(j, want) {
					t.Fatalf("joined %+v, want %+v", j, want)
				}
			},
			"leave": func(t *rapid.T) {
				s, room := pick(t)
				all[s].Leave(room)
				delete(m.in[room], s)
			},
			"identity": func(t *rapid.T) {
				s, _ := pick(t)
				may := rapid.SliceOfDistinct(rapid.SampledFrom(rooms), rapid.ID[string]).Draw(t, "may")
				before := len(sinks[s].all())
				all[s].SetIdentity(user("u", may...))
				told := slices.Sorted(slices.Values(sinks[s].all()[before:]))
				var want []string
				m.may[s] = map[string]struct{}{}
				for _, room := range rooms {
					if slices.Contains(may, room) {
						m.may[s][room] = struct{}{}
					} else if m.in[room][s] {
						delete(m.in[room], s)
						want = append(want, "left "+room)
					}
				}
				if !slices.Equal(told, want) {
					t.Fatalf("told %q, want %q", told, want)
				}
				m.lines[s] = sinks[s].all()
			},
			"reopen": func(t *rapid.T) {
				s, _ := pick(t)
				all[s].Close()
				for _, room := range rooms {
					delete(m.in[room], s)
				}
				reopen(s)
			},
			"": func(t *rapid.T) {
				joined := 0
				for i, s := range all {
					if got := sinks[i].all(); !slices.Equal(got, m.lines[i]) {
						t.Fatalf("session %d was sent %q, want %q", i, got, m.lines[i])
					}
					var want []string
					for _, room := range rooms {
						if m.in[room][i] {
							want = append(want, room)
						}
					}
					if got := slices.Sorted(slices.Values(s.Rooms())); !slices.Equal(got, want) {
						t.Fatalf("session %d is in %q, want %q", i, got, want)
					}
					joined += len(want)
					if s.conn.rooms != len(want) {
						t.Fatalf("session %d: %d rooms counted, want %d", i, s.conn.rooms, len(want))
					}
				}
				refs := 0
				for _, r := range h.rooms {
					refs += r.refs
				}
				if refs != joined {
					t.Fatalf("%d references, %d memberships", refs, joined)
				}
			},
		})
	})
}
