package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/standalone"
)

// These tests are the exercises, and the ways to sign in, of a lesson on
// authentication on WebSockets, with the server's accounts: what a page sends
// in the lesson is sent here, and has to have the effect that it has there.

// Who signed in over REST has a cookie, and /ws says who that is.
func TestLessonCookie(t *testing.T) {
	t.Parallel()
	w := newWhole(t, nil)
	alice := w.lessonUser("Alice")
	p := w.plain("", alice.page(w)...)
	p.authenticated(alice.User)
	p.exchange(`{"type":"ping"}`, `{"type":"pong"}`)

	// The end of the session is the end of the connection, and of the cookie.
	w.want(200, "", "POST", "/api/auth/sign-out", "", append(alice.page(w), "X-CSRF-Token", alice.csrf)...)
	p.ended(`{"type":"auth_closing","code":"SESSION_REVOKED"`, holdfast.SessionRevoked, 4001)
	w.plain("", alice.page(w)...).ended(`{"error":"Invalid session","code":"SESSION_REVOKED"}`, holdfast.SessionRevoked, 4001)
}

// Who has no session is closed with 4001.
func TestLessonNoCookie(t *testing.T) {
	t.Parallel()
	const unauthorized = `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`
	for _, tc := range []struct {
		name     string
		patience time.Duration // the server's; 0: 10 s
		query    string
		header   func(w *whole) []string
		send     string
	}{
		{name: "nothing in time", patience: time.Second},
		{name: "another message first", send: `{"type":"join","boardId":"board-1"}`},
		{name: "a bad token first", send: `{"type":"auth","token":"abc123"}`},
		{name: "a cookie that nobody was given", header: func(*whole) []string { return []string{"Cookie", "session=abc123"} }},
		{name: "two cookies", header: func(w *whole) []string {
			page := w.lessonUser("Alice").page(w)
			return append(page, "Cookie", "session=abc123")
		}},
		{name: "a token in the URL where that is off", query: "?token=abc123", send: `{"type":"ping"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, func(cfg *standalone.Config) { cfg.ConnectTimeout = tc.patience })
			var header []string
			if tc.header != nil {
				header = tc.header(w)
			}
			p := w.plain(tc.query, header...)
			if tc.send != "" {
				p.send(tc.send)
			}
			if tc.send == `{"type":"ping"}` { // which lets nobody in, and nobody out
				p.next(`{"type":"pong"}`)
				p.send(`{"type":"typing","boardId":"board-1"}`)
			}
			p.ended(unauthorized, holdfast.Unauthenticated, 4001)
		})
	}
}

// Typing on a board reaches the others there, with the typist's name.
func TestLessonTyping(t *testing.T) {
	t.Parallel()
	w := newWhole(t, func(cfg *standalone.Config) { cfg.PresenceGrace = 100 * time.Millisecond })
	alice, bob, eve := w.lessonUser("Alice"), w.lessonUser("Bob"), w.lessonUser("Eve")
	onBoard := func(u signedIn, board string) *plainPeer {
		p := w.plain("", u.page(w)...)
		p.authenticated(u.User)
		p.send(`{"type":"join","boardId":"` + board + `","ref":1}`)
		p.next(`{"type":"ok","ref":1,"data":{"room":"` + board + `"`)
		return p
	}
	elsewhere := onBoard(eve, "board-2")
	b := onBoard(bob, "board-1")
	a := onBoard(alice, "board-1")
	user := `"user":{"id":"` + alice.User.ID + `","name":"Alice"}`
	b.next(`{"type":"user_joined","room":"board-1",` + user + `,"viewers":2}`)

	a.send(`{"type":"typing","boardId":"board-1"}`)
	b.next(`{"type":"user_typing","room":"board-1",` + user + `}`)
	// Neither she nor another board hears of it, nor anybody of a board that
	// the typist isn't on.
	a.exchange(`{"type":"typing","boardId":"board-2"}`, `{"error":"`)
	a.exchange(`{"type":"ping"}`, `{"type":"pong"}`)
	elsewhere.exchange(`{"type":"ping"}`, `{"type":"pong"}`)

	// What is no JSON is told so, and the connection stays.
	a.exchange(`{"type":"typing"`, `{"error":"Invalid JSON","code":"INVALID_ARGUMENT"}`)
	a.exchange(`{"type":"ping"}`, `{"type":"pong"}`)

	if err := a.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	b.next(`{"type":"user_left","room":"board-1",` + user + `,"viewers":1}`)
}

// The lesson's other two ways to sign in, for clients without cookies.
func TestLessonToken(t *testing.T) {
	t.Parallel()
	w := newWhole(t, func(cfg *standalone.Config) { cfg.AllowQueryToken = true })
	alice, bob := w.lessonUser("Alice"), w.lessonUser("Bob")
	t.Run("in the URL", func(t *testing.T) {
		p := w.plain("?token=" + alice.AccessToken)
		p.authenticated(alice.User)
		w.plain("?token=abc123").ended(`{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, holdfast.Unauthenticated, 4001)
	})
	t.Run("as the first message", func(t *testing.T) {
		p := w.plain("")
		p.send(`{"type":"auth","token":"` + bob.AccessToken + `"}`)
		p.authenticated(bob.User)
		// The same once more only makes it last longer; another user's is not taken.
		p.send(`{"type":"auth","token":"` + bob.AccessToken + `"}`)
		p.authenticated(bob.User)
		p.exchange(`{"type":"auth","token":"`+alice.AccessToken+`","ref":1}`, `{"type":"error","ref":1,`)
		p.exchange(`{"type":"ping"}`, `{"type":"pong"}`)
	})
}

// lessonUser makes a user and signs in as a page does: with cookies.
func (w *whole) lessonUser(name string) signedIn {
	w.t.Helper()
	email := strings.ToLower(name) + "@example.com"
	w.want(200, "", "POST", "/api/auth/sign-up", `{"email":"`+email+`","password":"correct horse battery","name":"`+name+`"}`)
	token := w.signIn(email).AccessToken
	user := w.enter("/api/auth/sign-in", email, "Origin", w.url)
	if user.User.Name != name {
		w.t.Fatalf("%s signed in as %+v", name, user.User)
	}
	user.AccessToken = token // which a page has no use for
	return user
}

// page is what a browser sends along.
func (s signedIn) page(w *whole) []string {
	header := []string{"Origin", w.url}
	for _, c := range s.cookies {
		header = append(header, "Cookie", c.Name+"="+c.Value)
	}
	return header
}

// plainPeer is a client of /ws.
type plainPeer struct {
	t    *testing.T
	conn *websocket.Conn
}

func (w *whole) plain(query string, header ...string) *plainPeer {
	w.t.Helper()
	h := http.Header{}
	for pair := range slices.Chunk(header, 2) {
		h.Add(pair[0], pair[1])
	}
	conn, _, err := websocket.Dial(within(w.t), "ws"+strings.TrimPrefix(w.url, "http")+"/ws"+query, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.CloseNow() })
	return &plainPeer{t: w.t, conn: conn}
}

func (p *plainPeer) send(text string) {
	p.t.Helper()
	if err := p.conn.Write(within(p.t), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// next reads a message, which must begin with prefix.
func (p *plainPeer) next(prefix string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	_, data, err := p.conn.Read(ctx)
	if err != nil || !strings.HasPrefix(string(data), prefix) {
		p.t.Fatalf("got %s, %v; want %s", data, err, prefix)
	}
	return string(data)
}

func (p *plainPeer) exchange(send, want string) {
	p.t.Helper()
	p.send(send)
	p.next(want)
}

// authenticated reads the greeting, which must say who the user is and nothing
// else of him.
func (p *plainPeer) authenticated(user holdfast.User) {
	p.t.Helper()
	text := p.next(`{"type":"authenticated"`)
	var got struct{ User map[string]any }
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.User) != 2 || got.User["id"] != user.ID || got.User["name"] != user.Name {
		p.t.Fatalf("got %s, %v; want the user %s, %s", text, err, user.ID, user.Name)
	}
}

// ended reads a last message, and then the close.
func (p *plainPeer) ended(last string, code holdfast.Code, status websocket.StatusCode) {
	p.t.Helper()
	p.next(last)
	_, data, err := p.conn.Read(within(p.t))
	if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Code != status || e.Reason != string(code) {
		p.t.Fatalf("got %s, %v; want a close with %d %s", data, err, status, code)
	}
}
