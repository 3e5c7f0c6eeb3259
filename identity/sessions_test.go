package identity

import (
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestSessions(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann, bob := h.user("ann@example.com"), h.user("bob@example.com")
		first := h.signIn("ann@example.com")
		after(time.Second)
		second := h.signIn("ann@example.com")
		others := h.signIn("bob@example.com")
		list, err := h.Sessions(ctx, ann.ID)
		noError(t, err)
		if len(list) != 2 || list[0].ID != second.Session.ID || list[1].ID != first.Session.ID || list[0].UserAgent != firefox || list[0].User != ann.ID {
			t.Errorf("devices: %+v", list)
		}

		s, u, err := h.SessionByCookie(ctx, first.CookieSecret)
		noError(t, err)
		if s.ID != first.Session.ID || u.ID != ann.ID {
			t.Errorf("by cookie: %+v %+v", s, u)
		}
		for what, secret := range map[string]string{"none": "", "the sid": first.Session.ID, "unknown": newSecret(), "a refresh token": first.RefreshToken} {
			_, _, err := h.SessionByCookie(ctx, secret)
			wantCode(t, what, err, holdfast.Unauthenticated)
		}

		token, expires, err := h.AccessToken(ctx, first.Session.ID)
		noError(t, err)
		id, err := h.Authenticate(ctx, auth.Credential{Token: token})
		noError(t, err)
		if id.User != ann.ID || id.Session != first.Session.ID || !id.Expires.Equal(expires) {
			t.Errorf("token: %+v", id)
		}
		_, _, err = h.AccessToken(ctx, "nothing")
		wantCode(t, "token of nothing", err, holdfast.Unauthenticated)

		wantCode(t, "another user's", h.EndSession(ctx, bob.ID, first.Session.ID), holdfast.NotFound)
		wantCode(t, "nothing", h.EndSession(ctx, ann.ID, "nothing"), holdfast.NotFound)
		if told := h.takeRevoked(); len(told) != 0 {
			t.Errorf("told: %v", told)
		}
		noError(t, h.EndSession(ctx, ann.ID, first.Session.ID))
		told := h.takeRevoked()
		if len(told) != 1 || told[0].Session != first.Session.ID || told[0].Code != holdfast.SessionRevoked || !told[0].Refuses(id) {
			t.Errorf("told: %+v", told)
		}
		late := *id // made while the session ended, or by a clock that is ahead
		late.IssuedAt = timeNow().Add(revokeMargin - time.Second)
		if len(told) == 1 && !told[0].Refuses(&late) {
			t.Error("a token that was being made is not refused")
		}
		wantCode(t, "twice", h.EndSession(ctx, ann.ID, first.Session.ID), holdfast.NotFound)
		_, _, err = h.SessionByCookie(ctx, first.CookieSecret)
		wantCode(t, "ended, cookie", err, holdfast.SessionRevoked)
		_, _, err = h.AccessToken(ctx, first.Session.ID)
		wantCode(t, "ended, token", err, holdfast.SessionRevoked)
		_, err = h.CookieIdentity(ctx, first.CookieSecret)
		wantCode(t, "ended, identity", err, holdfast.SessionRevoked)

		noError(t, h.SignOut(ctx, second.Session.ID))
		noError(t, h.SignOut(ctx, second.Session.ID))
		noError(t, h.SignOut(ctx, "nothing"))
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[second.Session.ID] {
			t.Errorf("told: %v", ended)
		}

		third, fourth := h.signIn("ann@example.com"), h.signIn("ann@example.com")
		noError(t, h.EndSessions(ctx, ann.ID, fourth.Session.ID))
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[third.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		noError(t, h.EndSessions(ctx, ann.ID, ""))
		if list, err := h.Sessions(ctx, ann.ID); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
		if _, _, err := h.SessionByCookie(ctx, others.CookieSecret); err != nil {
			t.Error("somebody else's has ended:", err)
		}
	})
}

// A cookie keeps its session alive by being used.
func TestSessionIdle(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		after(touchEvery - time.Millisecond)
		s, _, err := h.SessionByCookie(ctx, l.CookieSecret)
		noError(t, err)
		if !s.LastUsed.Equal(l.Session.LastUsed) {
			t.Error("noted too often")
		}
		for range 29 {
			after(24 * time.Hour)
			s, _, err = h.SessionByCookie(ctx, l.CookieSecret)
			noError(t, err)
		}
		if want := l.Session.Created.Add(DefaultRefreshTotal); !s.Expires.Equal(want) || !s.LastUsed.Equal(timeNow()) {
			t.Errorf("expires %v, want %v; last used %v", s.Expires, want, s.LastUsed)
		}
		if id, err := h.CookieIdentity(ctx, l.CookieSecret); err != nil || !id.Expires.Equal(s.Expires) || !id.IssuedAt.Equal(l.Session.Created) {
			t.Errorf("identity: %+v, %v", id, err)
		}
		after(time.Until(s.Expires))
		_, _, err = h.SessionByCookie(ctx, l.CookieSecret)
		wantCode(t, "at its end", err, holdfast.Unauthenticated)
	})
}

func TestSessionLimit(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		first := h.signIn("ann@example.com")
		after(time.Second)
		second := h.signIn("ann@example.com")
		for range maxSessions - 2 {
			after(time.Second)
			h.signIn("ann@example.com")
		}
		_, err := h.Refresh(ctx, first.RefreshToken, home) // used: not the oldest any more
		noError(t, err)
		if told := h.takeRevoked(); len(told) != 0 {
			t.Errorf("told: %v", told)
		}
		h.signIn("ann@example.com")
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[second.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		if list, err := h.Sessions(ctx, ann.ID); err != nil || len(list) != maxSessions {
			t.Errorf("%d sessions, %v", len(list), err)
		}
	})
}

func TestAuthenticate(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		for what, c := range map[string]auth.Credential{
			"none":            {},
			"rubbish":         {Token: "a.b.c"},
			"a refresh token": {Token: l.RefreshToken},
			"a cookie":        {Token: l.CookieSecret},
		} {
			_, err := h.Authenticate(ctx, c)
			wantCode(t, what, err, holdfast.Unauthenticated)
		}
		if id, err := h.Authenticate(ctx, auth.Credential{Payload: []byte(`{"token":"` + l.AccessToken + `"}`)}); err != nil || id.User != l.User.ID {
			t.Errorf("payload: %v", err)
		}
		after(DefaultAccessTokenLifetime + auth.DefaultLeeway)
		_, err := h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		wantCode(t, "expired", err, holdfast.TokenExpired)

		// Another issuer or audience takes none of it, though the keys are the same.
		l = h.signIn("ann@example.com")
		for what, change := range map[string]func(*Config){
			"issuer": func(c *Config) { c.Issuer = "https://other.example" }, "audience": func(c *Config) { c.Audience = "other" },
		} {
			_, err := h.another(change).Authenticate(ctx, auth.Credential{Token: l.AccessToken})
			wantCode(t, "another "+what, err, holdfast.Unauthenticated)
		}
	})
}
