package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// expire warns the client and answers its refreshes with answers, one each.
func expire(asked *list[string], answers ...string) func(p *peer) {
	return func(p *peer) {
		p.admitAs("ann")
		asked.add(p.auth)
		p.send(`42["auth:expiring",{"expiresAt":946684860000,"expiresIn":10,"reason":"expiry"}]`)
		p.send(`42["auth:expiring",{"expiresAt":946684860000,"expiresIn":9,"reason":"expiry"}]`) // once is enough
		for _, a := range answers {
			id, name, arg := p.event()
			asked.add(fmt.Sprintf("%s %s", name, arg))
			p.send("43%s[%s]", id, a)
		}
		p.idle()
	}
}

const refreshed = `{"ok":true,"data":{"expiresAt":946684920000,"expiresIn":120}}`

// L40
func TestL40RefreshInBand(t *testing.T) {
	var asked list[string]
	bubble(t, expire(&asked, refreshed), func(t *testing.T, f *fake) {
		src := &source{}
		s := f.client(Config{Source: src}).Socket()
		var got list[string]
		On(s, EventSession, func(_ context.Context, v Session) {
			got.add(fmt.Sprint(v.User.ID, " ", v.Connection, " ", v.Has("refresh"), v.Has("x")))
		})
		On(s, EventExpiring, func(_ context.Context, v Expiring) { got.add(fmt.Sprint(v)) })
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if want := `[{"token":"t0"} auth:refresh {"token":"t1"}]`; asked.String() != want {
			t.Errorf("server saw %v, want %v", &asked, want)
		}
		if want := "[ann c1 true false {946684860000 10 expiry} {946684860000 9 expiry}]"; got.String() != want {
			t.Errorf("handlers saw %v", &got)
		}
		if !slices.Equal(src.refusals(), []holdfast.Code{holdfast.TokenExpired}) || f.connections() != 1 {
			t.Error(src.refusals(), f.connections())
		}
		session, ok := s.Session()
		if !ok || session.ExpiresIn != 120 || !session.ExpiryTime().Equal(time.UnixMilli(946684920000)) || s.current().token().Access != "t1" {
			t.Errorf("%+v", session)
		}
		s.Close()
		if _, ok := s.Session(); ok {
			t.Error("a session after Close")
		}
		if !(Session{}).ExpiryTime().IsZero() {
			t.Error("zero is never")
		}
	})
}

// L40: a warning that comes after the answer to a refresh, and is about the
// token before it, asks for nothing any more. One without a time does.
func TestL40OutdatedWarning(t *testing.T) {
	var asked list[string]
	src := &source{}
	bubble(t, func(p *peer) {
		p.admitAs("ann") // until …860000
		answer := func() {
			id, name, arg := p.event()
			asked.add(fmt.Sprintf("%s %s", name, arg))
			p.send("43%s[%s]", id, refreshed) // until …920000
		}
		p.send(`42["auth:expiring",{"expiresAt":946684860000,"expiresIn":10,"reason":"expiry"}]`)
		answer()
		p.sleep(time.Second) // the client has taken the answer
		p.send(`42["auth:expiring",{"expiresAt":946684860000,"expiresIn":9,"reason":"expiry"}]`)
		p.sleep(time.Second)
		asked.add(fmt.Sprint("renewals: ", len(src.refusals())))
		p.send(`42["auth:expiring",{"expiresAt":946684920000,"expiresIn":9,"reason":"expiry"}]`)
		answer()
		p.sleep(time.Second)
		p.send(`42["auth:expiring",{"expiresAt":946684830000,"expiresIn":30,"reason":"permissions"}]`)
		answer()
		p.sleep(time.Second)
		p.send(`42["auth:expiring",{"reason":"expiry"}]`)
		answer()
		p.idle()
	}, func(t *testing.T, f *fake) {
		f.connect(Config{Source: src})
		time.Sleep(10 * time.Second)
		want := `[auth:refresh {"token":"t1"} renewals: 1 auth:refresh {"token":"t2"} auth:refresh {"token":"t3"} auth:refresh {"token":"t4"}]`
		if asked.String() != want {
			t.Errorf("server saw %v, want %v", &asked, want)
		}
	})
}

// A refresh that fails in passing is tried again on the same connection; one
// that the server refuses leaves the connection as it was.
func TestRefreshInBandFails(t *testing.T) {
	var asked list[string]
	bubble(t, expire(&asked, `{"ok":false,"error":{"message":"Later.","code":"INTERNAL"}}`, refreshed), func(t *testing.T, f *fake) {
		src := &source{fail: []error{io.ErrUnexpectedEOF}}
		s := f.connect(Config{Source: src})
		time.Sleep(time.Minute)
		if want := `[{"token":"t0"} auth:refresh {"token":"t1"} auth:refresh {"token":"t1"}]`; asked.String() != want || f.connections() != 1 || s.State() != Connected {
			t.Errorf("server saw %v, want %v", &asked, want)
		}
	})
	for name, fail := range map[string]error{"for good": holdfast.RefreshReused.New(), "signed out": tokens.ErrNone} {
		t.Run(name, func(t *testing.T) {
			var asked list[string]
			bubble(t, expire(&asked), func(t *testing.T, f *fake) {
				s := f.connect(Config{Source: &source{fail: []error{fail}}})
				time.Sleep(time.Minute)
				if asked.String() != `[{"token":"t0"}]` || s.State() != Connected {
					t.Errorf("server saw %v", &asked)
				}
			})
		})
	}
	for name, cfg := range map[string]Config{"no source": {}, "fixed": {Source: tokens.Static("x")}} {
		t.Run(name, func(t *testing.T) {
			var asked list[string]
			bubble(t, expire(&asked), func(t *testing.T, f *fake) {
				s := f.connect(cfg)
				time.Sleep(time.Minute)
				if len(asked.all()) != 1 || s.State() != Connected {
					t.Errorf("server saw %v", &asked)
				}
			})
		})
	}
}

// A Source that fails in passing, again and again, is asked a few times; then the
// connection is left to the server.
func TestRefreshInBandGivesUp(t *testing.T) {
	var asked list[string]
	bubble(t, expire(&asked), func(t *testing.T, f *fake) {
		src := &source{fail: slices.Repeat([]error{io.ErrUnexpectedEOF}, 100)}
		s := f.connect(Config{Source: src})
		time.Sleep(time.Hour)
		if n := len(src.refusals()); n != maxRenewals+1 || s.State() != Connected || f.connections() != 1 {
			t.Errorf("asked %d times, %v, %d connections", n, s.State(), f.connections())
		}
	})
}

// A token that is replaced while it is being presented is followed by the new
// one.
func TestRefreshOvertaken(t *testing.T) {
	var asked list[string]
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		defer p.pings()()
		for {
			id, name, arg := p.event()
			if name == "" {
				return
			}
			asked.add(fmt.Sprint(name, " ", string(arg)))
			time.AfterFunc(5*time.Second, func() { p.ok(id, `{"expiresAt":1,"expiresIn":1}`) })
		}
	}, func(t *testing.T, f *fake) {
		m := manager(t, "ann", nil)
		defer m.Close()
		s := f.client(Config{Source: m}).Socket()
		defer s.Close()
		mustConnect(t, s)
		for n := 2; n < 5; n++ {
			time.Sleep(time.Second)
			signIn(t, m, "ann", n)
		}
		time.Sleep(time.Minute)
		if want := `[auth:refresh {"token":"ann-2"} auth:refresh {"token":"ann-4"}]`; asked.String() != want || f.connections() != 1 {
			t.Errorf("server saw %v", &asked)
		}
	})
}

// L20: rights that change while a token is being presented may not be in it: it is renewed
// once more, and not at the end of the server's patience.
func TestL20RightsChangeDuringRefresh(t *testing.T) {
	var asked list[string]
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		asked.add(p.auth)
		p.send(`42["auth:expiring",{"expiresAt":946684860000,"expiresIn":10,"reason":"expiry"}]`)
		id, name, arg := p.event()
		asked.add(fmt.Sprintf("%s %s", name, arg))
		for range 2 { // once is enough
			p.send(`42["auth:expiring",{"expiresAt":1,"expiresIn":30,"reason":"permissions"}]`)
		}
		p.send("43%s[%s]", id, refreshed)
		id, name, arg = p.event()
		asked.add(fmt.Sprintf("%s %s", name, arg))
		p.send("43%s[%s]", id, refreshed)
		p.idle()
	}, func(t *testing.T, f *fake) {
		src := &source{}
		f.connect(Config{Source: src})
		time.Sleep(5 * time.Second)
		if want := `[{"token":"t0"} auth:refresh {"token":"t1"} auth:refresh {"token":"t2"}]`; asked.String() != want || f.connections() != 1 {
			t.Errorf("server saw %v, want %v", &asked, want)
		}
		if got := src.refusals(); !slices.Equal(got, []holdfast.Code{holdfast.TokenExpired, holdfast.PermissionVersionStale}) {
			t.Error(got)
		}
	})
}

// changing is a Source whose token is changed from outside.
type changing struct {
	mu    sync.Mutex
	token string
	err   error
}

func (c *changing) Token(context.Context) (tokens.Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tokens.Token{Access: c.token}, c.err
}

func (c *changing) set(token string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.err = token, err
}

func TestRefresh(t *testing.T) {
	var asked list[string]
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		id, name, arg := p.event()
		asked.add(fmt.Sprintf("%s %s", name, arg))
		p.send("43%s[%s]", id, refreshed)
		id, _, _ = p.event()
		p.no(id, "FORBIDDEN")
		p.idle()
	}, func(t *testing.T, f *fake) {
		src := &changing{token: "a"}
		s := f.client(Config{Source: src}).Socket()
		if err := s.Refresh(t.Context()); err != nil { // nothing to do
			t.Error(err)
		}
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		src.set("b", nil)
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		src.set("c", nil)
		if err := s.Refresh(t.Context()); !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		src.set("", io.EOF)
		if err := s.Refresh(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if asked.String() != `[auth:refresh {"token":"b"}]` || s.State() != Connected || f.connections() != 1 {
			t.Error(&asked)
		}
	})
}

// L41: a plain Socket.IO server gets the new token by a new connection.
func TestL41RefreshPlain(t *testing.T) {
	var asked list[string]
	bubble(t, func(p *peer) {
		p.admit()
		asked.add(p.auth)
		if p.n == 1 {
			p.want(`42["last"]`)
			p.want("") // a close frame
			return
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		src := &changing{token: "a"}
		s := f.connect(Config{Source: src})
		src.set("b", nil)
		if err := s.Emit(t.Context(), "last"); err != nil {
			t.Error(err)
		}
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if asked.String() != `[{"token":"a"} {"token":"b"}]` || s.State() != Connected {
			t.Error(&asked, s.State())
		}
	})
}

// A refused rejoin whose code asks for a newer token gets one.
func TestRejoinRefresh(t *testing.T) {
	var asked list[string]
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		defer p.pings()()
		token := p.auth
		for {
			id, name, arg := p.event()
			switch {
			case name == "":
				return
			case name == "auth:refresh":
				token = string(arg)
				p.send("43%s[%s]", id, refreshed)
			case p.n == 2 && token == `{"token":"t0"}`:
				p.no(id, "PERMISSION_VERSION_STALE")
			default:
				p.ok(id, `{"room":"a","epoch":"e","offset":1}`)
			}
			asked.add(strings.TrimPrefix(name, "room:"))
		}
	}, func(t *testing.T, f *fake) {
		src := &source{}
		s := f.connect(Config{Source: src})
		mustJoin(t, s, "a", JoinOptions{OnLeft: func(context.Context, error) { t.Error("left") }})
		f.restart()
		time.Sleep(time.Minute)
		if asked.String() != "[join join auth:refresh join]" || !slices.Equal(src.refusals(), []holdfast.Code{holdfast.PermissionVersionStale}) {
			t.Error(&asked, src.refusals())
		}
	})
}
