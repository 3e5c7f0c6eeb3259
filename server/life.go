package server

import (
	"time"

	"github.com/holdfast-dev/holdfast"
)

// lifetime is the one timer of a link: the time to CONNECT, the warning ahead
// of expiry, and expiry. The link's mutex guards it.
type lifetime struct {
	timer *time.Timer
	stage stage
	at    time.Time // when the timer is due
	// deadline is when the link ends, and code why.
	deadline time.Time
	code     holdfast.Code
	// connectBy is when the time for a CONNECT ends, and pausedAt since when
	// it has stood still.
	connectBy time.Time
	pausedAt  time.Time
}

type stage uint8

const (
	stageConnect  stage = iota // no namespace is connected
	stagePaused                // none is, and a CONNECT is being looked at
	stageWarn                  // waits for the time of auth:expiring
	stageExpire                // waits for expiry and the grace
	stageForever               // nothing to wait for
	stageFinished              // the link has ended
)

// The warning comes when a fifth of the lifetime is left, within bounds.
const (
	minWarning = 2 * time.Second
	maxWarning = 30 * time.Second
)

// awaitConnect gives the client time for a CONNECT.
func (f *lifetime) awaitConnect(l *link) {
	if f.stage == stageFinished {
		return
	}
	f.stage = stageConnect
	f.connectBy = time.Now().Add(l.srv.cfg.ConnectTimeout)
	f.set(l, l.srv.cfg.ConnectTimeout)
}

// pause lets the time for a CONNECT stand still while one is being looked at,
// which takes as long as it takes.
func (f *lifetime) pause() {
	if f.stage == stageConnect {
		f.stage, f.pausedAt = stagePaused, time.Now()
		f.timer.Stop()
	}
}

// resume lets it go on: a CONNECT that was refused earns no new time.
func (f *lifetime) resume(l *link) {
	if f.stage == stagePaused {
		f.stage = stageConnect
		f.connectBy = f.connectBy.Add(time.Since(f.pausedAt))
		f.set(l, time.Until(f.connectBy))
	}
}

// follow makes the link live as long as identity does.
func (f *lifetime) follow(l *link, identity *holdfast.Identity) {
	if f.stage == stageFinished {
		return
	}
	f.deadline, f.code = identity.Expires.Add(l.srv.cfg.Leeway), holdfast.TokenExpired
	if identity.Expires.IsZero() {
		f.stage = stageForever
		if f.timer != nil {
			f.timer.Stop()
		}
		return
	}
	left := time.Until(identity.Expires)
	lifetime := left
	if !identity.IssuedAt.IsZero() {
		lifetime = identity.Expires.Sub(identity.IssuedAt)
	}
	f.stage = stageWarn
	f.set(l, left-min(max(lifetime/5, minWarning), maxWarning))
}

// shorten ends the link at deadline for code, unless it ends before that.
func (f *lifetime) shorten(l *link, deadline time.Time, code holdfast.Code) {
	switch {
	case f.stage == stageFinished, f.stage == stageConnect, f.stage == stagePaused:
		return
	case f.stage == stageForever, deadline.Before(f.deadline):
		f.stage, f.deadline, f.code = stageExpire, deadline, code
		f.set(l, time.Until(deadline))
	}
}

func (f *lifetime) set(l *link, wait time.Duration) {
	wait = max(wait, 0)
	f.at = time.Now().Add(wait)
	if f.timer == nil {
		f.timer = time.AfterFunc(wait, l.due)
		return
	}
	f.timer.Reset(wait)
}

func (f *lifetime) stop() {
	f.stage = stageFinished
	if f.timer != nil {
		f.timer.Stop()
	}
}

// due is what the timer calls. A timer that fired while it was being moved
// finds its time not come yet, and waits again.
func (l *link) due() {
	l.mu.Lock()
	f := &l.life
	if left := time.Until(f.at); left > 0 && f.stage != stageFinished {
		f.timer.Reset(left)
		l.mu.Unlock()
		return
	}
	switch f.stage {
	case stageConnect:
		l.tooLate()
	case stageWarn:
		l.mu.Unlock()
		l.warn()
	case stageExpire:
		err := f.code.New()
		conns, first := l.endLocked(err) // with the look, or a refresh could come between
		l.mu.Unlock()
		if first {
			l.close(conns, err)
		}
	default:
		l.mu.Unlock()
	}
}

// warn tells the client that its credential ends. It holds swap until that is
// sent: a refresh is either before it, and moved the timer, or after it, and
// so is its answer. A warning behind the answer would make the client refresh
// once more.
func (l *link) warn() {
	l.swap.Lock()
	defer l.swap.Unlock()
	l.mu.Lock()
	f := &l.life
	if f.stage != stageWarn || time.Until(f.at) > 0 {
		l.mu.Unlock()
		return
	}
	conns := append([]*Conn(nil), l.conns...)
	n := notice{name: "auth:expiring", expiry: expiryOf(l.identity), reason: "expiry"}
	f.stage = stageExpire
	f.set(l, time.Until(f.deadline))
	l.mu.Unlock()
	for _, c := range conns {
		c.notify(n)
	}
}

// refresh swaps the identity of the whole connection in place. A token that
// is no good leaves everything as it was.
func (l *link) refresh(token string) (expiry, error) {
	at, err := l.replace(token)
	l.srv.metrics.refreshed(err)
	return at, err
}

func (l *link) replace(token string) (expiry, error) {
	if token == "" {
		return expiry{}, holdfast.Errorf(holdfast.InvalidArgument, "auth:refresh needs a token")
	}
	credential := l.credential(nil)
	credential.Token = token // which decides, whatever the handshake carried
	ctx, tie := l.tieFor(l.srv.cfg.AuthTimeout)
	defer l.untie(tie)
	identity, err := l.verify(ctx, credential)
	if err != nil {
		return expiry{}, err
	}
	l.mu.Lock()
	if l.ended || l.identity == nil {
		l.mu.Unlock()
		return expiry{}, errGone()
	}
	if identity.User != l.identity.User {
		l.mu.Unlock()
		return expiry{}, holdfast.Errorf(holdfast.Forbidden, "The token belongs to another user")
	}
	l.mu.Unlock()
	if !l.adopt(identity) {
		return expiry{}, errGone()
	}
	// What was taken back while the token was verified did not see it here.
	if err := l.srv.ledger.check(identity); err != nil {
		if err.Code != holdfast.PermissionVersionStale {
			l.end(err)
			return expiry{}, err
		}
		ctx, tie := l.tie()
		defer l.untie(tie)
		l.stale(ctx, identity)
	}
	return expiryOf(identity), nil
}

// setIdentity makes identity the one that handlers see.
func (c *Conn) setIdentity(identity *holdfast.Identity) {
	c.state.Store(&identityState{identity: identity, ctx: holdfast.WithIdentity(c.ctx, identity)})
}

// left tells the client that it lost a room, unless its protocol gets it back.
func (c *Conn) left(room string, err *holdfast.Error) {
	if p, ok := c.link.proto.(rejoiner); ok && p.rejoin(room, err) {
		return
	}
	c.notify(notice{name: "room:left", room: room, err: err})
}

// tooLate ends a connection that did not ask to be admitted in time. Over
// Socket.IO nothing need be wrong with its client: on a machine that is busy,
// either's, a CONNECT may take that long, and who is told PROTOCOL_ERROR never
// comes back. It is called with mu held, and releases it.
func (l *link) tooLate() {
	p, plain := l.proto.(plainWS)
	err := holdfast.Errorf(holdfast.GoingAway, "no CONNECT within %v", l.srv.cfg.ConnectTimeout)
	if plain {
		err = holdfast.Unauthenticated.New()
	}
	first := false
	if len(l.conns) == 0 {
		_, first = l.endLocked(err)
	}
	l.mu.Unlock()
	if !first {
		return
	}
	if plain {
		p.fail(l, nil, err)
	}
	l.close(nil, err)
}
