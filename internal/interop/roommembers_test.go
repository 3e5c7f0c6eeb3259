package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// TestOneRoom puts members by seven clients, most of them made by others, into
// one room in which three publishers speak at once: all hear the same, all of
// it and once. Then all are cut off while the publishers go on, come back by
// themselves, resume, and again have the same.
func TestOneRoom(t *testing.T) {
	t.Parallel()
	requireNode(t)
	m := newMeeting(t)
	m.until("all joined", func() bool { return len(m.joined) == len(m.valves) })

	m.publish(24)
	m.settle()

	m.publish(24)
	for _, v := range m.valves { // while they are hearing it
		v.cut()
	}
	m.publish(24)
	m.until("what was published is acknowledged", m.acknowledged)
	for kind := range m.valves {
		if n := len(m.heard[kind]); n >= len(m.acked) {
			t.Errorf("%s heard %d of %d although it was cut off", kind, n, len(m.acked))
		}
	}
	for _, v := range m.valves {
		v.mend()
	}
	m.publish(24) // while they are coming back
	m.settle()
	for kind, v := range m.valves {
		if v.used() == 0 {
			t.Errorf("%s did not come back", kind)
		}
	}
	if m.lastEventIDs.Load() == 0 {
		t.Error("the eventsource came back without Last-Event-ID")
	}
}

const (
	meetingRoom = "board ü/7"
	meetingKey  = "0123456789abcdef-meeting"
	kindCurl    = "curl"
	kindGo      = "go client"
	byHTTP      = "http"
)

// meetingNames are names of events; most mean something else to some client.
func meetingNames() []string {
	return []string{"card:moved", "message", "open", "error", "connected", "reset", "authenticated", "ok", "event", "pong", "heartbeat", "close", "grüße 🎉"}
}

// meetingData is what events carry, as JSON.
func meetingData() []string {
	return []string{
		`null`, `{"card":3,"to":{"list":[1,null,{"":true}]}}`, `"grüße 🎉 \u2028 \n\r data: x"`, `0`, `[]`, `-1.5e-7`, `""`, `false`,
		`{"type":"event","offset":1,"_placeholder":false}`, `"` + strings.Repeat("lang é ", 700) + `"`,
	}
}

// published is an event that a publisher is given.
type published struct {
	Number int             `json:"number"` // of this publisher, from 0 on
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Bytes  string          `json:"bytes,omitempty"` // base64: the data is {"png":bytes,"of":Data}
	ID     string          `json:"id,omitempty"`
}

// meetingLine is what is told by a member (Member and Joined, Event or Lost) or
// by a publisher (By, Number and Position).
type meetingLine struct {
	Member  string
	Joined  bool
	Event   map[string]any
	Buffers int // parts of the event that came as bytes
	Lost    string

	By       string
	Number   int
	Position holdfast.Position
}

// meeting is a server with a room, the members and the publishers. All of it
// is the test's goroutine's, but for said, which everybody writes to.
type meeting struct {
	t      *testing.T
	base   string
	valves map[string]*valve // by the kind of member
	node   *script
	said   chan meetingLine

	wait         sync.WaitGroup // for what m.curl and m.publish start
	lastEventIDs atomic.Int64

	sent    map[string][]published       // by publisher
	acked   map[holdfast.Position]string // the event there, in the form of canonical
	binary  int                          // events with bytes in sent
	joined  map[string]bool
	heard   map[string][]string
	buffers map[string]int
}

func newMeeting(t *testing.T) *meeting {
	t.Helper()
	m := &meeting{
		t: t, valves: make(map[string]*valve), said: make(chan meetingLine, 10_000), sent: make(map[string][]published),
		acked: make(map[holdfast.Position]string), joined: make(map[string]bool), heard: make(map[string][]string), buffers: make(map[string]int),
	}
	m.base = m.serve()
	host := strings.TrimPrefix(m.base, "http://")
	type seat struct {
		URL   string `json:"url"`
		Token string `json:"token"`
	}
	members := make(map[string]seat)
	for kind, form := range map[string]string{
		"socket.io websocket": "http://%s", "socket.io polling": "http://%s", "ws": "ws://%s/ws", "ws topic": "ws://%s/ws/topic", "eventsource": "http://%s/events",
	} {
		m.valves[kind] = newValve(t, host)
		members[kind] = seat{fmt.Sprintf(form, m.valves[kind].address()), meetingToken(t, kind)}
	}
	input, err := json.Marshal(map[string]any{
		"room": meetingRoom, "names": meetingNames(), "members": members,
		"publishers": map[string]seat{"socket.io": {m.base, meetingToken(t, "socket.io")}, "ws": {"ws://" + host + "/ws", meetingToken(t, "ws")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.node = startNode(t, "roommembers.mjs", string(input))
	m.valves[kindCurl] = newValve(t, host)
	m.curl()
	m.valves[kindGo] = newValve(t, host)
	m.goMember()
	return m
}

func meetingToken(t *testing.T, user string) string {
	t.Helper()
	now := time.Now()
	token, err := auth.Mint(auth.SigningKey{Secret: npmSecret}, auth.Claims{User: user, IssuedAt: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// serve starts the server and returns its address.
func (m *meeting) serve() string {
	t := m.t
	rooms := holdfast.MustRoomList("**")
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: npmSecret, DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(meetingKey)})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Authenticator: verifier, APIKeys: keys, MessageRate: 1000, MessageBurst: 1000, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	hosted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "" {
			m.lastEventIDs.Add(1)
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		hosted.Close()
	})
	return hosted.URL
}
