package identity

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "hunter2"
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range []any{
		Login{AccessToken: secret, RefreshToken: secret, CookieSecret: secret, User: User{ID: "ann"}},
		SignInRequest{Email: "ann", Password: secret, TOTPCode: secret},
		NewUser{Email: "ann", Password: secret, Invite: secret},
		TOTPSetup{Secret: secret, URL: secret},
		Mail{To: "ann", Code: secret},
	} {
		logger.Info("x", "v", v)
		fmt.Fprintf(&log, "%v %+v %s %#v", v, v, v, v)
	}
	if strings.Contains(log.String(), secret) || !strings.Contains(log.String(), "ann") {
		t.Error(log.String())
	}
}

// Ids come from paths, headers and browsers: what can't be one is unknown, and
// no fault of the database.
func TestHostileIDs(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		for _, id := range []string{"", "nobody", "\x00", "a\xff", "'; DROP TABLE users; --", strings.Repeat("x", 100_000)} {
			for what, c := range map[string]struct {
				do   func() error
				want holdfast.Code
			}{
				"User":        {func() error { _, err := h.User(ctx, id); return err }, holdfast.NotFound},
				"Disable":     {func() error { return h.Disable(ctx, id) }, holdfast.NotFound},
				"Enable":      {func() error { return h.Enable(ctx, id) }, holdfast.NotFound},
				"DeleteUser":  {func() error { return h.DeleteUser(ctx, id) }, holdfast.NotFound},
				"Grant":       {func() error { _, err := h.Grant(ctx, id, Grants{}); return err }, holdfast.NotFound},
				"SetPassword": {func() error { return h.SetPassword(ctx, id, goodPassword) }, holdfast.NotFound},
				"TOTPEnable":  {func() error { _, err := h.TOTPEnable(ctx, id); return err }, holdfast.NotFound},
				"TOTPDisable": {func() error { return h.RemoveTOTP(ctx, id) }, holdfast.NotFound},
				"Passkeys":    {func() error { _, err := h.Passkeys(ctx, id); return err }, ""},
				"Passkey":     {func() error { return h.DeletePasskey(ctx, id, "AAAA") }, holdfast.NotFound},
				"Passkey id":  {func() error { return h.DeletePasskey(ctx, ann.ID, id) }, holdfast.NotFound},
				"Sessions":    {func() error { _, err := h.Sessions(ctx, id); return err }, ""},
				"SignOut":     {func() error { return h.SignOut(ctx, id) }, ""},
				"EndSession":  {func() error { return h.EndSession(ctx, ann.ID, id) }, holdfast.NotFound},
				"EndSessions": {func() error { return h.EndSessions(ctx, id, "") }, ""},
				"except":      {func() error { return h.EndSessions(ctx, ann.ID, id) }, ""},
				"AccessToken": {func() error { _, _, err := h.AccessToken(ctx, id); return err }, holdfast.Unauthenticated},
				"RevokeKey":   {func() error { return h.RevokeKey(ctx, id) }, holdfast.NotFound},
				"LookupKey":   {func() error { _, err := h.LookupKey(ctx, id); return err }, ""},
				"cookie":      {func() error { _, _, err := h.SessionByCookie(ctx, id); return err }, holdfast.Unauthenticated},
				"refresh":     {func() error { _, err := h.Refresh(ctx, id, Client{}); return err }, holdfast.Unauthenticated},
				"code":        {func() error { return h.ResetPassword(ctx, id, goodPassword) }, holdfast.InvalidArgument},
				"verify":      {func() error { _, err := h.VerifyEmail(ctx, id); return err }, holdfast.InvalidArgument},
				"key":         {func() error { return h.DropSigningKey(ctx, id) }, holdfast.NotFound},
				"token":       {func() error { _, err := h.Verify(ctx, id); return err }, holdfast.Unauthenticated},
				"sign-in": {func() error {
					_, err := h.SignIn(ctx, SignInRequest{Email: id + "@b.c", Password: id}, Client{UserAgent: id, Addr: id})
					return err
				}, holdfast.InvalidCredentials},
				"change":       {func() error { return h.ChangePassword(ctx, id, id, id, goodPassword) }, holdfast.NotFound},
				"verification": {func() error { return h.RequestEmailVerification(ctx, id) }, holdfast.NotFound},
			} {
				if what == "sign-in" && id == "nobody" {
					continue // throttled by and by
				}
				if code := holdfast.CodeOf(c.do()); code != c.want {
					t.Errorf("%s(%.20q): %q, want %q (%v)", what, id, code, c.want, c.do())
				}
			}
			if id != "" && id != "nobody" && id[0] != '\'' {
				_, err := h.BumpPermissions(ctx, id)
				wantCode(t, "bump", err, holdfast.InvalidArgument)
				wantCode(t, "revoke", h.SaveRevocation(ctx, auth.Revocation{TokenID: id}), holdfast.InvalidArgument)
				_, err = h.Users(ctx, id, 1)
				wantCode(t, "users", err, holdfast.InvalidArgument)
			}
		}
		h.signIn("ann@example.com")
	})
}

// The biggest grants, of somebody with the longest name, fit into a token.
func TestTokenSize(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		u, err := h.CreateUser(ctx, NewUser{Email: strings.Repeat("&", 60) + "@" + strings.Repeat("a", 180) + ".example", Password: goodPassword, Name: strings.Repeat("&", 300)})
		noError(t, err)
		var actions []string
		for h := (Grants{}); h.check() == nil; h = (Grants{Actions: actions}) {
			actions = append(actions, strings.Repeat("&", 20))
		}
		_, err = h.Grant(ctx, u.ID, Grants{Actions: actions[1:]})
		noError(t, err)
		l, err := h.SignIn(ctx, SignInRequest{Email: u.Email, Password: goodPassword}, home)
		noError(t, err)
		if _, err := h.Verify(ctx, l.AccessToken); err != nil {
			t.Errorf("a token of %d bytes: %v", len(l.AccessToken), err)
		}
	})
}

// Two transactions that wait for each other: PostgreSQL gives one up, and it
// is run again.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir(), Database: newPostgres(t), Argon2: Argon2{Memory: 64, Time: 1}}
	p, err := Open(t.Context(), cfg)
	noError(t, err)
	defer func() { noError(t, p.Close()) }()
	deadlock(t, p)
}
