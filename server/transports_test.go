package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// One table for all transports: what happens to a member of a room must not
// depend on how he came.

// member is a member of rooms by any transport.
type member interface {
	// next returns what happens next.
	next() happening
	// close goes away.
	close()
}

// happening is something that a member is told.
type happening struct {
	kind   string // event, expiring, closing, left, end
	text   string // the event's name, the reason, the code, or the room
	detail string // the data, the seconds left, or the code
}

// joinAs joins rooms with a token, or returns why that is refused.
type joinAs func(w *world, token string, rooms ...string) (member, error)

// transports are the ways of joining.
func transports() map[string]joinAs {
	return map[string]joinAs{"socket.io": joinSocketIO, "ws": joinPlain, "topic": joinTopic, "sse": joinStream, "poll": joinPoll}
}

// overAll runs a test over each transport, in a bubble of its own.
func overAll(t *testing.T, test func(t *testing.T, name string, join joinAs)) {
	for name, join := range transports() {
		t.Run(name, func(t *testing.T) { in(t, func(t *testing.T) { test(t, name, join) }) })
	}
}

// refusal is an answer that says no; the error is its code.
type refusal string

func (r refusal) Error() string { return string(codeIn(string(r))) }

type socketMember struct {
	*peer
	decode func(text string) happening
}

func (m socketMember) close() { m.conn.CloseNow() }

// next skips what is told of presence, which event streams and polls are not.
func (m socketMember) next() happening {
	m.t.Helper()
	for {
		if h := m.nextOfAll(); h.kind != "presence" {
			return h
		}
	}
}

func (m socketMember) nextOfAll() happening {
	m.t.Helper()
	text, err := m.tryRecv()
	if err != nil {
		var closed websocket.CloseError
		if !errors.As(err, &closed) {
			m.t.Fatalf("no close frame: %v", err)
		}
		return happening{"end", closed.Reason, ""}
	}
	return m.decode(text)
}

func joinSocketIO(w *world, token string, rooms ...string) (member, error) {
	w.t.Helper()
	p := w.dial()
	p.send(`40{"token":"` + token + `"}`)
	if text := p.recv(); strings.HasPrefix(text, "44") {
		return nil, refusal(text)
	}
	p.want(`42["auth:session"`)
	for _, room := range rooms {
		p.send(`421["room:join",{"room":"` + room + `"}]`)
		if text := p.want("431["); !strings.Contains(text, `"ok":true`) {
			return nil, refusal(text)
		}
	}
	return socketMember{p, func(text string) happening {
		var parts []json.RawMessage
		var name string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "42")), &parts); err != nil || len(parts) < 2 {
			w.t.Fatalf("%s: %v", text, err)
		}
		_ = json.Unmarshal(parts[0], &name)
		return toldBy(name, string(parts[1]))
	}}, nil
}

// toldBy reads what has a name and data of its own.
func toldBy(name, data string) happening {
	kind, ok := map[string]string{"auth:expiring": "auth_expiring", "auth:closing": "auth_closing", "room:left": "room_left"}[name]
	switch {
	case ok:
		return told(kind, data)
	case strings.HasPrefix(name, "presence:"):
		return happening{kind: "presence"}
	}
	return happening{"event", name, data}
}

// codeIn returns the code in an answer.
func codeIn(text string) holdfast.Code {
	_, rest, _ := strings.Cut(text, `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return holdfast.Code(code)
}

// told reads one of §5's objects.
func told(kind, text string) happening {
	var o struct {
		Event, Code, Room, Reason string
		Data                      json.RawMessage
		ExpiresIn                 int64
	}
	_ = json.Unmarshal([]byte(text), &o)
	switch kind {
	case "auth_expiring":
		return happening{"expiring", o.Reason, fmt.Sprint(o.ExpiresIn)}
	case "auth_closing":
		return happening{"closing", o.Code, ""}
	case "room_left":
		return happening{"left", o.Room, o.Code}
	case "user_joined", "user_left":
		return happening{kind: "presence"}
	}
	return happening{"event", o.Event, string(o.Data)}
}

func typeIn(text string) string {
	var o struct{ Type string }
	_ = json.Unmarshal([]byte(text), &o)
	return o.Type
}

func joinPlain(w *world, token string, rooms ...string) (member, error) {
	w.t.Helper()
	p := w.plain("", "Authorization", "Bearer "+token)
	if text := p.recv(); !strings.HasPrefix(text, `{"type":"authenticated"`) {
		return nil, refusal(text)
	}
	for _, room := range rooms {
		p.send(`{"type":"join","room":"` + room + `","ref":1}`)
		if text := p.recv(); !strings.HasPrefix(text, `{"type":"ok"`) {
			return nil, refusal(text)
		}
	}
	return socketMember{p, func(text string) happening { return told(typeIn(text), text) }}, nil
}

func joinTopic(w *world, token string, rooms ...string) (member, error) {
	w.t.Helper()
	p := w.topic("", "Authorization", "Bearer "+token)
	if text := p.recv(); !strings.HasPrefix(text, `{"topic":"authenticated"`) {
		return nil, refusal(text)
	}
	for _, room := range rooms {
		p.send(`{"topic":"join","data":{"room":"` + room + `","ref":1}}`)
		if text := p.recv(); !strings.HasPrefix(text, `{"topic":"ok"`) {
			return nil, refusal(text)
		}
	}
	return socketMember{p, func(text string) happening {
		var o struct {
			Topic string
			Data  json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &o); err != nil || o.Topic == "" {
			w.t.Fatalf("%s: %v", text, err)
		}
		return toldBy(o.Topic, string(o.Data))
	}}, nil
}

type streamMember struct{ *stream }

func (m streamMember) next() happening {
	m.t.Helper()
	ev, err := m.in.Next()
	if err == io.EOF {
		return happening{kind: "end"}
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return told(typeIn(ev.Data), ev.Data)
}

func roomsQuery(rooms []string) string {
	return "?" + url.Values{"room": rooms}.Encode()
}

func joinStream(w *world, token string, rooms ...string) (member, error) {
	w.t.Helper()
	if len(rooms) == 0 {
		rooms = []string{"lobby"}
	}
	s, err := w.tryListen(w.client(), roomsQuery(rooms), "Authorization", "Bearer "+token)
	if err != nil {
		return nil, refusal(err.Error())
	}
	s.want("connected", "")
	return streamMember{s}, nil
}

// pollMember polls again and again.
type pollMember struct {
	w             *world
	token, query  string
	cursor        string
	events        []json.RawMessage
	ended, closed bool
}

func (m *pollMember) close() { m.closed = true }

func (m *pollMember) next() happening {
	m.w.t.Helper()
	for len(m.events) == 0 {
		if m.ended {
			return happening{kind: "end"}
		}
		p := m.w.pollBy(m.token, m.query+"&since="+m.cursor)
		if p.status != http.StatusOK {
			m.ended = true
			return happening{"closing", string(codeIn(p.body)), ""}
		}
		m.events, m.cursor = p.Events, p.Cursor
	}
	text := string(m.events[0])
	m.events = m.events[1:]
	return told(typeIn(text), text)
}

func joinPoll(w *world, token string, rooms ...string) (member, error) {
	w.t.Helper()
	if len(rooms) == 0 {
		rooms = []string{"lobby"}
	}
	m := &pollMember{w: w, token: token, query: roomsQuery(rooms)}
	p := w.pollBy(token, m.query)
	if p.status != http.StatusOK {
		return nil, refusal(p.body)
	}
	m.cursor = p.Cursor
	return m, nil
}

func mustJoin(t *testing.T, w *world, join joinAs, token string, rooms ...string) member {
	t.Helper()
	m, err := join(w, token, rooms...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// heard returns what happens next, without the presence of others, of which
// event streams and polls are not told.
func heard(m member) happening {
	for {
		if got := m.next(); got.kind != "presence" {
			return got
		}
	}
}

// expect checks what happens next.
func expect(t *testing.T, m member, want ...happening) {
	t.Helper()
	for _, h := range want {
		got := heard(m)
		if got.kind != h.kind || got.text != h.text || h.detail != "" && got.detail != h.detail {
			t.Fatalf("%+v, want %+v", got, h)
		}
	}
}

// expectEnd checks that a connection is told that it ends, and why.
func expectEnd(t *testing.T, m member, code holdfast.Code) {
	t.Helper()
	expect(t, m, happening{kind: "closing", text: string(code)})
	if got := m.next(); got.kind != "end" || got.text != "" && got.text != string(code) {
		t.Errorf("%+v, want the end", got)
	}
}

func TestTransportsExpiry(t *testing.T) {
	overAll(t, func(t *testing.T, name string, join joinAs) {
		w := newWorld(t, server.Config{})
		start := time.Now()
		m := mustJoin(t, w, join, token(t, "alice", 100*time.Second), "r")
		go func() { time.Sleep(50 * time.Second); w.publish("r", "e", 7) }()
		expect(t, m, happening{"event", "e", "7"})
		if name != "poll" { // who asks anew each time needs no warning
			expect(t, m, happening{"expiring", "expiry", "20"})
			if at := time.Since(start); at != 80*time.Second {
				t.Errorf("warned after %v", at)
			}
		}
		expectEnd(t, m, holdfast.TokenExpired)
		if at := time.Since(start); at != 105*time.Second {
			t.Errorf("ended after %v", at)
		}
	})
}

func TestTransportsRevocation(t *testing.T) {
	for _, tc := range []struct {
		revocation auth.Revocation
		refuses    bool
	}{
		{auth.Revocation{User: "alice"}, true},
		{auth.Revocation{Session: "s1"}, true},
		{auth.Revocation{TokenID: "t1"}, true},
		{auth.Revocation{User: "alice", Code: holdfast.Forbidden}, true},
		{auth.Revocation{User: "alice", Code: holdfast.GoingAway}, false},
	} {
		overAll(t, func(t *testing.T, _ string, join joinAs) {
			w := newWorld(t, server.Config{})
			code := tc.revocation.Code
			if code == "" {
				code = holdfast.SessionRevoked
			}
			old := mint(t, auth.Claims{User: "alice", Session: "s1", TokenID: "t1", Expires: time.Now().Add(time.Hour)})
			m, other := mustJoin(t, w, join, old, "r"), mustJoin(t, w, join, token(t, "bob", time.Hour), "r")
			go func() {
				time.Sleep(10 * time.Second)
				if err := w.srv.Revoke(context.Background(), tc.revocation); err != nil {
					t.Error(err)
				}
			}()
			start := time.Now()
			expectEnd(t, m, code)
			if at := time.Since(start); at != 10*time.Second {
				t.Errorf("ended after %v", at)
			}
			w.publish("r", "e", nil)
			expect(t, other, happening{kind: "event", text: "e"})
			again, err := join(w, old, "r")
			if (err != nil) != tc.refuses || err != nil && err.Error() != string(code) {
				t.Errorf("the old token again: %v", err)
			}
			if again != nil {
				again.close()
			}
			time.Sleep(time.Second)
			mustJoin(t, w, join, mint(t, auth.Claims{User: "alice", Session: "s2", TokenID: "t2", Expires: time.Now().Add(time.Hour)}), "r")
		})
	}
}

// After a bump a connection has 30 s for a refresh or, where it can't, to come
// again with a new token; nothing it had a right to is lost thereby.
func TestTransportsBump(t *testing.T) {
	overAll(t, func(t *testing.T, name string, join joinAs) {
		w := newWorld(t, server.Config{})
		old := token(t, "alice", time.Hour)
		m := mustJoin(t, w, join, old, "r", "lost")
		bumped := make(chan time.Time, 1)
		go func() {
			time.Sleep(10 * time.Second)
			if _, err := w.srv.BumpPermissions(context.Background(), "alice"); err != nil {
				t.Error(err)
			}
			bumped <- time.Now()
		}()
		if name == "poll" {
			expectEnd(t, m, holdfast.PermissionVersionStale)
			if at := time.Since(<-bumped); at != 0 {
				t.Errorf("ended after %v", at)
			}
		} else {
			expect(t, m, happening{"expiring", "permissions", "30"})
			expectEnd(t, m, holdfast.PermissionVersionStale)
			if at := time.Since(<-bumped); at != 30*time.Second {
				t.Errorf("ended after %v", at)
			}
		}
		if _, err := join(w, old, "r"); err == nil || err.Error() != string(holdfast.PermissionVersionStale) {
			t.Errorf("the old token again: %v", err)
		}
		time.Sleep(time.Second)
		fresh := token(t, "alice", time.Hour, `{"permissions":{"rooms":["r"]}}`)
		if _, err := join(w, fresh, "lost"); err == nil || err.Error() != string(holdfast.Forbidden) {
			t.Errorf("the lost room: %v", err)
		}
		again := mustJoin(t, w, join, fresh, "r")
		w.publish("r", "e", nil)
		expect(t, again, happening{kind: "event", text: "e"})
	})
}

// Rights that are known to be lost end a membership at once, and no other.
func TestTransportsLostRights(t *testing.T) {
	overAll(t, func(t *testing.T, name string, join joinAs) {
		verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
		if err != nil {
			t.Fatal(err)
		}
		now := holdfast.MustRoomList("kept")
		w := newWorld(t, server.Config{Authenticator: reloading{verifier, &now}})
		m := mustJoin(t, w, join, token(t, "alice", time.Hour), "kept", "lost")
		time.Sleep(2 * time.Second)
		go func() {
			time.Sleep(time.Second)
			if _, err := w.srv.BumpPermissions(context.Background(), "alice"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			w.publish("lost", "secret", nil)
			w.publish("kept", "e", nil)
		}()
		if name == "poll" {
			expectEnd(t, m, holdfast.PermissionVersionStale)
			time.Sleep(2 * time.Second) // until the publisher is done
			return
		}
		got := []happening{m.next(), m.next(), m.next()}
		slices.SortFunc(got[:2], func(a, b happening) int { return strings.Compare(b.kind, a.kind) })
		if got[0] != (happening{"left", "lost", "FORBIDDEN"}) || got[1].kind != "expiring" || got[2].text != "e" {
			t.Errorf("%+v", got)
		}
	})
}

func TestTransportsShutdown(t *testing.T) {
	overAll(t, func(t *testing.T, _ string, join joinAs) {
		w := newWorld(t, server.Config{})
		m := mustJoin(t, w, join, token(t, "alice", time.Hour), "r")
		done := make(chan error)
		go func() { time.Sleep(time.Second); done <- w.srv.Shutdown(context.Background()) }()
		expectEnd(t, m, holdfast.GoingAway)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := w.srv.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// A member who goes leaves nothing behind.
func TestTransportsGone(t *testing.T) {
	overAll(t, func(t *testing.T, name string, join joinAs) {
		w := newWorld(t, server.Config{ConnectionsPerUser: 1})
		for range 3 {
			m := mustJoin(t, w, join, token(t, "alice", time.Hour), "r")
			w.publish("r", "e", nil)
			expect(t, m, happening{kind: "event", text: "e"})
			m.close()
			synctest.Wait()
		}
		if n := w.srv.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// Who can't be refreshed in place comes again, with a new token and the last
// cursor: ahead of the end, so that nothing is missed.
func TestRefreshByReconnect(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		fetch := func() string { return "Bearer " + token(t, "alice", 100*time.Second) }
		go func() {
			for i := range 1000 {
				time.Sleep(time.Second)
				w.publish("r", "e", i)
			}
		}()
		s, err := w.tryListen(w.client(), "?room=r", "Authorization", fetch())
		if err != nil {
			t.Fatal(err)
		}
		bearer, cursor := fetch(), w.poll("alice", "?room=r").Cursor
		polls, streams := 0, 0
		for polls < 1000 {
			p := w.pollBy(strings.TrimPrefix(bearer, "Bearer "), "?room=r&since="+cursor)
			if p.status == 401 {
				bearer = fetch()
				continue
			}
			for _, raw := range p.Events {
				expectNumber(t, "poll", &polls, string(raw))
			}
			cursor = p.Cursor
			for streams < polls {
				ev, err := s.in.Next()
				if err != nil {
					t.Fatal(err)
				}
				switch h := told(typeIn(ev.Data), ev.Data); {
				case h.kind == "expiring":
					next, err := w.tryListen(w.client(), "?room=r", "Authorization", fetch(), "Last-Event-ID", s.in.LastID())
					if err != nil {
						t.Fatal(err)
					}
					s.close()
					s = next
				case ev.Name == "e":
					expectNumber(t, "stream", &streams, ev.Data)
				case ev.Name != "connected":
					t.Fatalf("%+v", ev)
				}
			}
		}
	})
}

// expectNumber checks that an event is the next of those that are counted.
func expectNumber(t *testing.T, who string, n *int, text string) {
	t.Helper()
	if got := told("event", text).detail; got != fmt.Sprint(*n) {
		t.Fatalf("%s: %s, want %d", who, got, *n)
	}
	*n++
}
