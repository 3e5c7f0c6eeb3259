package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestSignIn(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		l, err := h.SignIn(ctx, SignInRequest{Email: " ANN@example.com", Password: goodPassword, TOTPCode: "ignored"}, home)
		noError(t, err)
		if l.User.Email != "ann@example.com" || l.Session.Addr != home.Addr || l.Session.UserAgent != firefox || l.Requires2FA ||
			len(l.CookieSecret) != secretLen || !strings.HasPrefix(l.RefreshToken, "hfr_") {
			t.Errorf("login: %+v", l)
		}
		id, err := h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		noError(t, err)
		if id.User != l.User.ID || id.Name != "Ann" || id.Email != "ann@example.com" || !id.Expires.Equal(l.ExpiresAt) {
			t.Errorf("identity: %+v", id)
		}
		// The same password, as another keyboard writes it.
		_, err = h.CreateUser(ctx, NewUser{Email: "jose@example.com", Password: "contrasen\u0303a"})
		noError(t, err)
		_, err = h.SignIn(ctx, SignInRequest{Email: "jose@example.com", Password: "contraseña"}, home)
		wantCode(t, "composed", err, "")
	})
}

// Whatever is wrong, the answer is the same, and a hash was worked out for it.
func TestSignInTellsNothing(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		off := h.user("off@example.com")
		noError(t, h.Disable(ctx, off.ID))
		_, err := h.CreateUser(ctx, NewUser{Email: "passkeys@example.com"})
		noError(t, err)
		requests := map[string]SignInRequest{
			"wrong password":      {Email: "ann@example.com", Password: "wrong horse battery"},
			"no password":         {Email: "ann@example.com"},
			"a long password":     {Email: "ann@example.com", Password: strings.Repeat("a", 1000)},
			"unknown address":     {Email: "nobody@example.com", Password: goodPassword},
			"no address":          {Email: "nobody", Password: goodPassword},
			"disabled":            {Email: "off@example.com", Password: goodPassword},
			"account without one": {Email: "passkeys@example.com", Password: goodPassword},
			"none, and without":   {Email: "passkeys@example.com"},
		}
		texts := make(map[string]bool)
		for what, r := range requests {
			_, err := h.SignIn(ctx, r, home)
			wantCode(t, what, err, holdfast.InvalidCredentials)
			texts[holdfast.AsError(err).PublicMessage()] = true
		}
		if len(texts) != 1 {
			t.Errorf("different answers: %v", texts)
		}
		after(2 * time.Hour)
		for range h.cfg.Argon2.Parallel { // nobody gets a hash worked out
			h.hasher.slots <- struct{}{}
		}
		for what, r := range requests {
			soon, cancel := context.WithTimeout(ctx, time.Second)
			_, err := h.SignIn(soon, r, home)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: answered without a hash: %v", what, err)
			}
		}
		for range h.cfg.Argon2.Parallel {
			<-h.hasher.slots
		}
		// Those who gave up have not failed.
		for range freeFailures - 1 {
			_, err := h.SignIn(ctx, requests["wrong password"], home)
			wantCode(t, "wrong", err, holdfast.InvalidCredentials)
		}
		h.signIn("ann@example.com")
	})
}

func TestSignInThrottle(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		stranger := Client{Addr: "203.0.113.9"}
		try := func(email, password string, c Client) error {
			_, err := h.SignIn(ctx, SignInRequest{Email: email, Password: password}, c)
			return err
		}
		for _, email := range []string{"ann@example.com", "nobody@example.com"} { // an account need not be there
			for range freeFailures {
				wantCode(t, "free", try(email, "wrong", stranger), holdfast.InvalidCredentials)
			}
			for _, wait := range []time.Duration{1, 2, 4, 8, 15, 15} {
				for range 3 { // waiting does not count
					err := try(email, goodPassword, stranger)
					wantCode(t, "the right one, too early", err, holdfast.RateLimited)
					if got := holdfast.AsError(err).RetryAfter; got != wait*time.Minute {
						t.Errorf("%s: wait %v, want %v", email, got, wait*time.Minute)
					}
				}
				after(wait*time.Minute - time.Millisecond)
				wantCode(t, "still too early", try(email, goodPassword, stranger), holdfast.RateLimited)
				after(time.Millisecond)
				wantCode(t, "one more", try(email, "wrong", stranger), holdfast.InvalidCredentials)
			}
			// Nobody tries for a while: forgotten.
			after(longestWait + forgetAfter)
			for range freeFailures {
				wantCode(t, "free again", try(email, "wrong", stranger), holdfast.InvalidCredentials)
			}
			wantCode(t, "and throttled again", try(email, "wrong", stranger), holdfast.RateLimited)
		}

		// The owner has been signed in at home before: the stranger is not in
		// his way, and has not his five free tries.
		after(time.Hour)
		noError(t, try("ann@example.com", goodPassword, home))
		for range freeFailures {
			wantCode(t, "stranger", try("ann@example.com", "wrong", stranger), holdfast.InvalidCredentials)
		}
		wantCode(t, "stranger", try("ann@example.com", goodPassword, stranger), holdfast.RateLimited)
		wantCode(t, "the owner at home", try("ann@example.com", goodPassword, Client{Addr: home.Addr + ":4711"}), "")
		for range freeFailures {
			wantCode(t, "somebody at home", try("ann@example.com", "wrong", home), holdfast.InvalidCredentials)
		}
		wantCode(t, "somebody at home", try("ann@example.com", "wrong", home), holdfast.RateLimited)

		// A new password by mail lifts it.
		noError(t, h.RequestPasswordReset(ctx, "ann@example.com"))
		noError(t, h.ResetPassword(ctx, h.mail().Code, "another good one"))
		wantCode(t, "after the reset", try("ann@example.com", "another good one", stranger), "")
		noError(t, h.SetPassword(ctx, ann.ID, goodPassword))

		// Success clears the count.
		for range 3 {
			for range freeFailures - 1 {
				wantCode(t, "free", try("ann@example.com", "wrong", Client{}), holdfast.InvalidCredentials)
			}
			wantCode(t, "right", try("ann@example.com", goodPassword, Client{}), "")
		}
	})
}

// A hundred tries at once are not a hundred free ones.
func TestSignInThrottleParallel(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		h.user("ann@example.com")
		var mu sync.Mutex
		codes := make(map[holdfast.Code]int)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := h.SignIn(t.Context(), SignInRequest{Email: "ann@example.com", Password: "wrong"}, Client{})
				mu.Lock()
				defer mu.Unlock()
				codes[holdfast.CodeOf(err)]++
			})
		}
		wg.Wait()
		if codes[holdfast.InvalidCredentials] != freeFailures || codes[holdfast.RateLimited] != 100-freeFailures {
			t.Errorf("%v", codes)
		}
	})
}

func TestNetworkOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
	} {
		if got := networkOf(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for in, want := range map[Client]Client{
		{Addr: "192.0.2.1:80"}:                        {Addr: "192.0.2.1"},
		{Addr: "[2001:db8::1]:80"}:                    {Addr: "2001:db8::1"},
		{Addr: "::ffff:192.0.2.1"}:                    {Addr: "192.0.2.1"},
		{Addr: "fe80::1%eth0"}:                        {Addr: "fe80::1"},
		{Addr: "unix", UserAgent: " a\nb "}:           {UserAgent: "ab"},
		{UserAgent: strings.Repeat("é", 200)}:         {UserAgent: strings.Repeat("é", 128)},
		{UserAgent: "a\xffb"}:                         {UserAgent: "ab"},
		{UserAgent: strings.Repeat("a", 1<<20) + "b"}: {UserAgent: strings.Repeat("a", 256)},
	} {
		if got := in.clean(); got != want {
			t.Errorf("%.60q: %.60q, want %.60q", in, got, want)
		}
	}
}

func TestSignUp(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		rooms := holdfast.MustRoomList("mine")
		ann := NewUser{Email: "ann@example.com", Password: goodPassword, Name: "Ann", EmailVerified: true,
			Grants: Grants{Roles: []string{"admin"}, Rooms: &rooms, Actions: []string{"*"}}}
		l, err := h.SignUp(ctx, ann, home)
		noError(t, err)
		if l.User.Email != "ann@example.com" || l.User.EmailVerified || len(l.User.Roles) != 0 || l.User.Rooms != nil || len(l.User.Actions) != 0 {
			t.Errorf("he granted himself something: %+v", l.User)
		}
		if _, err := h.Refresh(ctx, l.RefreshToken, home); err != nil {
			t.Error(err)
		}
		_, err = h.SignUp(ctx, ann, home)
		wantCode(t, "twice", err, holdfast.Conflict)
		for what, u := range map[string]NewUser{
			"no password": {Email: "bob@example.com"},
			"short":       {Email: "bob@example.com", Password: "1234567"},
			"long":        {Email: "bob@example.com", Password: strings.Repeat("a", MaxPassword+1)},
			"his address": {Email: "bob@example.com", Password: "BOB@example.com"},
			"not text":    {Email: "bob@example.com", Password: "\xff\xff\xff\xff\xff\xff\xff\xff"},
			"no address":  {Email: "bob", Password: goodPassword},
		} {
			_, err := h.SignUp(ctx, u, home)
			wantCode(t, what, err, holdfast.InvalidArgument)
		}
		_, err = h.SignUp(ctx, NewUser{Email: "bob@example.com", Password: strings.Repeat("ü", MinPassword)}, home)
		wantCode(t, "characters, not bytes", err, "")
	})
}

func TestSignUpClosed(t *testing.T) {
	eachDatabase(t, func(cfg *Config) { cfg.SignUp = "" }, func(t *testing.T, h *harness) {
		_, err := h.SignUp(t.Context(), NewUser{Email: "ann@example.com", Password: goodPassword}, home)
		wantCode(t, "closed", err, holdfast.Forbidden)
		_, _, err = h.Invite(t.Context(), Invitation{Email: "ann@example.com"})
		wantCode(t, "invited", err, holdfast.Conflict)
	})
}

func TestInvite(t *testing.T) {
	eachDatabase(t, func(cfg *Config) { cfg.SignUp = SignUpInvite }, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("old@example.com")
		_, _, err := h.Invite(ctx, Invitation{Email: "old@example.com"})
		wantCode(t, "somebody known", err, holdfast.Conflict)
		rooms := holdfast.MustRoomList("team-*")
		code, expires, err := h.Invite(ctx, Invitation{Email: "Ann@example.com", Grants: Grants{Roles: []string{"editor"}, Rooms: &rooms}})
		noError(t, err)
		if m := h.mail(); m.Kind != MailInvite || m.To != "ann@example.com" || m.Code != code || !m.Expires.Equal(expires) {
			t.Errorf("mail: %+v", m)
		}
		sign := func(email, password, invite string) (Login, error) {
			return h.SignUp(ctx, NewUser{Email: email, Password: password, Invite: invite}, home)
		}
		_, err = sign("ann@example.com", goodPassword, "")
		wantCode(t, "without", err, holdfast.Forbidden)
		_, err = sign("ann@example.com", goodPassword, newSecret())
		wantCode(t, "made up", err, holdfast.Forbidden)
		_, err = sign("eve@example.com", goodPassword, code)
		wantCode(t, "another's", err, holdfast.Forbidden)
		_, err = sign("ann@example.com", "short", code)
		wantCode(t, "a bad password", err, holdfast.InvalidArgument)
		l, err := sign("ANN@example.com", goodPassword, code)
		noError(t, err)
		if !l.User.EmailVerified || len(l.User.Roles) != 1 || !l.User.Rooms.Equal(rooms) {
			t.Errorf("invited: %+v", l.User)
		}
		_, err = sign("ann@example.com", goodPassword, code)
		wantCode(t, "again", err, holdfast.Forbidden)

		late, expires, err := h.Invite(ctx, Invitation{Email: "late@example.com"})
		noError(t, err)
		after(time.Until(expires))
		_, err = sign("late@example.com", goodPassword, late)
		wantCode(t, "late", err, holdfast.Forbidden)
	})
}

// With VerifyEmail nobody learns by signing up who has an account.
func TestVerifyEmailFirst(t *testing.T) {
	eachDatabase(t, func(cfg *Config) { cfg.VerifyEmail = true }, func(t *testing.T, h *harness) {
		ctx := t.Context()
		l, err := h.SignUp(ctx, NewUser{Email: "ann@example.com", Password: goodPassword}, home)
		noError(t, err)
		if !l.VerificationSent || l.AccessToken != "" || l.Session.ID != "" || l.User.ID != "" {
			t.Errorf("let in at once: %+v", l)
		}
		m := h.mail()
		if m.Kind != MailVerify || m.To != "ann@example.com" {
			t.Errorf("mail: %+v", m)
		}
		again, err := h.SignUp(ctx, NewUser{Email: "ann@example.com", Password: "something else"}, home)
		noError(t, err)
		if again.VerificationSent != l.VerificationSent || again.User.ID != "" {
			t.Errorf("another answer: %+v", again)
		}
		if m := h.mail(); m.Kind != MailExists || m.Code != "" {
			t.Errorf("mail: %+v", m)
		}
		_, err = h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword}, home)
		wantCode(t, "not verified", err, holdfast.Forbidden)
		if m := h.mail(); m.Kind != MailVerify {
			t.Errorf("mail: %+v", m)
		}
		_, err = h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: "wrong"}, home)
		wantCode(t, "not verified, and wrong", err, holdfast.InvalidCredentials)
		u, err := h.VerifyEmail(ctx, m.Code)
		noError(t, err)
		if !u.EmailVerified {
			t.Errorf("verified: %+v", u)
		}
		_, err = h.VerifyEmail(ctx, m.Code)
		wantCode(t, "the code again", err, holdfast.InvalidArgument)
		h.signIn("ann@example.com")
		noError(t, h.RequestEmailVerification(ctx, u.ID))
		if m := h.mail(); m.Kind != "" {
			t.Errorf("a mail to somebody who is verified: %+v", m)
		}
	})
}

// What changes while a password is being hashed counts: who was kept out, or
// has another password or second factor by then, is not let in any more.
func TestSignInAgainstChange(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		setup, err := h.TOTPEnable(ctx, h.user("totp@example.com").ID)
		noError(t, err)
		for email, change := range map[string]func(u User) error{
			"disabled@example.com": func(u User) error { return h.Disable(ctx, u.ID) },
			"deleted@example.com":  func(u User) error { return h.DeleteUser(ctx, u.ID) },
			"password@example.com": func(u User) error {
				_, err := execute(ctx, h.db.write, `UPDATE users SET password = 'x' WHERE id = $1`, u.ID)
				return err
			},
			"totp@example.com": func(u User) error {
				_, err := h.TOTPConfirm(ctx, u.ID, setup.code(t, 0))
				return err
			},
		} {
			u, err := h.UserByEmail(ctx, email)
			if err != nil {
				u = h.user(email)
			}
			for range h.cfg.Argon2.Parallel { // nobody gets on
				h.hasher.slots <- struct{}{}
			}
			result := make(chan error)
			go func() {
				_, err := h.SignIn(ctx, SignInRequest{Email: email, Password: goodPassword}, home)
				result <- err
			}()
			h.wait()
			noError(t, change(u))
			for range h.cfg.Argon2.Parallel {
				<-h.hasher.slots
			}
			wantCode(t, email, <-result, holdfast.InvalidCredentials)
		}
	})
}
