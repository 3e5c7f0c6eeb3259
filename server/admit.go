package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// features are what a client may count on after auth:session: in-place
// refresh, and positions on room:join. "id" will join them with idempotent
// application events.
var features = [...]string{"refresh", "since"}

// sessionInfo is the payload of auth:session.
type sessionInfo struct {
	User       holdfast.User `json:"user"`
	Connection string        `json:"connection"`
	expiry
	Features []string `json:"features"`
}

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

// connect admits the connection to a namespace, or refuses it.
func (l *link) connect(p socketio.Packet) {
	l.mu.Lock()
	l.life.pause()
	l.mu.Unlock()
	ns, ok := l.srv.lookup(p.Namespace)
	if !ok {
		l.wasRefused()
		l.eio.Send(packetFrame(socketio.Packet{Type: socketio.ConnectError, Namespace: p.Namespace, Data: json.RawMessage(`{"message":"Invalid namespace"}`)}))
		return
	}
	if l.conn(ns.name) != nil {
		return // the official client repeats its CONNECT when connect() is called twice
	}
	identity, err := l.authenticate(l.credential(p.Data))
	if err == nil {
		err = l.admit(ns, p.Data, identity)
	}
	if err != nil {
		l.refuse(ns.name, holdfast.AsError(err))
	}
}

// credential is what the client offers, with the request that opened the
// connection. auth.Credential settles which part of it decides.
func (l *link) credential(payload json.RawMessage) auth.Credential {
	r := l.eio.Request()
	if len(payload) == 0 {
		payload = nil
	}
	c := auth.Credential{Payload: payload, Header: r.Header, RemoteAddr: l.eio.Request().RemoteAddr}
	if l.srv.cfg.AllowQueryToken {
		c = c.WithQueryToken(r.URL.Query().Get("token"))
	}
	return c
}

func (l *link) authenticate(credential auth.Credential) (*holdfast.Identity, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.srv.cfg.AuthTimeout)
	defer cancel()
	identity, err := l.srv.cfg.Authenticator.Authenticate(ctx, credential)
	if err != nil {
		return nil, err
	}
	if identity, err = l.srv.valid(identity); err != nil {
		return nil, err
	}
	if !identity.Expires.IsZero() && !time.Now().Before(identity.Expires.Add(l.srv.cfg.Leeway)) {
		return nil, holdfast.TokenExpired.New()
	}
	return identity, nil
}

// admit makes the namespace's Conn and lets the application look at it.
func (l *link) admit(ns *Namespace, payload json.RawMessage, identity *holdfast.Identity) error {
	l.mu.Lock()
	other := l.identity != nil && l.identity.User != identity.User
	l.mu.Unlock()
	if other {
		return holdfast.Errorf(holdfast.Forbidden, "This connection belongs to another user")
	}
	c := &Conn{link: l, ns: ns, payload: payload, sid: l.id}
	if ns.name != "/" {
		c.sid = rand.Text()
	}
	c.setIdentity(identity)
	session, err := l.srv.hub.Open(hub.SessionConfig{
		ID: c.sid, Connection: l.id, Identity: identity,
		Sink: c, Encoder: roomEncoder{namespace: ns.name}, Left: c.left,
	})
	if err != nil {
		return err
	}
	c.session = session
	for _, hook := range ns.connectHooks() {
		if err := l.srv.runHook(c, hook); err != nil {
			c.leave()
			return err
		}
	}
	if !l.add(c, identity) {
		c.leave()
		return nil // it ended meanwhile
	}
	// Revoke looks at the connections after the ledger was written; this one
	// may have been added after that.
	if err := l.srv.ledger.check(identity); err != nil {
		l.end(err)
		return nil
	}
	sid, _ := json.Marshal(struct {
		SID string `json:"sid"`
	}{c.sid})
	connected := packetFrame(socketio.Packet{Type: socketio.Connect, Namespace: ns.name, Data: sid})
	if identity.User == "" {
		c.release(connected)
		return nil
	}
	hello, err := socketio.NewArgs(sessionInfo{User: identity.AsUser(), Connection: l.id, expiry: expiryOf(identity), Features: features[:]})
	if err != nil {
		return err
	}
	c.release(connected, packetFrame(socketio.Packet{Type: socketio.Event, Namespace: ns.name, Data: hello.AppendEvent(nil, "auth:session")}))
	return nil
}

// add makes c one of the link's namespaces; false if the link has ended.
func (l *link) add(c *Conn, identity *holdfast.Identity) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.conns = append(l.conns, c)
	l.settle()
	if l.identity == nil || identity.Expires.After(l.identity.Expires) || identity.Expires.IsZero() {
		l.identity = identity
		l.life.follow(l, identity)
	}
	l.refused = false
	return true
}

// refuse answers a CONNECT that can't be admitted. Official clients do not
// retry after a 44, so codes that mean "later" close the transport instead.
func (l *link) refuse(namespace string, err *holdfast.Error) {
	switch err.Code {
	case holdfast.RateLimited, holdfast.ConnectionLimit, holdfast.GoingAway, holdfast.Internal:
		if err.Code == holdfast.Internal {
			l.srv.log.Error("admission failed", "connection", l.id, "err", err.Err)
		}
		l.end(err)
		return
	}
	if wait := l.srv.refusals.Fail(l.addr); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.eio.Context().Done():
			return
		}
	}
	l.wasRefused()
	body := struct {
		Message string `json:"message"`
		Data    struct {
			Code       holdfast.Code   `json:"code"`
			RetryAfter int64           `json:"retryAfter,omitempty"`
			Details    json.RawMessage `json:"details,omitempty"`
		} `json:"data"`
	}{Message: refusalMessage(err)}
	body.Data.Code, body.Data.RetryAfter, body.Data.Details = err.Code, err.RetryAfterSeconds(), err.Details
	data, merr := json.Marshal(body)
	if merr != nil { // Details that are no JSON
		body.Data.Details = nil
		data, _ = json.Marshal(body)
	}
	l.eio.Send(packetFrame(socketio.Packet{Type: socketio.ConnectError, Namespace: namespace, Data: data}))
	l.srv.log.Debug("connection refused", "connection", l.id, "code", err.Code)
}

// wasRefused gives a client that is in no namespace time for another CONNECT.
func (l *link) wasRefused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
	if len(l.conns) == 0 {
		l.life.awaitConnect(l)
	}
}

// refusalMessage keeps to what clients read out of the text: one that speaks
// of a credential contains "Unauthorized", which makes them refresh, and no
// other contains a word that would.
func refusalMessage(err *holdfast.Error) string {
	message := err.PublicMessage()
	if err.Code.Info().HTTP == http.StatusUnauthorized {
		if !strings.Contains(message, "Unauthorized") {
			message = "Unauthorized: " + message
		}
		return message
	}
	lower := strings.ToLower(message)
	for _, word := range [...]string{"unauthorized", "jwt", "token"} {
		if strings.Contains(lower, word) {
			return err.Code.New().Message
		}
	}
	return message
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
	if len(l.conns) == 0 && !l.ended {
		l.life.awaitConnect(l)
	}
	l.mu.Unlock()
	if gone != nil {
		gone.leave()
	}
}

// runHook keeps a panicking OnConnect from taking the process down.
func (s *Server) runHook(c *Conn, hook func(context.Context, *Conn) error) error {
	_, err := s.serve(c.Context(), c, "connect", handler{call: func(ctx context.Context, c *Conn, _ socketio.Args) (socketio.Args, error) {
		return socketio.Args{}, hook(ctx, c)
	}}, socketio.Args{})
	return err
}
