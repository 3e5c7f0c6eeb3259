package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/wsclient"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
	"github.com/holdfast-dev/holdfast/tokens"
)

// Figures of the rules.
const (
	// stable is how long a connection must last for refused tokens before it
	// to be forgotten.
	stable = 5 * time.Second
	// maxRenewals is how many tokens in a row may be refused as expired or
	// stale, each right after it was renewed.
	maxRenewals = 3
)

// localError is a fault that this side found. It is never final: the code in
// it is not the server's word.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// sourceError is a failure to get a token or an auth payload.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// handshakeError is a refusal of the WebSocket handshake.
type handshakeError struct {
	status int
	// coded: the server gave a code of Holdfast's; else it follows from the
	// status, which may be a proxy's.
	coded bool
	err   *holdfast.Error
}

func (e *handshakeError) Error() string {
	return fmt.Sprintf("client: handshake refused with status %d: %v", e.status, e.err)
}
func (e *handshakeError) Unwrap() error { return e.err }

// ending is how an attempt or a connection ended.
type ending struct {
	err       error
	connected bool          // it was admitted
	lasted    time.Duration // from then
}

// decision is what follows.
type decision struct {
	stop  bool
	wait  time.Duration   // before the next attempt
	renew *holdfast.Error // renew the token for this reason first
	tell  *holdfast.Error // the session is over: tell the Source
}

// rules is the table of codes in action (docs/protocol.md §2).
type rules struct {
	cfg      SocketConfig
	random   func() float64 // in [0, 1)
	attempts int            // in a row without a connection that lasted
	renewals int            // in a row
	ever     bool           // was connected once
}

func newRules(cfg SocketConfig) *rules { return &rules{cfg: cfg, random: randomFraction} }

// after decides what follows an ending.
func (r *rules) after(e ending) decision {
	if e.connected {
		r.ever = true
		if e.lasted >= r.ceiling() {
			r.attempts = 0
		}
		if e.lasted >= stable {
			r.renewals = 0
		}
	}
	r.attempts++
	if r.spent() && !e.connected {
		return decision{stop: true}
	}
	refusal, action := r.action(e.err)
	again := decision{wait: r.backoff(refusal)}
	switch action {
	case holdfast.ActionWait, holdfast.ActionReconnect:
		return again
	case holdfast.ActionRefreshOnce, holdfast.ActionRefresh:
		limit := 1
		if action == holdfast.ActionRefresh {
			limit = maxRenewals
		}
		if r.renewals >= limit {
			return decision{stop: true}
		}
		if r.renewals == 0 {
			again.wait = refusal.RetryAfter
		}
		r.renewals++
		again.renew = refusal
		return again
	case holdfast.ActionSignedOut:
		return decision{stop: true, tell: refusal}
	}
	return decision{stop: true}
}

// spent reports whether there were as many attempts as there may be.
func (r *rules) spent() bool { return r.cfg.MaxAttempts > 0 && r.attempts >= r.cfg.MaxAttempts }

// action returns what the table says about err, and the refusal in it; nil if
// it is none.
func (r *rules) action(err error) (*holdfast.Error, holdfast.Action) {
	if errors.Is(err, ErrDisconnected) {
		return nil, holdfast.ActionStop
	}
	if _, ok := errors.AsType[*localError](err); ok {
		return nil, holdfast.ActionReconnect
	}
	refusal, _ := errors.AsType[*holdfast.Error](err)
	if _, ok := errors.AsType[*sourceError](err); ok {
		if tokens.Final(err) {
			return refusal, holdfast.ActionStop
		}
		return refusal, holdfast.ActionWait
	}
	if refusal == nil {
		return nil, holdfast.ActionReconnect
	}
	if h, ok := errors.AsType[*handshakeError](err); ok && !h.coded && h.err.Code.Info().Action == holdfast.ActionStop && r.ever {
		// It worked before: a proxy without its backend, more likely than a
		// wrong address.
		return refusal, holdfast.ActionWait
	}
	return refusal, refusal.Code.Info().Action
}

// ceiling is the longest wait before the next attempt.
func (r *rules) ceiling() time.Duration {
	d := r.cfg.MinBackoff
	for i := 1; i < r.attempts && d < r.cfg.MaxBackoff; i++ {
		d *= 2
	}
	return min(d, r.cfg.MaxBackoff)
}

// backoff is the wait before the next attempt: full jitter, after what the
// server asked for.
func (r *rules) backoff(refusal *holdfast.Error) time.Duration {
	d := time.Duration(r.random() * float64(r.ceiling()))
	if refusal != nil && refusal.RetryAfter > 0 {
		d += refusal.RetryAfter
	}
	return d
}

// closeError is the error for a WebSocket close frame: the reason is the code
// where the server is Holdfast, else the close code tells. Other close codes
// say nothing about why.
func closeError(ce *wsclient.CloseError) error {
	code := holdfast.Code(ce.Reason)
	if !code.Known() {
		code = codeOfClose(ce.Code)
	}
	if code == "" {
		return fmt.Errorf("client: the server closed the connection (%d)", ce.Code)
	}
	return &holdfast.Error{Code: code, Message: fmt.Sprintf("The server closed the connection (%d)", ce.Code)}
}

// codeOfClose is the code for a close that names none: the first with that
// number in the table of codes. Where several share it, that is the one whose
// action is the milder.
func codeOfClose(status uint16) holdfast.Code {
	if status == wsframe.TooBig { // docs/protocol.md §2: over maxPayload
		return holdfast.MessageTooLarge
	}
	for _, info := range holdfast.Codes() {
		if info.Close != 0 && info.Close == int(status) {
			return info.Code
		}
	}
	return ""
}

// codeOfMessage guesses the code of a connect error that names none, by the
// words that servers use.
func codeOfMessage(message string) holdfast.Code {
	m := strings.ToLower(message)
	switch {
	case message == "Invalid namespace":
		return holdfast.NotFound
	case strings.Contains(m, "expired"):
		return holdfast.TokenExpired
	case strings.Contains(m, "unauthorized"), strings.Contains(m, "unauthenticated"),
		strings.Contains(m, "jwt"), strings.Contains(m, "token"), strings.Contains(m, "authentication"):
		return holdfast.Unauthenticated
	}
	return holdfast.Forbidden
}
