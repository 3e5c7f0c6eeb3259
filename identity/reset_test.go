package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestChangePassword(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		mine, other := h.signIn("ann@example.com"), h.signIn("ann@example.com")
		code, _, err := h.PasswordResetCode(ctx, ann.ID)
		noError(t, err)
		wantCode(t, "short", h.ChangePassword(ctx, ann.ID, mine.Session.ID, goodPassword, "short"), holdfast.InvalidArgument)
		wantCode(t, "wrong", h.ChangePassword(ctx, ann.ID, mine.Session.ID, "wrong", "another good one"), holdfast.InvalidCredentials)
		noError(t, h.ChangePassword(ctx, ann.ID, mine.Session.ID, goodPassword, "another good one"))
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[other.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		if _, err := h.Refresh(ctx, mine.RefreshToken, home); err != nil {
			t.Error("my own session has ended:", err)
		}
		_, err = h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword}, home)
		wantCode(t, "the old one", err, holdfast.InvalidCredentials)
		_, err = h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: "another good one"}, home)
		wantCode(t, "the new one", err, "")
		wantCode(t, "a code from before", h.ResetPassword(ctx, code, goodPassword), holdfast.InvalidArgument)

		// A stolen session is no place to guess the password.
		for range freeFailures {
			wantCode(t, "wrong", h.ChangePassword(ctx, ann.ID, mine.Session.ID, "wrong", goodPassword), holdfast.InvalidCredentials)
		}
		wantCode(t, "too often", h.ChangePassword(ctx, ann.ID, mine.Session.ID, "another good one", goodPassword), holdfast.RateLimited)
		wantCode(t, "nobody", h.ChangePassword(ctx, "nobody", "", "a", goodPassword), holdfast.NotFound)

		// Somebody who has passkeys alone sets his first one.
		bob, err := h.CreateUser(ctx, NewUser{Email: "bob@example.com"})
		noError(t, err)
		wantCode(t, "he has none", h.ChangePassword(ctx, bob.ID, "", "something", goodPassword), holdfast.InvalidCredentials)
		noError(t, h.ChangePassword(ctx, bob.ID, "", "", goodPassword))
		wantCode(t, "he has one now", h.ChangePassword(ctx, bob.ID, "", "", "another good one"), holdfast.InvalidCredentials)
	})
}

func TestResetPassword(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		noError(t, h.RequestPasswordReset(ctx, " ANN@example.com"))
		m := h.mail()
		if m.Kind != MailReset || m.To != "ann@example.com" || m.Name != "Ann" || len(m.Code) != secretLen || !m.Expires.Equal(timeNow().Add(time.Hour)) {
			t.Errorf("mail: %+v", m)
		}
		noError(t, h.RequestPasswordReset(ctx, "nobody@example.com"))
		if m := h.mail(); m.Kind != "" {
			t.Errorf("a mail to nobody: %+v", m)
		}
		wantCode(t, "no address", h.RequestPasswordReset(ctx, "nobody"), holdfast.InvalidArgument)
		wantCode(t, "made up", h.ResetPassword(ctx, newSecret(), goodPassword), holdfast.InvalidArgument)
		wantCode(t, "a bad password", h.ResetPassword(ctx, m.Code, "short"), holdfast.InvalidArgument)
		noError(t, h.ResetPassword(ctx, m.Code, "another good one"))
		wantCode(t, "again", h.ResetPassword(ctx, m.Code, goodPassword), holdfast.InvalidArgument)
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[l.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		if u, err := h.User(ctx, ann.ID); err != nil || !u.EmailVerified {
			t.Errorf("the code came by mail: %+v, %v", u, err)
		}

		// No more than three mails in a quarter of an hour.
		for range 5 {
			noError(t, h.RequestPasswordReset(ctx, "ann@example.com"))
			h.wait()
		}
		h.mu.Lock()
		if len(h.mails) != freeMails-1 { // one was before
			t.Errorf("%d mails", len(h.mails))
		}
		h.mu.Unlock()
		last := h.mail()
		after(time.Hour)
		wantCode(t, "late", h.ResetPassword(ctx, last.Code, goodPassword), holdfast.InvalidArgument)

		code, _, err := h.PasswordResetCode(ctx, ann.ID)
		noError(t, err)
		noError(t, h.ResetPassword(ctx, code, goodPassword))
		_, _, err = h.PasswordResetCode(ctx, "nobody")
		wantCode(t, "nobody", err, holdfast.NotFound)
		bob, err := h.CreateUser(ctx, NewUser{Email: "bob@example.com"})
		noError(t, err)
		code, _, err = h.PasswordResetCode(ctx, bob.ID)
		noError(t, err)
		noError(t, h.ResetPassword(ctx, code, goodPassword))
		if u, err := h.User(ctx, bob.ID); err != nil || u.EmailVerified {
			t.Errorf("the code came from an administrator: %+v, %v", u, err)
		}

		off := h.user("off@example.com")
		noError(t, h.Disable(ctx, off.ID))
		noError(t, h.RequestPasswordReset(ctx, "off@example.com"))
		if m := h.mail(); m.Kind != "" {
			t.Errorf("a mail to somebody disabled: %+v", m)
		}
	})
}

func TestSetPassword(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		wantCode(t, "short", h.SetPassword(ctx, ann.ID, "short"), holdfast.InvalidArgument)
		wantCode(t, "nobody", h.SetPassword(ctx, "nobody", goodPassword), holdfast.NotFound)
		noError(t, h.SetPassword(ctx, ann.ID, "another good one"))
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[l.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		_, err := h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: "another good one"}, home)
		wantCode(t, "the new one", err, "")
	})
}

func TestCheckPassword(t *testing.T) {
	check := func(_ context.Context, password string) error {
		if password == "password1" {
			return errors.New("This password is known to everybody")
		}
		return nil
	}
	eachDatabase(t, func(cfg *Config) { cfg.CheckPassword = check }, func(t *testing.T, h *harness) {
		ann := h.user("ann@example.com")
		err := h.SetPassword(t.Context(), ann.ID, "password1")
		wantCode(t, "known", err, holdfast.InvalidArgument)
		if holdfast.AsError(err).PublicMessage() != "This password is known to everybody" {
			t.Error(err)
		}
	})
}
