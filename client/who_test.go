package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestSubject(t *testing.T) {
	ann := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"ann"}`))
	long := "." + ann + "." // and a signature that is too long
	for name, test := range map[string]struct{ access, want string }{
		"a JWT":          {jwtOfAnn, "ann"},
		"padded":         {"e30." + base64.URLEncoding.EncodeToString([]byte(`{"sub":"bobby"}`)) + ".x", "bobby"},
		"two parts":      {"e30." + ann, ""},
		"opaque":         {"opaque", ""},
		"no base64":      {"e30.!.x", ""},
		"no JSON":        {"e30." + base64.RawURLEncoding.EncodeToString([]byte("ann")) + ".x", ""},
		"as long as can": {long + strings.Repeat("x", 16<<10-len(long)), "ann"},
		"too long":       {long + strings.Repeat("x", 16<<10-len(long)+1), ""},
	} {
		if got := subject(test.access); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// told is a Source that says what its test wants, and tells events.
type told struct {
	mu       sync.Mutex
	tokens   []string         // what Token returns, one after another; the last one stays
	sessions []tokens.Session // the same for Session; without an access token nobody is signed in
	reads    int
	events   chan tokens.Event
}

func first[T any](list *[]T) T {
	v := (*list)[0]
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return v
}

func (s *told) Token(context.Context) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return tokens.New(first(&s.tokens)), nil
}

func (s *told) Session() (tokens.Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := first(&s.sessions)
	return session, session.Access != ""
}

// become changes what Session returns.
func (s *told) become(sessions ...tokens.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = sessions
}

func (s *told) Events(int) (<-chan tokens.Event, func()) { return s.events, func() { close(s.events) } }

// A token and whose it is belong together, even if somebody else signs in
// between the two readings.
func TestCredential(t *testing.T) {
	ann, ann2, bob, nobody := sessionOf("ann", 1), sessionOf("ann", 2), sessionOf("bob", 1), tokens.Session{}
	for name, test := range map[string]struct {
		tokens   []string
		sessions []tokens.Session // before and after each reading
		want     string
		reads    int
	}{
		"nothing happens":     {[]string{"ann-1"}, []tokens.Session{ann}, "ann-1 ann <nil>", 1},
		"signed in meanwhile": {[]string{"bob-1"}, []tokens.Session{ann, bob}, "bob-1 bob <nil>", 1},
		"renewed after that":  {[]string{"ann-1"}, []tokens.Session{ann, ann2}, "ann-1 ann <nil>", 1},
		"too early":           {[]string{"ann-1", "bob-1"}, []tokens.Session{ann, bob, bob, bob}, "bob-1 bob <nil>", 2},
		"signed out":          {[]string{"ann-1"}, []tokens.Session{ann, nobody}, "ann-1  " + tokens.ErrNone.Error(), 1},
		"never the same":      {[]string{"x"}, []tokens.Session{ann, bob, ann, bob, ann, bob}, "x  client: the session changes faster than it can be read", 3},
	} {
		src := &told{tokens: test.tokens, sessions: test.sessions}
		c, err := New(Config{BaseURL: "http://a", Source: src})
		if err != nil {
			t.Fatal(err)
		}
		var pending *refused
		token, user, err := c.Socket().credential(t.Context(), &pending)
		if got := fmt.Sprint(token.Access, " ", user, " ", err); got != test.want || src.reads != test.reads {
			t.Errorf("%s: %s after %d reads", name, got, src.reads)
		}
	}
}

// A sign-out ends the socket for its reason: not before that is told, and also
// where it was among the events that were missed.
func TestSignedOutEvents(t *testing.T) {
	revoked := holdfast.SessionRevoked.New()
	for name, test := range map[string]struct {
		events []tokens.Event
		want   string // the error, "" for none
	}{
		"told":             {[]tokens.Event{{Kind: tokens.SignOut, Err: revoked}}, "client: signed out: " + revoked.Error()},
		"asked for":        {[]tokens.Event{{Kind: tokens.SignOut}}, "client: signed out"},
		"missed":           {[]tokens.Event{{Kind: tokens.Failed, Missed: 1, Err: io.EOF}}, "client: signed out: EOF"},
		"about to be told": {[]tokens.Event{{Kind: tokens.Refreshed}, {Kind: tokens.SignOut, Err: revoked}}, "client: signed out: " + revoked.Error()},
		"not yet told":     {[]tokens.Event{{Kind: tokens.Refreshed}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(p *peer) { p.admitAs("ann"); p.idle() }, func(t *testing.T, f *fake) {
				src := &told{tokens: []string{"ann-1"}, sessions: []tokens.Session{sessionOf("ann", 1)}, events: make(chan tokens.Event, 2)}
				s := f.client(Config{Source: src}).Socket()
				defer s.Close()
				mustConnect(t, s)
				f.sleep(time.Second)
				src.become(tokens.Session{})
				for _, e := range test.events {
					src.events <- e
				}
				f.sleep(time.Minute)
				last := lastChange(s)
				if last.Final != (test.want != "") || last.Final && last.Err.Error() != test.want || last.Final && !errors.Is(last.Err, ErrSignedOut) {
					t.Errorf("%+v", last)
				}
				if e := test.events[len(test.events)-1].Err; last.Final && e != nil && !errors.Is(last.Err, e) {
					t.Errorf("%v holds no %v", last.Err, e)
				}
			})
		})
	}
}
