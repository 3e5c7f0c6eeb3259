package identity

import (
	"context"
	"errors"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

const (
	maxBody           = 16 << 10
	maxCredentialBody = maxCredential + maxBody
)

// call is one request and its answer.
type call struct {
	w http.ResponseWriter
	r *http.Request
}

// answer writes v as JSON.
func (c *call) answer(v any) error { return httpjson.Write(c.w, http.StatusOK, v) }

// done answers that all went well, and there is nothing to tell.
func (c *call) done() error { return c.answer(struct{}{}) }

// decode reads the body into v.
func (c *call) decode(v any) error { return httpjson.Decode(c.w, c.r, maxBody, v) }

// decodeIfAny is decode for calls whose body may be missing.
func (c *call) decodeIfAny(v any) error {
	if c.r.Body == nil || c.r.ContentLength == 0 {
		return nil
	}
	return c.decode(v)
}

// route is one call of the table in docs/protocol.md §3.
type route struct {
	method, path string // below Prefix
	do           func(*call) error
	attempt      bool // it tries a secret, or sends a mail
}

func (h *Handler) routes() []route {
	return []route{
		{http.MethodGet, "/auth/csrf", h.csrf, false},
		{http.MethodPost, "/auth/sign-up", h.signUp, true},
		{http.MethodPost, "/auth/sign-in", h.signIn, true},
		{http.MethodPost, "/auth/sign-out", h.signOut, false},
		{http.MethodPost, "/auth/refresh", h.refresh, false},
		{http.MethodPost, "/realtime/token", h.realtimeToken, false},

		{http.MethodGet, "/auth/session", h.session, false},
		{http.MethodGet, "/auth/sessions", h.own(h.sessions), false},
		{http.MethodDelete, "/auth/sessions/{id}", h.own(h.endSession), false},

		{http.MethodPost, "/auth/password/change", h.own(h.changePassword), true},
		{http.MethodPost, "/auth/password/reset/request", h.requestReset, true},
		{http.MethodPost, "/auth/password/reset", h.resetPassword, true},
		{http.MethodPost, "/auth/email/verify/request", h.own(h.requestVerification), true},
		{http.MethodPost, "/auth/email/verify", h.verifyEmail, true},

		{http.MethodPost, "/auth/totp/enable", h.own(h.totpEnable), true},
		{http.MethodPost, "/auth/totp/confirm", h.own(h.totpConfirm), true},
		{http.MethodPost, "/auth/totp/disable", h.own(h.totpDisable), true},
		{http.MethodPost, "/auth/totp/recovery-codes", h.own(h.recoveryCodes), true},

		{http.MethodGet, "/auth/passkeys", h.own(h.passkeys), false},
		{http.MethodDelete, "/auth/passkeys/{id}", h.own(h.deletePasskey), false},
		{http.MethodPost, "/auth/passkeys/register/begin", h.own(h.passkeyBegin), false},
		{http.MethodPost, "/auth/passkeys/register/finish", h.own(h.passkeyFinish), false},
		{http.MethodPost, "/auth/passkeys/challenge", h.passkeyChallenge, true},
		{http.MethodPost, "/auth/passkeys/verify", h.passkeyVerify, true},
	}
}

func (h *Handler) mux() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range h.routes() {
		rt.path = h.cfg.Prefix + rt.path
		mux.Handle(rt.path, h.handler(rt))
	}
	mux.Handle("/.well-known/jwks.json", h.handler(route{http.MethodGet, "/.well-known/jwks.json", h.jwks, false}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		secureHeaders(w.Header())
		httpjson.WriteError(w, r, holdfast.Errorf(holdfast.NotFound, "There is nothing at this path"))
	})
	return mux
}

// takes reports whether the route is for a method; no path has two.
func (rt route) takes(method string) bool {
	return method == rt.method || method == http.MethodHead && rt.method == http.MethodGet
}

func (rt route) refuseMethod(w http.ResponseWriter) {
	w.Header().Set("Allow", rt.method)
	_ = httpjson.Write(w, http.StatusMethodNotAllowed, struct { // it can be encoded
		Error string        `json:"error"`
		Code  holdfast.Code `json:"code"`
	}{"The method is not allowed here", holdfast.InvalidArgument})
}

// secureHeaders are for answers that no browser is to show, frame, keep, or
// take for something else than what they are.
func secureHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// handler guards a call, and answers its error.
func (h *Handler) handler(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = httpjson.WithRequestID(r)
		secureHeaders(w.Header())
		if !rt.takes(r.Method) {
			rt.refuseMethod(w)
			return
		}
		err := h.admit(r, rt)
		if err == nil {
			err = rt.do(&call{w, r})
		}
		if err == nil {
			return
		}
		if e := holdfast.AsError(err); e.Code == holdfast.Internal && !errors.Is(r.Context().Err(), context.Canceled) {
			h.log.ErrorContext(r.Context(), "an account call failed", "call", rt.method+" "+rt.path, "requestId", httpjson.RequestID(r), "error", err)
		}
		httpjson.WriteError(w, r, err)
	})
}

// admit keeps out what comes from pages that may not call, and what is too
// much.
func (h *Handler) admit(r *http.Request, rt route) error {
	if guard.Unsafe(r) {
		if err := h.checkOrigin(r); err != nil {
			return err
		}
	}
	from := guard.Network(h.proxies.ClientIP(r))
	if h.calls != nil {
		if err := h.calls.Allow(from); err != nil {
			return err
		}
	}
	if rt.attempt && h.attempts != nil {
		return h.attempts.Allow(from)
	}
	return nil
}

// jwks answers GET /.well-known/jwks.json. A new key is shown there a minute
// before it signs.
func (h *Handler) jwks(c *call) error {
	c.w.Header().Set("Cache-Control", "public, max-age=60")
	return c.answer(h.p.JWKS())
}
