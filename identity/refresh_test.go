package identity

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestRefresh(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		first := h.signIn("ann@example.com")
		after(time.Hour)
		second, err := h.Refresh(ctx, first.RefreshToken, Client{UserAgent: "curl/8\x00", Addr: "[2001:db8::1]:443"})
		noError(t, err)
		if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken || second.CookieSecret != "" ||
			second.Session.ID != first.Session.ID || second.User.ID != first.User.ID || second.Session.UserAgent != "curl/8" || second.Session.Addr != "2001:db8::1" {
			t.Errorf("refreshed: %+v", second)
		}
		if want := time.Now().Add(DefaultAccessTokenLifetime).Truncate(time.Second); !second.ExpiresAt.Equal(want) {
			t.Errorf("expires at %v, want %v", second.ExpiresAt, want)
		}
		if want := time.Now().Add(DefaultRefreshIdle); !second.Session.Expires.Equal(want) {
			t.Errorf("the session expires at %v, want %v", second.Session.Expires, want)
		}
		id, err := h.Authenticate(ctx, auth.Credential{Token: second.AccessToken})
		noError(t, err)
		if id.User != first.User.ID || id.Session != first.Session.ID || id.TokenID == "" || id.PermissionVersion == nil || id.Issuer != "https://example.com" {
			t.Errorf("identity: %+v", id)
		}

		// A lost reply: the same token, the same successor, a fresh access token.
		after(DefaultRefreshGrace)
		again, err := h.Refresh(ctx, first.RefreshToken, home)
		noError(t, err)
		if again.RefreshToken != second.RefreshToken || again.AccessToken == second.AccessToken {
			t.Error("a repeat within the grace did not give the same successor")
		}

		// Once the successor is used, the grace is over.
		third, err := h.Refresh(ctx, second.RefreshToken, home)
		noError(t, err)
		_, err = h.Refresh(ctx, first.RefreshToken, home)
		wantCode(t, "used, and its successor too", err, holdfast.RefreshReused)
		if ended := h.revokedSessions(); len(ended) != 1 || !ended[first.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		for what, token := range map[string]string{"the good one": third.RefreshToken, "the one before": second.RefreshToken, "the reused one": first.RefreshToken} {
			_, err = h.Refresh(ctx, token, home)
			wantCode(t, what+" of a dead family", err, holdfast.RefreshReused)
		}
		_, _, err = h.SessionByCookie(ctx, first.CookieSecret)
		wantCode(t, "cookie of a dead family", err, holdfast.RefreshReused)
		if again := h.takeRevoked(); len(again) != 0 {
			t.Errorf("told again: %v", again)
		}
		log := h.logged()
		if !strings.Contains(log, "refresh token") || !strings.Contains(log, first.Session.ID) {
			t.Errorf("not logged: %s", log)
		}
		for _, secret := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken, first.CookieSecret, third.AccessToken, goodPassword} {
			if strings.Contains(log, secret) || strings.Contains(log, strings.TrimPrefix(secret, refreshPrefix)[:20]) {
				t.Error("the log holds a secret")
			}
		}
	})
}

func TestRefreshGrace(t *testing.T) {
	for name, c := range map[string]struct {
		grace, wait time.Duration
		want        holdfast.Code
	}{
		"within":           {0, DefaultRefreshGrace, ""},
		"over":             {0, DefaultRefreshGrace + time.Millisecond, holdfast.RefreshReused},
		"of its own":       {time.Minute, time.Minute, ""},
		"of its own, over": {time.Minute, time.Minute + time.Millisecond, holdfast.RefreshReused},
		"none":             {-1, 0, holdfast.RefreshReused},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(cfg *Config) { cfg.RefreshGrace = c.grace }, func(t *testing.T, h *harness) {
				h.user("ann@example.com")
				l := h.signIn("ann@example.com")
				_, err := h.Refresh(t.Context(), l.RefreshToken, home)
				noError(t, err)
				after(c.wait)
				_, err = h.Refresh(t.Context(), l.RefreshToken, home)
				wantCode(t, "again", err, c.want)
			})
		})
	}
}

func TestRefreshRefused(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		_, unknown := newRefreshFamily()
		for what, token := range map[string]string{
			"none":             "",
			"unknown":          unknown,
			"an access token":  l.AccessToken,
			"a cookie":         l.CookieSecret,
			"cut":              l.RefreshToken[:len(l.RefreshToken)-1],
			"long":             l.RefreshToken + "A",
			"without prefix":   l.RefreshToken[len(refreshPrefix):],
			"not base64url":    l.RefreshToken[:len(l.RefreshToken)-1] + "!",
			"a line end in it": l.RefreshToken[:50] + "\n" + l.RefreshToken[51:],
		} {
			_, err := h.Refresh(ctx, token, home)
			wantCode(t, what, err, holdfast.Unauthenticated)
		}
		// None of them was of the family; this one is, and never was issued by us
		// again: somebody has seen a token of it.
		family, _ := refreshFamily(l.RefreshToken)
		_, err := h.Refresh(ctx, newRefreshToken(family), home)
		wantCode(t, "a token of the family", err, holdfast.RefreshReused)
		_, err = h.Refresh(ctx, l.RefreshToken, home)
		wantCode(t, "the good one, then", err, holdfast.RefreshReused)
	})
}

func TestRefreshExpiry(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		idle := h.signIn("ann@example.com")
		after(DefaultRefreshIdle)
		_, err := h.Refresh(ctx, idle.RefreshToken, home)
		wantCode(t, "idle", err, holdfast.Unauthenticated)
		_, _, err = h.SessionByCookie(ctx, idle.CookieSecret)
		wantCode(t, "idle, cookie", err, holdfast.Unauthenticated)

		l := h.signIn("ann@example.com")
		token := l.RefreshToken
		for range 29 {
			after(24 * time.Hour)
			l, err = h.Refresh(ctx, token, home)
			noError(t, err)
			token = l.RefreshToken
		}
		after(24*time.Hour - time.Minute)
		l, err = h.Refresh(ctx, token, home)
		noError(t, err)
		if left := time.Until(l.ExpiresAt); left > time.Minute {
			t.Errorf("the access token outlives its session by %v", left-time.Minute)
		}
		after(time.Minute)
		_, err = h.Refresh(ctx, l.RefreshToken, home)
		wantCode(t, "in all", err, holdfast.Unauthenticated)
		if sessions, err := h.Sessions(ctx, l.User.ID); err != nil || len(sessions) != 0 {
			t.Errorf("sessions left: %v, %v", sessions, err)
		}
	})
}

// A hundred refreshes of one token at once: two tabs, many times over.
func TestRefreshParallel(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		for range 3 {
			const n = 100
			var wg sync.WaitGroup
			logins, errs := make([]Login, n), make([]error, n)
			for i := range n {
				wg.Go(func() { logins[i], errs[i] = h.Refresh(t.Context(), l.RefreshToken, home) })
			}
			wg.Wait()
			successors := make(map[string]int)
			for i := range n {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				successors[logins[i].RefreshToken]++
			}
			if len(successors) != 1 {
				t.Fatalf("%d successors of one token", len(successors))
			}
			l = logins[0]
		}
	})
}

// Sign-out while refreshes are under way: whatever they got is worthless.
func TestRefreshAgainstSignOut(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		for range 20 {
			l := h.signIn("ann@example.com")
			var wg sync.WaitGroup
			var mu sync.Mutex
			got := []Login{l}
			for range 6 {
				wg.Go(func() {
					token := l.RefreshToken
					for range 3 {
						next, err := h.Refresh(ctx, token, home)
						if err != nil {
							if code := holdfast.CodeOf(err); code != holdfast.SessionRevoked && code != holdfast.RefreshReused {
								t.Error(err)
							}
							return
						}
						mu.Lock()
						got = append(got, next)
						mu.Unlock()
						token = next.RefreshToken
					}
				})
			}
			var ended error
			wg.Go(func() { ended = h.SignOut(ctx, l.Session.ID) })
			wg.Wait()
			noError(t, ended)
			revoked := h.takeRevoked()
			if len(revoked) != 1 || revoked[0].Session != l.Session.ID {
				t.Fatalf("told: %+v", revoked)
			}
			for _, l := range got {
				if next, err := h.Refresh(ctx, l.RefreshToken, home); err == nil {
					t.Fatalf("refreshed after sign-out: %+v", next.Session)
				}
				id, err := h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
				noError(t, err)
				if !revoked[0].Refuses(id) {
					t.Errorf("a token of %v is not refused by %+v", id.IssuedAt, revoked[0])
				}
			}
		}
	})
}

// The successor is kept so that who has the database alone can't read it, and
// no longer than it is wanted.
func TestRefreshAtRest(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		first := h.signIn("ann@example.com")
		second, err := h.Refresh(ctx, first.RefreshToken, home)
		noError(t, err)
		sealed := func() []byte {
			var b []byte
			_, err := one(h.db.read.QueryRowContext(ctx, `SELECT previous_sealed FROM sessions`), &b)
			noError(t, err)
			return b
		}
		before := sealed()
		if len(before) == 0 || bytes.Contains(before, []byte(second.RefreshToken)) {
			t.Fatalf("sealed: %q", before)
		}
		for what, key := range map[string][]byte{
			"the successor": successorKey(second.RefreshToken), "the hash": hashSecret(first.RefreshToken), "the master key": h.vault.key("x"),
		} {
			if _, err := unseal(key, first.Session.ID, before); err == nil {
				t.Errorf("opened by %s", what)
			}
		}
		if plain, err := unseal(successorKey(first.RefreshToken), first.Session.ID, before); err != nil || string(plain) != second.RefreshToken {
			t.Errorf("opened: %v", err)
		}
		after(DefaultRefreshGrace + time.Second)
		noError(t, h.cleanOnce(ctx))
		if left := sealed(); left != nil {
			t.Error("a sealed successor is left after the grace")
		}
		third, err := h.Refresh(ctx, second.RefreshToken, home)
		noError(t, err)
		noError(t, h.SignOut(ctx, third.Session.ID))
		if left := sealed(); left != nil {
			t.Error("a sealed successor is left after sign-out")
		}
	})
}

// Every step of a refresh fails, in every way, and nothing is lost: the next
// try with the same token succeeds.
func TestRefreshFaults(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			eachFault(t, kind, func(t *testing.T, h *harness, f *faults, kind faultKind, step int) (more bool) {
				l := h.signIn("ann@example.com")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				f.arm(kind, step, cancel)
				_, err := h.Refresh(ctx, l.RefreshToken, home)
				hit, committed := f.disarm()
				h.wait()
				if !hit {
					noError(t, err)
					return false
				}
				if err == nil && kind != cancelBefore {
					t.Fatalf("step %d: a fault was not noticed", step)
				}
				next, err := h.Refresh(t.Context(), l.RefreshToken, home)
				if err != nil {
					t.Fatalf("fault %d at step %d (committed: %v): %v", kind, step, committed, err)
				}
				if _, err := h.Refresh(t.Context(), next.RefreshToken, home); err != nil {
					t.Fatalf("fault %d at step %d, one later: %v", kind, step, err)
				}
				return true
			})
		})
	}
}
