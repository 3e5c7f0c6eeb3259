package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/holdfast-dev/holdfast"
)

// code is what an authenticator app shows so much later.
func (s TOTPSetup) code(t *testing.T, later time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(s.Secret, time.Now().Add(later))
	noError(t, err)
	return code
}

// other is a code that is not the given one.
func other(code string) string {
	if code == "000000" {
		return "111111"
	}
	return "000000"
}

func TestTOTP(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		_, err := h.TOTPConfirm(ctx, ann.ID, "123456")
		wantCode(t, "nothing to confirm", err, holdfast.Conflict)
		wantCode(t, "nothing to turn off", h.TOTPDisable(ctx, ann.ID, "123456"), holdfast.Conflict)
		setup, err := h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		if !strings.HasPrefix(setup.URL, "otpauth://totp/example.com:ann@example.com?") || !strings.Contains(setup.URL, setup.Secret) {
			t.Errorf("setup: %+v", setup)
		}
		h.signIn("ann@example.com") // not asked for before it is confirmed
		_, err = h.TOTPConfirm(ctx, ann.ID, other(setup.code(t, 0)))
		wantCode(t, "wrong", err, holdfast.InvalidCredentials)
		recovery, err := h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		if len(recovery) != recoveryCodes || len(recovery[0]) != 23 {
			t.Errorf("recovery codes: %q", recovery)
		}
		_, err = h.TOTPEnable(ctx, ann.ID)
		wantCode(t, "twice", err, holdfast.Conflict)

		signIn := func(code string) (Login, error) {
			return h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword, TOTPCode: code}, Client{})
		}
		l, err := signIn("")
		noError(t, err)
		if !l.Requires2FA || l.AccessToken != "" || l.RefreshToken != "" || l.User.ID != "" {
			t.Errorf("without a code: %+v", l)
		}
		_, err = signIn(setup.code(t, 0))
		wantCode(t, "the code that confirmed", err, holdfast.InvalidCredentials)
		after(totpPeriod * time.Second)
		for what, c := range map[string]string{"wrong": other(setup.code(t, 0)), "short": "12345", "rubbish": strings.Repeat("x", 100), "two steps ahead": setup.code(t, 2*totpPeriod*time.Second)} {
			_, err = signIn(c)
			wantCode(t, what, err, holdfast.InvalidCredentials)
		}
		after(time.Hour) // for the throttle
		code := setup.code(t, 0)
		if l, err = signIn(code[:3] + " " + code[3:]); err != nil || l.Requires2FA || !l.User.TOTP {
			t.Fatalf("with the code: %+v, %v", l, err)
		}
		_, err = signIn(code)
		wantCode(t, "the same code", err, holdfast.InvalidCredentials)
		_, err = signIn(setup.code(t, -totpPeriod*time.Second))
		wantCode(t, "an older code", err, holdfast.InvalidCredentials)
		_, err = signIn(setup.code(t, totpPeriod*time.Second))
		wantCode(t, "the next code, by a clock that is ahead", err, "")

		_, err = signIn(strings.ToUpper(recovery[3]))
		wantCode(t, "a recovery code", err, "")
		_, err = signIn(recovery[3])
		wantCode(t, "the same", err, holdfast.InvalidCredentials)
		fresh, err := h.RecoveryCodes(ctx, ann.ID, recovery[4])
		noError(t, err)
		_, err = signIn(recovery[5])
		wantCode(t, "an old recovery code", err, holdfast.InvalidCredentials)
		wantCode(t, "off, wrong", h.TOTPDisable(ctx, ann.ID, recovery[6]), holdfast.InvalidCredentials)
		noError(t, h.TOTPDisable(ctx, ann.ID, fresh[0]))
		l, err = signIn("")
		if err != nil || l.Requires2FA {
			t.Errorf("off: %+v, %v", l, err)
		}

		// Not confirmed in time.
		setup, err = h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		after(totpPending)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		wantCode(t, "late", err, holdfast.Conflict)

		setup, err = h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		noError(t, h.RemoveTOTP(ctx, ann.ID))
		if u, err := h.User(ctx, ann.ID); err != nil || u.TOTP {
			t.Errorf("removed: %+v, %v", u, err)
		}
		wantCode(t, "nobody", h.RemoveTOTP(ctx, "nobody"), holdfast.NotFound)
	})
}

// Who has the password can't try the million codes, not even by asking for
// them in between.
func TestTOTPThrottle(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		setup, err := h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		after(time.Minute)
		failures := 0
		for range 20 {
			if l, err := h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword}, Client{}); err == nil && !l.Requires2FA {
				t.Fatal("no code asked for")
			}
			_, err := h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword, TOTPCode: other(setup.code(t, 0))}, Client{})
			switch code := holdfast.CodeOf(err); code {
			case holdfast.InvalidCredentials:
				failures++
			case holdfast.RateLimited:
			default:
				t.Fatal(err)
			}
		}
		if failures != freeFailures {
			t.Errorf("%d codes were tried", failures)
		}
		for range freeFailures {
			wantCode(t, "off", h.TOTPDisable(ctx, ann.ID, "x"), holdfast.InvalidCredentials)
		}
		wantCode(t, "off, too often", h.TOTPDisable(ctx, ann.ID, setup.code(t, 0)), holdfast.RateLimited)
	})
}

// TOTP secrets are not in the database as they are.
func TestTOTPAtRest(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann, bob := h.user("ann@example.com"), h.user("bob@example.com")
		setup, err := h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		a, err := h.accountByID(ctx, h.db.read, ann.ID)
		noError(t, err)
		if strings.Contains(string(a.totp), setup.Secret) {
			t.Error("stored as it is")
		}
		if plain, err := h.vault.open("totp", ann.ID, a.totp); err != nil || string(plain) != setup.Secret {
			t.Errorf("sealed: %v", err)
		}
		if _, err := h.vault.open("totp", bob.ID, a.totp); err == nil {
			t.Error("good for another user")
		}
	})
}
