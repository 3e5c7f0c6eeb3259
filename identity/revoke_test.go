package identity

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestRevocationStore(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		now := timeNow()
		want := map[string]auth.Revocation{
			"user":    {User: "u", Code: holdfast.SessionRevoked, Before: now, Until: now.Add(time.Hour)},
			"session": {Session: "s", Code: holdfast.Forbidden, Before: now, Until: now.Add(2 * time.Hour)},
			"token":   {TokenID: "j", Code: holdfast.GoingAway, Before: now, Until: now.Add(3 * time.Hour)},
			"both":    {User: "u", Session: "s", Code: holdfast.SessionRevoked, Before: now, Until: now.Add(4 * time.Hour)},
		}
		same := func(left int) {
			t.Helper()
			list, err := h.Revocations(ctx)
			noError(t, err)
			if len(list) != left {
				t.Errorf("%d revocations, want %d: %+v", len(list), left, list)
			}
			for _, got := range list {
				found := false
				for _, r := range want {
					found = found || got.User == r.User && got.Session == r.Session && got.TokenID == r.TokenID &&
						got.Code == r.Code && got.Before.Equal(r.Before) && got.Until.Equal(r.Until)
				}
				if !found {
					t.Errorf("not saved like that: %+v", got)
				}
			}
		}
		for range 2 {
			for _, r := range want {
				noError(t, h.SaveRevocation(ctx, r))
			}
			same(4)
		}
		wantCode(t, "of nothing", h.SaveRevocation(ctx, auth.Revocation{Code: holdfast.SessionRevoked}), holdfast.InvalidArgument)
		h.close() // over a restart
		h.open()
		same(4)
		if told := h.takeRevoked(); len(told) != 0 {
			t.Errorf("told what it was told: %+v", told)
		}

		// An earlier one changes nothing, a later one everything.
		early := want["user"]
		early.Before, early.Until = early.Before.Add(-time.Minute), early.Until.Add(-time.Minute)
		noError(t, h.SaveRevocation(ctx, early))
		same(4)
		late := want["user"]
		late.Before, late.Until, late.Code = now.Add(time.Minute), now.Add(90*time.Minute), holdfast.Forbidden
		noError(t, h.SaveRevocation(ctx, late))
		want["user"] = late
		same(4)

		after(time.Until(late.Until))
		same(3)
		noError(t, h.cleanOnce(ctx))
		same(3)
		after(24 * time.Hour)
		same(0)
		noError(t, h.cleanOnce(ctx))
		same(0)
	})
}

// What is revoked from outside doesn't come back by a refresh.
func TestSaveRevocationEndsSessions(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		h.user("bob@example.com")
		bob := h.signIn("bob@example.com")
		a, b := h.signIn("ann@example.com"), h.signIn("ann@example.com")
		save := func(r auth.Revocation) {
			t.Helper()
			r.Before, r.Until = timeNow(), timeNow().Add(time.Hour)
			noError(t, h.SaveRevocation(ctx, r))
		}
		save(auth.Revocation{User: ann.ID, Code: holdfast.GoingAway})
		save(auth.Revocation{TokenID: "j", Code: holdfast.SessionRevoked})
		a, err := h.Refresh(ctx, a.RefreshToken, home)
		wantCode(t, "sent away alone", err, "")
		save(auth.Revocation{Session: a.Session.ID, Code: holdfast.Forbidden})
		_, err = h.Refresh(ctx, a.RefreshToken, home)
		wantCode(t, "session", err, holdfast.SessionRevoked)
		cookie := b.CookieSecret
		b, err = h.Refresh(ctx, b.RefreshToken, home)
		wantCode(t, "the other session", err, "")
		after(2 * time.Second)
		save(auth.Revocation{User: ann.ID, Code: holdfast.SessionRevoked})
		_, err = h.Refresh(ctx, b.RefreshToken, home)
		wantCode(t, "user", err, holdfast.SessionRevoked)
		_, _, err = h.SessionByCookie(ctx, cookie)
		wantCode(t, "user, by cookie", err, holdfast.SessionRevoked)

		after(time.Second)
		later := h.signIn("ann@example.com")
		again := auth.Revocation{User: ann.ID, Code: holdfast.SessionRevoked, Before: timeNow().Add(-time.Second), Until: timeNow().Add(time.Hour)}
		noError(t, h.SaveRevocation(ctx, again))
		_, err = h.Refresh(ctx, later.RefreshToken, home)
		wantCode(t, "a login made afterwards", err, "")
		_, err = h.Refresh(ctx, bob.RefreshToken, home)
		wantCode(t, "somebody else", err, "")
	})
}

func TestBumpStore(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		id, err := h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		noError(t, err)
		start := timeNow()
		for i := range int64(3) {
			after(time.Second)
			b, err := h.BumpPermissions(ctx, ann.ID)
			noError(t, err)
			if b.User != ann.ID || b.Version != i+1 || !b.At.Equal(timeNow()) || !b.Stale(id) {
				t.Errorf("bump: %+v", b)
			}
		}
		_, err = h.BumpPermissions(ctx, "auth0|somebody else's user")
		noError(t, err)
		for _, user := range []string{"", string(make([]byte, 300))} {
			_, err = h.BumpPermissions(ctx, user)
			wantCode(t, "user id", err, holdfast.InvalidArgument)
		}
		list, err := h.Bumps(ctx, time.Time{})
		noError(t, err)
		if len(list) != 2 {
			t.Errorf("bumps: %+v", list)
		}
		list, err = h.Bumps(ctx, start.Add(3*time.Second))
		if err != nil || len(list) != 2 {
			t.Errorf("since: %+v, %v", list, err)
		}
		list, err = h.Bumps(ctx, start.Add(3*time.Second+time.Millisecond))
		if err != nil || len(list) != 0 {
			t.Errorf("after: %+v, %v", list, err)
		}
		l, err = h.Refresh(ctx, l.RefreshToken, home)
		noError(t, err)
		id, err = h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		noError(t, err)
		if *id.PermissionVersion != 3 {
			t.Errorf("pv %d", *id.PermissionVersion)
		}
		if told := h.takeBumped(); len(told) != 0 {
			t.Errorf("told what the caller knows: %+v", told)
		}
	})
}

// What another process does is told here within the interval, once.
func TestWatch(t *testing.T) {
	eachDatabase(t, func(c *Config) { c.WatchInterval = 0 }, func(t *testing.T, h *harness) {
		ctx := t.Context()
		other := h.another(nil)
		ann := h.user("ann@example.com")
		a, b := h.signIn("ann@example.com"), h.signIn("ann@example.com")
		noError(t, other.EndSession(ctx, ann.ID, a.Session.ID))
		_, err := other.Grant(ctx, ann.ID, Grants{Roles: []string{"editor"}})
		noError(t, err)
		_, err = other.BumpPermissions(ctx, "elsewhere")
		noError(t, err)
		after(500 * time.Millisecond)
		h.wait()
		if told := h.takeRevoked(); len(told) != 1 || told[0].Session != a.Session.ID {
			t.Errorf("told: %+v", told)
		}
		if told := h.takeBumped(); len(told) != 2 {
			t.Errorf("told: %+v", told)
		}
		noError(t, h.EndSession(ctx, ann.ID, b.Session.ID)) // by this process
		if told := h.takeRevoked(); len(told) != 1 || told[0].Session != b.Session.ID {
			t.Errorf("told: %+v", told)
		}
		_, err = h.BumpPermissions(ctx, ann.ID)
		noError(t, err)
		noError(t, h.SaveRevocation(ctx, auth.Revocation{TokenID: "j", Code: holdfast.SessionRevoked, Before: timeNow(), Until: timeNow().Add(time.Hour)}))
		after(5 * time.Minute)
		h.wait()
		if revoked, bumped := h.takeRevoked(), h.takeBumped(); len(revoked)+len(bumped) != 0 {
			t.Errorf("told again: %+v %+v", revoked, bumped)
		}
		h.announce.mu.Lock()
		if n := len(h.announce.seen); n != 0 {
			t.Errorf("%d announcements are remembered for ever", n)
		}
		h.announce.mu.Unlock()
	})
}

// Every step of ending a session fails, in every way: the next try ends it,
// and whoever has to be told is.
func TestEndSessionFaults(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			eachFault(t, kind, func(t *testing.T, h *harness, f *faults, kind faultKind, step int) (more bool) {
				l := h.signIn("ann@example.com")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				f.arm(kind, step, cancel)
				err := h.SignOut(ctx, l.Session.ID)
				hit, committed := f.disarm()
				h.wait()
				if !hit {
					noError(t, err)
					return false
				}
				noError(t, h.SignOut(t.Context(), l.Session.ID))
				_, err = h.Refresh(t.Context(), l.RefreshToken, home)
				wantCode(t, "refresh after sign-out", err, holdfast.SessionRevoked)
				list, err := h.Revocations(t.Context())
				noError(t, err)
				stored := false
				for _, r := range list {
					stored = stored || r.Session == l.Session.ID
				}
				if !stored {
					t.Errorf("fault %d at step %d (committed: %v): ended and not revoked", kind, step, committed)
				}
				return true
			})
		})
	}
}
