package identity

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// sessionView is a session as its user sees it; times are epoch milliseconds.
type sessionView struct {
	ID         string `json:"id"`
	UserAgent  string `json:"userAgent,omitempty"`
	Addr       string `json:"addr,omitempty"`
	CreatedAt  int64  `json:"createdAt"`
	LastUsedAt int64  `json:"lastUsedAt"`
	ExpiresAt  int64  `json:"expiresAt"`
	Current    bool   `json:"current"` // it is the caller's
}

func viewSession(s Session, current string) sessionView {
	return sessionView{
		ID: s.ID, UserAgent: s.UserAgent, Addr: s.Addr, Current: s.ID == current,
		CreatedAt: s.Created.UnixMilli(), LastUsedAt: s.LastUsed.UnixMilli(), ExpiresAt: s.Expires.UnixMilli(),
	}
}

// accountView is a user as he sees himself.
type accountView struct {
	holdfast.User
	EmailVerified bool `json:"emailVerified"`
	TOTP          bool `json:"totp"`
	Password      bool `json:"password"`
}

type sessionAnswer struct {
	Session sessionView `json:"session"`
	User    accountView `json:"user"`
}

// session answers GET /api/auth/session: null where a page is not signed in.
// A bearer token that is bad is refused, so that its holder refreshes it.
func (h *Handler) session(c *call) error {
	who, err := h.caller(c)
	if err != nil {
		if isSignedOut(err) && !bearerSent(c.r) {
			return c.answer(nil)
		}
		return err
	}
	u := who.user
	return c.answer(sessionAnswer{
		Session: viewSession(who.session, who.session.ID),
		User:    accountView{User: u.AsUser(), EmailVerified: u.EmailVerified, TOTP: u.TOTP, Password: u.Password},
	})
}

// sessions answers GET /api/auth/sessions.
func (h *Handler) sessions(c *call, who caller) error {
	list, err := h.p.Sessions(c.r.Context(), who.user.ID)
	if err != nil {
		return err
	}
	views := make([]sessionView, len(list))
	for i, s := range list {
		views[i] = viewSession(s, who.session.ID)
	}
	return c.answer(struct {
		Sessions []sessionView `json:"sessions"`
	}{views})
}

// endSession answers DELETE /api/auth/sessions/{id}.
func (h *Handler) endSession(c *call, who caller) error {
	id := c.r.PathValue("id")
	if err := h.p.EndSession(c.r.Context(), who.user.ID, id); err != nil {
		return err
	}
	if who.byCookie && id == who.session.ID {
		h.forget(c, h.requestCookies(c.r))
	}
	return c.done()
}

// changePassword answers POST /api/auth/password/change. All other sessions
// end.
func (h *Handler) changePassword(c *call, who caller) error {
	var in struct {
		OldPassword string `json:"oldPassword"`
		NewPassword string `json:"newPassword"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := h.p.ChangePassword(c.r.Context(), who.user.ID, who.session.ID, in.OldPassword, in.NewPassword); err != nil {
		return err
	}
	return c.done()
}

// requestReset answers POST /api/auth/password/reset/request, for every
// address alike.
func (h *Handler) requestReset(c *call) error {
	var in struct {
		Email string `json:"email"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := h.p.RequestPasswordReset(c.r.Context(), in.Email); err != nil {
		return err
	}
	return c.done()
}

// resetPassword answers POST /api/auth/password/reset: the code is the
// credential. Nobody is signed in by it.
func (h *Handler) resetPassword(c *call) error {
	var in struct {
		Code        string `json:"code"`
		NewPassword string `json:"newPassword"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := h.p.ResetPassword(c.r.Context(), in.Code, in.NewPassword); err != nil {
		return err
	}
	return c.done()
}

// requestVerification answers POST /api/auth/email/verify/request.
func (h *Handler) requestVerification(c *call, who caller) error {
	if err := h.p.RequestEmailVerification(c.r.Context(), who.user.ID); err != nil {
		return err
	}
	return c.done()
}

// verifyEmail answers POST /api/auth/email/verify: the code is the credential.
func (h *Handler) verifyEmail(c *call) error {
	var in codeForm
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := h.p.VerifyEmail(c.r.Context(), in.Code); err != nil {
		return err
	}
	return c.done()
}

type codeForm struct {
	Code string `json:"code"`
}

// totpEnable answers POST /api/auth/totp/enable.
func (h *Handler) totpEnable(c *call, who caller) error {
	setup, err := h.p.TOTPEnable(c.r.Context(), who.user.ID)
	if err != nil {
		return err
	}
	return c.answer(struct {
		Secret string `json:"secret"` // base32
		URL    string `json:"url"`    // otpauth://
	}{setup.Secret, setup.URL})
}

type recoveryAnswer struct {
	RecoveryCodes []string `json:"recoveryCodes"`
}

// totpConfirm answers POST /api/auth/totp/confirm.
func (h *Handler) totpConfirm(c *call, who caller) error {
	var in codeForm
	if err := c.decode(&in); err != nil {
		return err
	}
	recovery, err := h.p.TOTPConfirm(c.r.Context(), who.user.ID, in.Code)
	if err != nil {
		return err
	}
	return c.answer(recoveryAnswer{recovery})
}

// totpDisable answers POST /api/auth/totp/disable.
func (h *Handler) totpDisable(c *call, who caller) error {
	var in codeForm
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := h.p.TOTPDisable(c.r.Context(), who.user.ID, in.Code); err != nil {
		return err
	}
	return c.done()
}

// recoveryCodes answers POST /api/auth/totp/recovery-codes.
func (h *Handler) recoveryCodes(c *call, who caller) error {
	var in codeForm
	if err := c.decode(&in); err != nil {
		return err
	}
	recovery, err := h.p.RecoveryCodes(c.r.Context(), who.user.ID, in.Code)
	if err != nil {
		return err
	}
	return c.answer(recoveryAnswer{recovery})
}

// passkeyView is a passkey as its user sees it; times are epoch milliseconds.
type passkeyView struct {
	ID         string `json:"id"`
	Name       string `json:"name,omitempty"`
	CreatedAt  int64  `json:"createdAt"`
	LastUsedAt int64  `json:"lastUsedAt,omitempty"`
}

func viewPasskey(k Passkey) passkeyView {
	v := passkeyView{ID: k.ID, Name: k.Name, CreatedAt: k.Created.UnixMilli()}
	if !k.LastUsed.IsZero() {
		v.LastUsedAt = k.LastUsed.UnixMilli()
	}
	return v
}

// passkeys answers GET /api/auth/passkeys.
func (h *Handler) passkeys(c *call, who caller) error {
	list, err := h.p.Passkeys(c.r.Context(), who.user.ID)
	if err != nil {
		return err
	}
	views := make([]passkeyView, len(list))
	for i, k := range list {
		views[i] = viewPasskey(k)
	}
	return c.answer(struct {
		Passkeys []passkeyView `json:"passkeys"`
	}{views})
}

// deletePasskey answers DELETE /api/auth/passkeys/{id}.
func (h *Handler) deletePasskey(c *call, who caller) error {
	if err := h.p.DeletePasskey(c.r.Context(), who.user.ID, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.done()
}

// passkeyBegin answers POST /api/auth/passkeys/register/begin.
func (h *Handler) passkeyBegin(c *call, who caller) error {
	options, err := h.p.PasskeyRegisterBegin(c.r.Context(), who.user.ID)
	if err != nil {
		return err
	}
	return c.answer(options)
}

// passkeyFinish answers POST /api/auth/passkeys/register/finish.
func (h *Handler) passkeyFinish(c *call, who caller) error {
	var in struct {
		Name       string          `json:"name"`
		Credential json.RawMessage `json:"credential"`
	}
	if err := httpjson.Decode(c.w, c.r, maxCredentialBody, &in); err != nil {
		return err
	}
	k, err := h.p.PasskeyRegisterFinish(c.r.Context(), who.user.ID, in.Name, in.Credential)
	if err != nil {
		return err
	}
	return c.answer(viewPasskey(k))
}

// passkeyChallenge answers POST /api/auth/passkeys/challenge.
func (h *Handler) passkeyChallenge(c *call) error {
	var in struct {
		Email string `json:"email"`
	}
	if err := c.decodeIfAny(&in); err != nil {
		return err
	}
	options, err := h.p.PasskeyChallenge(c.r.Context(), in.Email)
	if err != nil {
		return err
	}
	return c.answer(options)
}

// passkeyVerify answers POST /api/auth/passkeys/verify, as sign-in does.
func (h *Handler) passkeyVerify(c *call) error {
	e, err := h.enter(c)
	if err != nil {
		return err
	}
	var in struct {
		Credential json.RawMessage `json:"credential"`
		Mode       mode            `json:"mode"`
	}
	if err := httpjson.Decode(c.w, c.r, maxCredentialBody, &in); err != nil {
		return err
	}
	if e.mode, err = h.mode(c.r, in.Mode); err != nil {
		return err
	}
	l, err := h.p.PasskeyVerify(c.r.Context(), in.Credential, h.client(c.r))
	if err != nil {
		return err
	}
	return h.entered(c, e, l)
}
