package identity

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// What a page and a program do, from the first call to the last.
func TestHTTPSignInAndOut(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.browser(t)
		if got := string(b.do("GET", "/api/auth/session", "").want(200).body); got != "null\n" {
			t.Errorf("session before: %q", got)
		}
		b.fetchCSRF()
		a := b.do("POST", "/api/auth/sign-up", form("email", "Ann@Example.com", "password", goodPassword, "name", "Ann")).want(200)
		var in struct {
			User                                 holdfast.User
			AccessToken, RefreshToken, SessionID string
			ExpiresIn, ExpiresAt                 int64
		}
		a.into(&in)
		if in.User.Email != "ann@example.com" || in.User.Name != "Ann" || in.User.ID == "" || in.SessionID == "" || in.RefreshToken != "" ||
			in.ExpiresIn != 900 || in.ExpiresAt != time.Now().Add(15*time.Minute).UnixMilli() {
			t.Errorf("sign-up: %s", a.body)
		}
		id, err := s.Verify(t.Context(), in.AccessToken)
		noError(t, err)
		if id.User != in.User.ID || id.Session != in.SessionID {
			t.Errorf("token: %+v", id)
		}
		if b.csrf = a.header.Get("X-CSRF-Token"); b.csrf == "" || a.set["csrf-token"].Value != b.csrf {
			t.Errorf("CSRF token after sign-up: %q, %v", b.csrf, a.set)
		}
		var session struct {
			Session sessionView
			User    accountView
		}
		b.do("GET", "/api/auth/session", "").want(200).into(&session)
		if session.User.ID != in.User.ID || !session.User.Password || session.Session.ID != in.SessionID || !session.Session.Current ||
			session.Session.ExpiresAt <= time.Now().UnixMilli() || session.Session.Addr != "192.0.2.7" || session.Session.UserAgent != firefox {
			t.Errorf("session: %+v", session)
		}

		// The call of a client that sends neither body nor CSRF token.
		r := b.request("POST", "/api/realtime/token", "", "X-CSRF-Token", "", "Content-Type", "")
		token := b.send(r).want(200)
		id, err = s.Verify(t.Context(), token.text("accessToken"))
		noError(t, err)
		if id.User != in.User.ID || id.Session != in.SessionID || string(token.field("expiresIn")) != "900" {
			t.Errorf("realtime token: %s", token.body)
		}

		a = b.do("POST", "/api/auth/sign-out", "").want(200)
		if a.header.Get("X-CSRF-Token") == "" || a.set["__Host-session"].MaxAge >= 0 || a.set["__Secure-refresh"].MaxAge >= 0 || b.cookie("__Host-csrf-id") == "" {
			t.Errorf("sign-out: %v", a.set)
		}
		if !s.revokedSessions()[in.SessionID] {
			t.Error("sign-out is not told")
		}
		b.do("POST", "/api/auth/sign-out", "").refused("again", "")
		if who := b.signedInAs(); who != "" {
			t.Errorf("still %s", who)
		}
		b.do("POST", "/api/realtime/token", "").refused("signed out", holdfast.Unauthenticated)

		// A program: tokens, and no cookies.
		p := s.program(t)
		a = p.do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword)).want(200)
		if len(a.set) != 0 || a.header.Get("X-CSRF-Token") != "" || a.text("refreshToken") == "" {
			t.Errorf("token mode: %v %s", a.set, a.body)
		}
		next := p.do("POST", "/api/auth/refresh", form("refreshToken", a.text("refreshToken"))).want(200)
		if len(next.set) != 0 || next.text("refreshToken") == "" || next.text("sessionId") != a.text("sessionId") || next.field("user") != nil {
			t.Errorf("refresh: %v %s", next.set, next.body)
		}
		p.bearer = next.text("accessToken")
		if who := p.signedInAs(); who != "ann@example.com" {
			t.Errorf("by bearer: %q", who)
		}
		if a := p.do("POST", "/api/auth/sign-out", "{}").want(200); len(a.set) != 0 {
			t.Errorf("sign-out sets %v", a.set)
		}
		p.do("GET", "/api/auth/session", "").refused("the token of an ended session", holdfast.SessionRevoked)
		p.bearer = ""
		p.do("POST", "/api/auth/refresh", form("refreshToken", next.text("refreshToken"))).refused("sign-out is final", holdfast.SessionRevoked)

		keys := p.do("GET", "/.well-known/jwks.json", "").want(200)
		if keys.field("keys") == nil || keys.header.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("jwks: %s %s", keys.header, keys.body)
		}
	})
}

func TestHTTPModes(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		sign := func(b *browser, asked string) *reply {
			return b.do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword, "mode", asked))
		}
		for _, c := range []struct {
			who     *browser
			asked   string
			cookies bool
		}{
			{s.browser(t), "", true}, {s.browser(t), "cookie", true}, {s.browser(t), "token", false},
			{s.program(t), "", false}, {s.program(t), "cookie", true}, {s.program(t), "token", false},
		} {
			a := sign(c.who, c.asked).want(200)
			if (len(a.set) > 0) != c.cookies || (a.text("refreshToken") == "") != c.cookies {
				t.Errorf("origin %q, mode %q: %v %s", c.who.origin, c.asked, a.set, a.body)
			}
		}
		sign(s.program(t), "basket").refused("mode", holdfast.InvalidArgument)
	})
	all := func(_ *Config, c *HTTPConfig) { c.AllowedOrigins = []string{"*"} }
	oneSite(t, all, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		b := s.browser(t)
		b.origin = "https://anywhere.example"
		if a := b.do("GET", "/api/auth/csrf", "").want(200); len(a.set) != 0 || a.text("csrfToken") == "" {
			t.Errorf("csrf: %v %s", a.set, a.body)
		}
		b.do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword, "mode", "cookie")).refused("cookies are off", holdfast.InvalidArgument)
		if a := b.signIn("ann@example.com"); len(a.set) != 0 || a.text("refreshToken") == "" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("sign-in: %v %s", a.set, a.body)
		}
		l := s.harness.signIn("ann@example.com")
		b.put("__Host-session", l.CookieSecret, "/")
		b.do("POST", "/api/realtime/token", "").refused("cookies are not read", holdfast.Unauthenticated)
	})
}

func TestHTTPDevices(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		phone, eve := s.harness.signIn("ann@example.com"), s.signedIn(t, "eve@example.com")
		var list struct{ Sessions []sessionView }
		b.do("GET", "/api/auth/sessions", "").want(200).into(&list)
		current := 0
		for _, v := range list.Sessions {
			if v.Current {
				current++
			}
		}
		if len(list.Sessions) != 2 || current != 1 {
			t.Errorf("sessions: %+v", list)
		}
		path := "/api/auth/sessions/" + phone.Session.ID
		eve.do("DELETE", path, "").refused("another user's", holdfast.NotFound)
		b.do("DELETE", path, "", "X-CSRF-Token", "").refused("without CSRF token", holdfast.CSRFMismatch)
		b.do("DELETE", path, "").refused("a phone", "")
		b.do("DELETE", path, "").refused("again", holdfast.NotFound)
		if !s.revokedSessions()[phone.Session.ID] {
			t.Error("the end is not told")
		}
		for _, v := range list.Sessions {
			if v.Current {
				if a := b.do("DELETE", "/api/auth/sessions/"+v.ID, "").want(200); a.set["__Host-session"] == nil {
					t.Errorf("its own: %v", a.set)
				}
			}
		}
		b.do("GET", "/api/auth/sessions", "").refused("its own", holdfast.Unauthenticated)
	})
}

func TestHTTPPasswordsAndMail(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		other, better := s.harness.signIn("ann@example.com"), "staple battery horse"
		s.secret(better)
		b.do("POST", "/api/auth/password/change", form("oldPassword", "not the old one", "newPassword", better)).refused("wrong", holdfast.InvalidCredentials)
		b.do("POST", "/api/auth/password/change", form("oldPassword", goodPassword, "newPassword", "short")).refused("short", holdfast.InvalidArgument)
		b.do("POST", "/api/auth/password/change", form("oldPassword", goodPassword, "newPassword", better)).refused("change", "")
		if b.signedInAs() == "" || !s.revokedSessions()[other.Session.ID] {
			t.Error("all sessions but this one end")
		}

		b.do("POST", "/api/auth/email/verify/request", "").refused("verification", "")
		m := s.mail()
		s.secret(m.Code)
		s.program(t).do("POST", "/api/auth/email/verify", form("code", m.Code)).refused("verify", "")
		s.program(t).do("POST", "/api/auth/email/verify", form("code", m.Code)).refused("again", holdfast.InvalidArgument)
		if a := b.do("GET", "/api/auth/session", ""); !strings.Contains(string(a.body), `"emailVerified":true`) {
			t.Errorf("session: %s", a.body)
		}

		p := s.program(t)
		p.do("POST", "/api/auth/password/reset/request", form("email", "ann@example.com")).refused("reset", "")
		m = s.mail()
		s.secret(m.Code)
		p.do("POST", "/api/auth/password/reset", form("code", m.Code[1:]+m.Code[:1]+"x", "newPassword", goodPassword)).refused("wrong code", holdfast.InvalidArgument)
		p.do("POST", "/api/auth/password/reset", form("code", m.Code, "newPassword", goodPassword)).refused("reset", "")
		p.do("POST", "/api/auth/password/reset", form("code", m.Code, "newPassword", goodPassword)).refused("twice", holdfast.InvalidArgument)
		if who := b.signedInAs(); who != "" {
			t.Errorf("still %s after a reset", who)
		}
		b.signIn("ann@example.com")
	})
}

func TestHTTPSecondFactor(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		a := b.do("POST", "/api/auth/totp/enable", "").want(200)
		setup := TOTPSetup{Secret: a.text("secret"), URL: a.text("url")}
		if !strings.HasPrefix(setup.URL, "otpauth://") {
			t.Errorf("enable: %s", a.body)
		}
		b.do("POST", "/api/auth/totp/confirm", form("code", other(setup.code(t, 0)))).refused("wrong", holdfast.InvalidCredentials)
		var recovery recoveryAnswer
		b.do("POST", "/api/auth/totp/confirm", form("code", setup.code(t, 0))).want(200).into(&recovery)
		s.secret(recovery.RecoveryCodes...)
		if len(recovery.RecoveryCodes) != recoveryCodes {
			t.Errorf("recovery codes: %d", len(recovery.RecoveryCodes))
		}
		after(totpPeriod * time.Second)

		p := s.program(t)
		in := []string{"email", "ann@example.com", "password", goodPassword, "totpCode"}
		if a := p.do("POST", "/api/auth/sign-in", form(in[:4]...)).want(200); string(a.body) != "{\"requires2fa\":true}\n" {
			t.Errorf("without a code: %s", a.body)
		}
		if a := s.browser(t).do("POST", "/api/auth/sign-in", form(in[:4]...)).want(200); len(a.set) != 0 {
			t.Errorf("without a code: %v", a.set)
		}
		p.do("POST", "/api/auth/sign-in", form(append(in, other(setup.code(t, 0)))...)).refused("wrong code", holdfast.InvalidCredentials)
		p.do("POST", "/api/auth/sign-in", form(append(in, setup.code(t, 0))...)).refused("right code", "")
		p.do("POST", "/api/auth/sign-in", form(append(in, recovery.RecoveryCodes[0])...)).refused("recovery code", "")
		after(totpPeriod * time.Second)
		b.do("POST", "/api/auth/totp/recovery-codes", form("code", setup.code(t, 0))).want(200).into(&recovery)
		s.secret(recovery.RecoveryCodes...)
		b.do("POST", "/api/auth/totp/disable", form("code", recovery.RecoveryCodes[1])).refused("disable", "")
		p.do("POST", "/api/auth/sign-in", form(in[:4]...)).refused("off", "")
	})
}

func TestHTTPPasskeys(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		device := newAuthenticator()
		credential := func(made json.RawMessage, more string) string { return `{"credential":` + string(made) + more + `}` }
		begin := func() []byte { return b.do("POST", "/api/auth/passkeys/register/begin", "").want(200).body }
		k := b.do("POST", "/api/auth/passkeys/register/finish", credential(device.create(t, begin()), `,"name":"Phone"`)).want(200)
		if k.text("name") != "Phone" || k.text("id") == "" {
			t.Errorf("made: %s", k.body)
		}
		b.do("POST", "/api/auth/passkeys/register/finish", `{"credential":{}}`).refused("rubbish", holdfast.InvalidArgument)

		for _, body := range []string{"", "{}", form("email", "ann@example.com")} {
			page := s.browser(t)
			page.fetchCSRF()
			options := page.do("POST", "/api/auth/passkeys/challenge", body).want(200).body
			proof := device.get(t, options)
			page.do("POST", "/api/auth/passkeys/verify", credential(proof, ""), "X-CSRF-Token", "").refused("no CSRF token", holdfast.CSRFMismatch)
			a := page.do("POST", "/api/auth/passkeys/verify", credential(proof, "")).want(200)
			if a.text("accessToken") == "" || a.text("refreshToken") != "" || a.set["__Host-session"] == nil || page.signedInAs() != "ann@example.com" {
				t.Errorf("verify: %v %s", a.set, a.body)
			}
			page.do("POST", "/api/auth/passkeys/verify", credential(proof, "")).refused("replayed", holdfast.InvalidCredentials)
		}
		p := s.program(t)
		proof := device.get(t, p.do("POST", "/api/auth/passkeys/challenge", "").want(200).body)
		if a := p.do("POST", "/api/auth/passkeys/verify", credential(proof, "")).want(200); a.text("refreshToken") == "" || len(a.set) != 0 {
			t.Errorf("token mode: %s", a.body)
		}
		var list struct{ Passkeys []passkeyView }
		b.do("GET", "/api/auth/passkeys", "").want(200).into(&list)
		if len(list.Passkeys) != 1 || list.Passkeys[0].LastUsedAt == 0 {
			t.Errorf("list: %+v", list)
		}
		s.signedIn(t, "eve@example.com").do("DELETE", "/api/auth/passkeys/"+k.text("id"), "").refused("another user's", holdfast.NotFound)
		b.do("DELETE", "/api/auth/passkeys/"+k.text("id"), "").refused("delete", "")
		proof = device.get(t, p.do("POST", "/api/auth/passkeys/challenge", "").want(200).body)
		p.do("POST", "/api/auth/passkeys/verify", credential(proof, "")).refused("deleted", holdfast.InvalidCredentials)
	})
}

// Nothing that is about somebody goes without saying who.
func TestHTTPNeedsCredential(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		public := map[string]bool{"/auth/csrf": true, "/auth/session": true, "/auth/sign-out": true}
		for _, rt := range s.routes() {
			path := s.Handler.cfg.Prefix + strings.ReplaceAll(rt.path, "{id}", "x")
			body := ""
			if rt.method == http.MethodPost {
				body = "{}"
			}
			a := s.program(t).do(rt.method, path, body)
			switch {
			case public[rt.path] && a.status != 200, !public[rt.path] && a.status < 400 && rt.path != "/auth/passkeys/challenge":
				t.Errorf("%s: %d %s", a.what, a.status, a.body)
			case a.status == 401 && a.header.Get("WWW-Authenticate") != "Bearer":
				t.Errorf("%s: %q", a.what, a.header.Get("WWW-Authenticate"))
			}
			a = s.program(t).do("PUT", path, "{}")
			if allow := a.header.Get("Allow"); a.status != 405 || !strings.Contains(allow, rt.method) {
				t.Errorf("PUT %s: %d, Allow %q", path, a.status, allow)
			}
		}
		s.program(t).do("GET", "/api/auth/nothing", "").refused("no such call", holdfast.NotFound)
	})
}
