package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/tokens"
)

// sessioned is a Source that knows who is signed in, as tokens.Manager does.
type sessioned interface {
	Session() (tokens.Session, bool)
}

// eventful is a Source that tells of sign-ins, sign-outs and new tokens.
type eventful interface {
	sessioned
	Events(buffer int) (events <-chan tokens.Event, stop func())
}

// followed is an eventful Source that calls, which costs a socket less than a
// channel and a goroutine that waits.
type followed interface {
	sessioned
	Follow(fn func(tokens.Event)) (stop func())
}

// errAnotherUser is why a connection ends, and rooms are lost, when somebody
// else signs in.
var errAnotherUser = fmt.Errorf("%w: another user has signed in", ErrSignedOut)

// signedOutError is an end because the Source was signed out.
type signedOutError struct{ err error }

func (e *signedOutError) Error() string {
	if e.err == nil {
		return ErrSignedOut.Error()
	}
	return fmt.Sprintf("%v: %v", ErrSignedOut, e.err)
}

// Unwrap returns ErrSignedOut, and why where nobody asked for it.
func (e *signedOutError) Unwrap() []error {
	if e.err == nil {
		return []error{ErrSignedOut}
	}
	return []error{ErrSignedOut, e.err}
}

// touch tells the Source that its user is active.
func (c *Client) touch() {
	if a, ok := c.cfg.Source.(tokens.Activity); ok {
		a.Touch()
	}
}

// present returns who is signed in by the Source; known is false where it
// doesn't say.
func (c *Client) present() (user string, known bool) {
	src, ok := c.cfg.Source.(sessioned)
	if !ok {
		return "", false
	}
	session, _ := src.Session()
	return session.User.ID, true
}

// credential reads a token and whose it is, so that the two belong together.
func (s *Socket) credential(ctx context.Context, pending **refused) (token tokens.Token, user string, err error) {
	src, ok := s.client.cfg.Source.(sessioned)
	if !ok {
		token, err = s.token(ctx, pending)
		return token, "", err
	}
	for range 3 {
		before, _ := src.Session()
		if token, err = s.token(ctx, pending); err != nil {
			return token, "", err
		}
		after, signedIn := src.Session()
		switch {
		case !signedIn:
			return token, "", tokens.ErrNone
		case after.Access == token.Access, after.User.ID == before.User.ID:
			return token, after.User.ID, nil
		}
	}
	return token, "", errors.New("client: the session changes faster than it can be read")
}

// ours reports whether a connection is of who is signed in now.
func (s *Socket) ours(c *conn) bool {
	user, known := s.client.present()
	return !known || user == c.user
}

// sender returns whose an event is that is emitted now.
func (s *Socket) sender(ctx context.Context) (string, error) {
	if src, ok := s.client.cfg.Source.(sessioned); ok {
		session, signedIn := src.Session()
		if !signedIn {
			return "", tokens.ErrNone
		}
		return session.User.ID, nil
	}
	s.mu.Lock()
	user, seen := s.user, s.seen
	s.mu.Unlock()
	if seen || s.client.cfg.Source == nil {
		return user, nil
	}
	token, err := s.client.cfg.Source.Token(ctx)
	if err != nil {
		return "", err
	}
	if user = subject(token.Access); user == "" {
		return "", ErrNoUser
	}
	return user, nil
}

// subject reads the sub claim of a JWT (RFC 7519 §4.1.2), unverified: it only
// keeps one user's events from another's. "" if there is none.
func subject(access string) string {
	_, rest, _ := strings.Cut(access, ".")
	body, _, ok := strings.Cut(rest, ".")
	if !ok || len(access) > 16<<10 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(body, "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	_ = json.Unmarshal(text, &claims)
	return claims.Subject
}

// follow lets the Source's events act on a run, until it is stopped.
func (s *Socket) follow(r *run) (stop func()) {
	if src, ok := s.client.cfg.Source.(followed); ok {
		return src.Follow(func(e tokens.Event) { s.told(r, src, e) })
	}
	src, ok := s.client.cfg.Source.(eventful)
	if !ok {
		return func() {}
	}
	events, unsubscribe := src.Events(16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events {
			s.told(r, src, e)
		}
	}()
	return func() { unsubscribe(); <-done }
}

// told takes note of an event of the Source.
func (s *Socket) told(r *run, src sessioned, e tokens.Event) {
	_, signedIn := src.Session()
	if e.Kind == tokens.SignOut || e.Missed > 0 && !signedIn {
		r.stop(&signedOutError{e.Err})
		return
	}
	s.look(r, src)
}

// look compares the socket with the present session: another user's rooms and
// connection are given up, and a newer token is brought to the server.
func (s *Socket) look(r *run, src sessioned) {
	session, ok := src.Session()
	if !ok {
		return // the event that says so follows
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r {
		return
	}
	changed := s.ownLocked(session.User.ID)
	c := s.conn
	switch {
	case c != nil && c.user != session.User.ID:
		c.hangUp(&localError{errAnotherUser}, 1000)
	case c != nil && c.token().Access != session.Access:
		c.tasks.Go(c.takeNew)
	}
	if changed {
		select {
		case r.hurry <- struct{}{}:
		default:
		}
	}
}

// ownLocked notes whose the rooms are, and drops those of somebody else. It
// reports whether there was somebody else.
func (s *Socket) ownLocked(user string) (changed bool) {
	if user == "" {
		return false // nobody, or nobody knows
	}
	changed = s.owned && s.owner != user
	if changed {
		for _, r := range s.rooms {
			if s.conn != nil {
				s.conn.forgetRetry(r)
			}
			s.expelLocked(r, errAnotherUser)
		}
	}
	s.owner, s.owned = user, true
	return changed
}

// greeting is how long after its CONNECT a Holdfast server may take to say
// auth:session, which it does at once.
const greeting = time.Second

// settled waits until it is known whether the server is Holdfast. It is false
// when the connection ends before.
func (c *conn) settled() bool {
	timer := time.NewTimer(greeting)
	defer timer.Stop()
	select {
	case <-c.greeted:
	case <-timer.C:
	case <-c.ctx.Done():
	}
	return c.ctx.Err() == nil
}

// takeNew brings the Source's newer token to the server: on this connection if
// it can take one, else on the next.
func (c *conn) takeNew() {
	if !c.settled() {
		return
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.conn != c {
		return
	}
	if c.session == nil || !c.session.Has("refresh") {
		c.hangUp(&localError{errNewToken}, 1000)
		return
	}
	c.refreshLocked(nil)
}
