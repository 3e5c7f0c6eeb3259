package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// expiry tells when a credential ends, in epoch milliseconds and in whole
// seconds from now; both are absent where it does not.
type expiry struct {
	ExpiresAt int64 `json:"expiresAt,omitempty"`
	ExpiresIn int64 `json:"expiresIn,omitempty"`
}

func expiryOf(id *holdfast.Identity) expiry {
	if id.Expires.IsZero() {
		return expiry{}
	}
	return expiryAt(id.Expires)
}

func expiryAt(t time.Time) expiry {
	return expiry{ExpiresAt: t.UnixMilli(), ExpiresIn: max(0, int64(time.Until(t)/time.Second))}
}

// credential is what the client offers, with the request that opened the
// connection. auth.Credential settles which part of it decides.
func (l *link) credential(payload json.RawMessage) auth.Credential {
	r := l.eio.Request()
	if len(payload) == 0 {
		payload = nil
	}
	c := auth.Credential{Payload: payload, Header: l.srv.credentialHeader(r.Header), RemoteAddr: r.RemoteAddr, TLS: r.TLS}
	if l.srv.cfg.AllowQueryToken && !l.srv.hasSession(c.Header) { // the cookie comes first
		c = c.WithQueryToken(r.URL.Query().Get("token"))
	}
	return c
}

// credentialHeader is the header without cookies where pages of any origin
// may connect: any of them could act for whoever looks at it.
func (s *Server) credentialHeader(h http.Header) http.Header {
	if !s.origins.CookiesOff() || h.Get("Cookie") == "" {
		return h
	}
	h = h.Clone()
	h.Del("Cookie")
	return h
}

// SessionFinder is an Authenticator that knows sessions by cookies of other
// names than Holdfast's own, such as auth.BearerOrCookie with Better Auth's. A
// plain WebSocket that comes with one is admitted by it at once, instead of
// waiting for its first message, and a token in the query does not count.
type SessionFinder interface {
	// HasSession reports whether there is such a cookie, good or bad. It asks
	// nobody.
	HasSession(h http.Header) bool
}

// hasSession reports whether there is a cookie that names a session, good or
// bad.
func (s *Server) hasSession(h http.Header) bool {
	if hasSessionCookie(h) {
		return true
	}
	f, ok := s.cfg.Authenticator.(SessionFinder)
	return ok && f.HasSession(h)
}

// hasSessionCookie reports whether there is one of the cookies that name a
// session, good or bad.
func hasSessionCookie(h http.Header) bool {
	for _, c := range (&http.Request{Header: h}).Cookies() {
		if c.Name == "session" || c.Name == "__Host-session" {
			return true
		}
	}
	return false
}

// authenticate verifies the credential of a client that wants in; admit is to
// follow where that is good.
func (l *link) authenticate(credential auth.Credential) (*holdfast.Identity, error) {
	ctx, tie := l.tieFor(l.srv.cfg.AuthTimeout)
	defer l.untie(tie)
	ctx, op := l.srv.begin(ctx, spanAdmit, l.eio)
	l.entering = op
	var identity *holdfast.Identity
	refusal := error(holdfast.Internal.New()) // where the Authenticator panics
	defer func() {
		if refusal != nil {
			l.entered(refusal)
		}
	}()
	identity, refusal = l.verify(ctx, credential)
	return identity, refusal
}

// entered ends an admission: with nil, or why it came to nothing.
func (l *link) entered(err error) {
	op := l.entering
	l.entering = operation{}
	l.srv.metrics.admitted(op.end(err), err)
	if err == nil && l.srv.log.Enabled(context.Background(), slog.LevelDebug) {
		l.srv.log.Debug("connection admitted", "connection", l.id)
	}
}

// verify makes a credential an identity that is good now. ctx ends after
// Config.AuthTimeout.
func (l *link) verify(ctx context.Context, credential auth.Credential) (*holdfast.Identity, error) {
	identity, err := l.srv.cfg.Authenticator.Authenticate(ctx, credential)
	if err != nil {
		if e := holdfast.AsError(err); e.Code == holdfast.Internal {
			l.srv.log.Error("authentication failed", "connection", l.id, "err", e.Err)
		}
		return nil, err
	}
	if identity, err = l.srv.valid(identity); err != nil {
		return nil, err
	}
	if l.srv.expired(identity) {
		return nil, holdfast.TokenExpired.New()
	}
	return identity, nil
}

// admit makes the namespace's Conn and lets the application look at it.
// welcome makes what the client gets first.
func (l *link) admit(ns *Namespace, payload json.RawMessage, identity *holdfast.Identity, welcome func(*Conn) []*hub.Frame) (err error) {
	var ended error // why it came to nothing where that is not for the client
	var hooked *Conn
	in := false
	defer func() {
		if hooked != nil { // a hook has ended the goroutine
			hooked.leave(holdfast.Internal.New())
			ended = holdfast.Internal.New()
		}
		if !in {
			l.entered(errors.Join(err, ended))
		}
	}()
	l.mu.Lock()
	other := l.identity != nil && l.identity.User != identity.User
	l.mu.Unlock()
	if other {
		return holdfast.Errorf(holdfast.Forbidden, "This connection belongs to another user")
	}
	c := &Conn{link: l, ns: ns, payload: payload, sid: l.id}
	c.ctx, c.tie = l.tie()
	if ns.name != "/" {
		c.sid = rand.Text()
	}
	c.setIdentity(identity)
	session, err := l.srv.hub.Open(hub.SessionConfig{
		ID: c.sid, Connection: l.id, Identity: identity,
		Sink: c, Encoder: l.proto.encoder(ns.name), Left: c.left, Ended: c.ended,
	})
	if err != nil {
		l.untie(c.tie)
		return err
	}
	c.session = session
	c.line.held = true
	l.srv.lines.add()
	hooked = c
	for _, hook := range ns.connectHooks() {
		if err := l.srv.runHook(c, hook); err != nil {
			hooked = nil
			c.leave(err)
			return err
		}
	}
	hooked = nil
	c.pass()
	if !l.add(c) {
		c.leave(l.cause())
		ended = holdfast.GoingAway.New()
		return nil // it ended meanwhile
	}
	l.adopt(identity)
	// Revoke looks at the connections after the ledger was written; this one
	// may have been added after that.
	if err := l.srv.ledger.check(identity); err != nil {
		l.end(err)
		ended = err
		return nil
	}
	in = true
	l.entered(nil) // before the client can know, who may look for it
	c.release(welcome(c)...)
	return nil
}

// add makes c one of the link's namespaces; false if the link has ended.
func (l *link) add(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.conns = append(l.conns, c)
	l.settle()
	l.refused = false
	return true
}

// delayRefusal slows down an address whose credentials are refused again and
// again; false if the connection has gone meanwhile. A credential that was good
// once is no guess: the clients of a whole office come with one when they wake.
func (l *link) delayRefusal(code holdfast.Code) bool {
	switch code.Info().Action {
	case holdfast.ActionRefresh, holdfast.ActionWait, holdfast.ActionReconnect:
		return true
	}
	wait := l.srv.refusals.Fail(l.addr)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.eio.Context().Done():
		return false
	}
}

// wasRefused leaves a client that is in no namespace what is left of its time
// for another CONNECT.
func (l *link) wasRefused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
	l.life.resume(l)
}

// disconnect takes the connection out of a namespace at the client's wish.
func (l *link) disconnect(namespace string) {
	l.mu.Lock()
	var gone *Conn
	for i, c := range l.conns {
		if c.ns.name == namespace {
			gone = c
			l.conns = append(l.conns[:i:i], l.conns[i+1:]...)
			break
		}
	}
	full := false
	if gone != nil && len(l.conns) == 0 && !l.ended {
		// It counts as it did before it was admitted.
		l.pending = l.srv.unauthenticated.acquire(l.addr)
		full = !l.pending
		l.life.awaitConnect(l)
	}
	l.mu.Unlock()
	if gone != nil {
		gone.leave(nil)
	}
	if full {
		l.end(holdfast.ConnectionLimit.New())
	}
}

// runHook keeps a panicking OnConnect from taking the process down.
func (s *Server) runHook(c *Conn, hook func(context.Context, *Conn) error) error {
	_, err := s.serve(c.Context(), c, "connect", handler{call: func(ctx context.Context, c *Conn, _ socketio.Args) (socketio.Args, error) {
		return socketio.Args{}, hook(ctx, c)
	}}, socketio.Args{})
	return err
}
