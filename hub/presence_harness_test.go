package hub

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// talkEncoder is a lineEncoder that has a form for notices: "~" and JSON.
type talkEncoder struct{ lineEncoder }

func (talkEncoder) EncodeNotice(n *Notice) *Frame {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return &Frame{Text: append([]byte("~"), text...)}
}

// watcher is a Sink that makes of what it is sent what a client would: a
// picture of each room.
type watcher struct {
	mu      sync.Mutex
	frames  []*Frame
	notices []Notice
	rooms   map[string]map[string]string // room → user → name and data
	viewers map[string]int               // room → as the last notice said, 0 for none
	paused  map[string]bool              // room → the picture may be old
	strict  bool                         // a user comes only when away, and goes only when here
	faults  []string
}

func (w *watcher) Send(f *Frame) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, ok := strings.CutPrefix(string(f.Text), "~")
	if !ok {
		return true
	}
	var n Notice
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		w.faults = append(w.faults, err.Error())
		return true
	}
	w.frames = append(w.frames, f)
	w.notices = append(w.notices, n)
	if n.Kind == NoticeTyping || n.Kind == NoticeSignal {
		return true
	}
	room := w.room(n.Room)
	if n.Kind == NoticePaused || n.Kind == NoticeResumed {
		if w.strict && w.paused[n.Room] == (n.Kind == NoticePaused) {
			w.faults = append(w.faults, "out of order: "+text)
		}
		w.paused[n.Room] = n.Kind == NoticePaused
		return true
	}
	_, here := room[n.User.ID]
	if w.strict && here != (n.Kind != NoticeJoin) {
		w.faults = append(w.faults, "out of order: "+text)
	}
	if f.Overflow != OverflowClose {
		w.faults = append(w.faults, "may be dropped: "+text)
	}
	if n.Kind == NoticeLeave {
		delete(room, n.User.ID)
	} else {
		room[n.User.ID] = shown(n.User)
	}
	if n.Kind != NoticeUpdate {
		w.viewers[n.Room] = n.Viewers
	}
	return true
}

func shown(m Member) string { return m.Name + " " + string(m.Data) }

func (w *watcher) room(name string) map[string]string {
	if w.rooms == nil {
		w.rooms, w.viewers, w.paused = map[string]map[string]string{}, map[string]int{}, map[string]bool{}
	}
	if w.rooms[name] == nil {
		w.rooms[name] = map[string]string{}
	}
	return w.rooms[name]
}

// ready takes the answer to a join.
func (w *watcher) ready(self string) func(Joined) {
	return func(j Joined) {
		w.mu.Lock()
		defer w.mu.Unlock()
		room := w.room(j.Room)
		if j.Already && j.Viewers > 0 {
			return // there is nothing new in it
		}
		clear(room)
		w.viewers[j.Room], w.paused[j.Room] = 0, j.Viewers > 0
		for _, m := range j.Members {
			if m.ID != self {
				room[m.ID] = shown(m)
			}
		}
	}
}

// told returns the notices since the last call, one line each.
func (w *watcher) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, n := range w.notices {
		line := fmt.Sprintf("%s %s %s", [...]string{"join", "leave", "update", "typing", "signal", "paused", "resumed"}[n.Kind], n.Room, n.User.ID)
		for _, more := range []string{n.User.Name, string(n.User.Data), n.Event, string(n.Data), n.Key} {
			if more != "" && more != "null" {
				line += " " + more
			}
		}
		if n.Viewers != 0 {
			line += fmt.Sprint(" ", n.Viewers)
		}
		lines = append(lines, line)
	}
	w.notices = nil
	return strings.Join(lines, "; ")
}

// picture returns what the client knows of a room.
func (w *watcher) picture(room string) (picture map[string]string, viewers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.room(room)), w.viewers[room]
}

// old reports whether the client knows that its picture of a room may be old.
func (w *watcher) old(room string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused[room]
}

func (w *watcher) check(t interface{ Errorf(string, ...any) }) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range w.faults {
		t.Errorf("%s", fault)
	}
	w.faults = nil
}

// verbs makes an identity with the verbs in all rooms.
func verbs(id string, verbs ...string) *holdfast.Identity {
	text, err := json.Marshal(map[string][]string{"**": append([]string{}, verbs...)})
	if err != nil {
		panic(err)
	}
	rooms, err := holdfast.ParseRoomPermissions(text)
	if err != nil {
		panic(err)
	}
	who := &holdfast.Identity{User: id, Permissions: holdfast.Permissions{Rooms: rooms}}
	if id != "" {
		who.Name = strings.ToUpper(id[:1])
	}
	return who
}

// tab is a session with its watcher.
type tab struct {
	*Session
	*watcher
}

// tab opens a session of the identity; name is session and connection, or
// session/connection.
func newTab(t testing.TB, h *Hub, name string, id *holdfast.Identity) tab {
	t.Helper()
	w := &watcher{strict: true}
	session, connection, _ := strings.Cut(name, "/")
	s := openAs(t, h, SessionConfig{ID: session, Connection: connection, Identity: id, Sink: w, Encoder: talkEncoder{}})
	t.Cleanup(func() { w.check(t) })
	return tab{s, w}
}

func (b tab) join(t testing.TB, room string, o JoinOptions) Joined {
	t.Helper()
	j, err := b.Join(t.Context(), room, o, b.ready(b.conn.user))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (b tab) wants(t testing.TB, want string) {
	t.Helper()
	if got := b.told(); got != want {
		t.Errorf("%s was told %q, want %q", b.ID(), got, want)
	}
}

// lines shows a list, one user a line.
func lines(list []Member) string {
	var out []string
	for _, m := range list {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", m.ID, m.Name, m.Data))+fmt.Sprint(" ", m.Connections))
	}
	if !slices.IsSorted(out) {
		out = append(out, "(not sorted)")
	}
	return strings.Join(out, "; ")
}
