package identity

import (
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestHTTPRefresh(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		session, first := b.cookie("__Host-session"), b.cookie("__Secure-refresh")
		b.do("POST", "/api/auth/refresh", "", "X-CSRF-Token", "").refused("by cookie, without CSRF token", holdfast.CSRFMismatch)
		b.do("POST", "/api/auth/refresh", "", "X-CSRF-Token", s.signedIn(t, "eve@example.com").csrf).refused("with another's", holdfast.CSRFMismatch)
		lost := b.copy()
		a := b.do("POST", "/api/auth/refresh", "").want(200)
		second := b.cookie("__Secure-refresh")
		if a.text("refreshToken") != "" || a.text("accessToken") == "" || a.text("sessionId") == "" || second == first || b.cookie("__Host-session") != session || len(a.set) != 1 {
			t.Errorf("refresh: %v %s", a.set, a.body)
		}
		if b.signedInAs() == "" {
			t.Error("the session is gone")
		}

		// The answer got lost, or another tab was as quick.
		after(DefaultRefreshGrace - time.Second)
		lost.do("POST", "/api/auth/refresh", "{}").want(200)
		if lost.cookie("__Secure-refresh") != second {
			t.Error("another successor within the grace")
		}
		third := b.do("POST", "/api/auth/refresh", "").want(200).set["__Secure-refresh"].Value
		if third == second {
			t.Error("not rotated")
		}

		// Stolen: the token of before the successor was used.
		thief := s.program(t)
		thief.do("POST", "/api/auth/refresh", form("refreshToken", first)).refused("reused", holdfast.RefreshReused)
		b.do("POST", "/api/auth/refresh", "").refused("the family is dead", holdfast.RefreshReused)
		b.do("POST", "/api/realtime/token", "").refused("and its session", holdfast.RefreshReused)
		if who := b.signedInAs(); who != "" {
			t.Errorf("still %s", who)
		}
		b.do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword)).refused("sign-in afterwards", "")
	})
}

func TestHTTPRefreshByBody(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		l := s.newUserLogin("ann@example.com")
		p := s.program(t)
		refresh := func(token string) *reply { return p.do("POST", "/api/auth/refresh", form("refreshToken", token)) }
		a := refresh(l.RefreshToken).want(200)
		after(DefaultRefreshGrace)
		if b := refresh(l.RefreshToken).want(200); b.text("refreshToken") != a.text("refreshToken") {
			t.Error("another successor within the grace")
		}
		after(time.Second)
		refresh(l.RefreshToken).refused("after the grace", holdfast.RefreshReused)
		refresh(a.text("refreshToken")).refused("the family is dead", holdfast.RefreshReused)

		for what, body := range map[string]string{"none": "", "an empty object": "{}", "an empty token": `{"refreshToken":""}`, "null": `{"refreshToken":null}`,
			"rubbish": `{"refreshToken":"hfr_rubbish"}`, "an access token": form("refreshToken", l.AccessToken), "a cookie": form("refreshToken", l.CookieSecret)} {
			p.do("POST", "/api/auth/refresh", body).refused(what, holdfast.Unauthenticated)
		}
		p.do("POST", "/api/auth/refresh", `{"refreshToken":1}`).refused("a number", holdfast.InvalidArgument)

		// The body decides, and is not replaced by the cookie.
		b := s.signedIn(t, "eve@example.com")
		b.do("POST", "/api/auth/refresh", form("refreshToken", "hfr_rubbish")).refused("a bad body", holdfast.Unauthenticated)
		before := b.cookie("__Secure-refresh")
		l = s.harness.signIn("ann@example.com")
		s.secret(l.RefreshToken)
		a = b.do("POST", "/api/auth/refresh", form("refreshToken", l.RefreshToken), "X-CSRF-Token", "").want(200)
		if a.text("refreshToken") == "" || len(a.set) != 0 || b.cookie("__Secure-refresh") != before {
			t.Errorf("by body, with cookies around: %v %s", a.set, a.body)
		}
	})
}

// However many tabs refresh at once, they get the same successor.
func TestHTTPRefreshAtOnce(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		const tabs = 20
		var wg sync.WaitGroup
		replies := make([]string, tabs)
		for i := range replies {
			tab := b.copy()
			wg.Go(func() {
				if a := tab.do("POST", "/api/auth/refresh", ""); a.status == 200 {
					replies[i] = a.set["__Secure-refresh"].Value
				}
			})
		}
		wg.Wait()
		for _, token := range replies {
			if token == "" || token != replies[0] {
				t.Fatal("the tabs have different tokens")
			}
		}
	})
}

// The cookies live as long as the session may, and not longer.
func TestHTTPCookieLifetime(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		for range 2 {
			after(10 * 24 * time.Hour)
			b.do("POST", "/api/auth/refresh", "").want(200)
		}
		after(9 * 24 * time.Hour)
		if b.signedInAs() == "" || b.cookie("__Secure-refresh") == "" {
			t.Error("not signed in after 29 days")
		}
		after(24*time.Hour + time.Second)
		if b.cookie("__Host-session") != "" || b.cookie("__Secure-refresh") != "" || b.cookie("csrf-token") != "" {
			t.Error("the cookies outlive the session")
		}
		if b.signedInAs() != "" {
			t.Error("signed in after 30 days")
		}
	})
}
