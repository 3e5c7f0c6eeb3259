package identity

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// TestRefreshModel lets an honest user and a thief use one family of refresh
// tokens in every order, with lost replies, faults at every step, sign-out and
// the passing of time in between, and compares with a model. What has to hold
// whatever the model says is in check.
func TestRefreshModel(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := newDatabase(t, kind)
			users := 0
			checkInBubble(t, func(t *testing.T, r *rapid.T) {
				h := newHarness(t, cfg, nil)
				f := &faults{}
				h.wrap = f.wrap
				h.open()
				users++
				m := newRefreshModel(h, f, fmt.Sprintf("user%d@example.com", users))
				r.Repeat(map[string]func(*rapid.T){
					"":        m.check,
					"honest":  m.honestRefreshes,
					"steal":   m.thiefSteals,
					"thief":   m.thiefRefreshes,
					"cookie":  m.cookieIsUsed,
					"wait":    m.timePasses,
					"signout": m.signsOut,
					"clean":   m.cleans,
				})
			})
		})
	}
}

// checkInBubble checks a property in a bubble of its own each time: rapid
// itself needs the real clock.
func checkInBubble(t *testing.T, property func(t *testing.T, r *rapid.T)) {
	rapid.Check(t, func(r *rapid.T) {
		var failure any // how rapid ends a property
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			property(t, r)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// refreshModel is what should be, and what was seen.
type refreshModel struct {
	h *harness
	f *faults

	// The model of the family.
	session           string
	cookie            string
	good, previous    string
	rotated, lastUsed time.Time
	ends              time.Time
	ended             holdfast.Code // "" while it lives

	// What both sides have.
	honest string   // the token that the honest user has stored
	loot   []string // those that the thief has stolen or been given

	// What was seen.
	successors map[string]string    // of each presented token
	deadline   map[string]time.Time // after which a stolen token must be dead
	refused    bool                 // the family was seen to be dead
	access     []string             // access tokens given out
	told       []auth.Revocation
}

func newRefreshModel(h *harness, f *faults, email string) *refreshModel {
	h.t.Helper()
	h.user(email)
	l := h.signIn(email)
	h.takeRevoked()
	now := time.Now()
	return &refreshModel{
		h: h, f: f, session: l.Session.ID, cookie: l.CookieSecret,
		good: l.RefreshToken, rotated: now, lastUsed: now, ends: now.Add(DefaultRefreshTotal),
		honest: l.RefreshToken, access: []string{l.AccessToken},
		successors: make(map[string]string), deadline: make(map[string]time.Time),
	}
}

// expected is what presenting a token should lead to: a code, or "".
func (m *refreshModel) expected(token string, now time.Time) holdfast.Code {
	switch {
	case m.ended != "":
		return m.ended
	case !now.Before(m.expires()):
		return holdfast.Unauthenticated
	case token == m.good, token == m.previous && now.Sub(m.rotated) <= DefaultRefreshGrace:
		return ""
	}
	return holdfast.RefreshReused
}

func (m *refreshModel) expires() time.Time {
	return earlier(m.lastUsed.Add(DefaultRefreshIdle), m.ends)
}

// present presents a token, perhaps with a fault, and perhaps losing the
// reply. It returns the login if one was received.
func (m *refreshModel) present(t *rapid.T, token string) (Login, bool) {
	ctx, cancel := context.WithCancel(m.h.t.Context())
	defer cancel()
	faulty := rapid.IntRange(0, 2).Draw(t, "faulty") == 0
	if faulty {
		m.f.arm(faultKind(rapid.IntRange(0, int(faultKinds)-1).Draw(t, "kind")), rapid.IntRange(0, 6).Draw(t, "step"), cancel)
	}
	now := timeNow()
	want := m.expected(token, now)
	l, err := m.h.Refresh(ctx, token, home)
	hit, committed := m.f.disarm()
	if !hit {
		committed = true // nothing was in the way
	}
	m.h.wait()
	got := holdfast.CodeOf(err)
	if hit && err != nil && got != want {
		// It failed on the way; whether it counts is whether it was committed.
		if got != holdfast.Internal {
			t.Fatalf("a fault gave %v", err)
		}
	} else if got != want {
		t.Fatalf("presented: %q (%v), want %q", got, err, want)
	}
	switch {
	case want == "" && token == m.good && committed:
		successor := l.RefreshToken
		if err != nil { // rotated, and nobody was told: ask the database's seal
			successor = m.unseal(t, token)
		}
		m.previous, m.good, m.rotated, m.lastUsed = token, successor, now, now
	case want == holdfast.RefreshReused && m.ended == "" && committed:
		m.ended = holdfast.RefreshReused
	}
	if want == holdfast.RefreshReused && m.ended == "" && err != nil && got == want {
		t.Fatal("reuse was reported and not stored")
	}
	if err != nil {
		m.refused = m.refused || !hit
		return Login{}, false
	}
	m.received(t, token, l, now)
	if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
		return Login{}, false
	}
	return l, true
}

// received checks what a presented token gave.
func (m *refreshModel) received(t *rapid.T, token string, l Login, now time.Time) {
	if m.refused {
		t.Fatal("a dead family came back to life")
	}
	if before, ok := m.successors[token]; ok && before != l.RefreshToken {
		t.Fatal("a token has two successors")
	}
	for other, successor := range m.successors {
		if other != token && successor == l.RefreshToken {
			t.Fatal("two tokens have one successor")
		}
	}
	if dead, ok := m.deadline[token]; ok && now.After(dead) {
		t.Fatalf("a stolen token lived %v longer than the honest user's next refresh and the grace", now.Sub(dead))
	}
	m.successors[token] = l.RefreshToken
	m.access = append(m.access, l.AccessToken)
}

// unseal finds the successor of a token where the reply with it was lost.
func (m *refreshModel) unseal(t *rapid.T, token string) string {
	var sealed []byte
	row := m.h.db.read.QueryRowContext(m.h.t.Context(), `SELECT previous_sealed FROM sessions WHERE id = $1`, m.session)
	if _, err := one(row, &sealed); err != nil {
		t.Fatal(err)
	}
	plain, err := unseal(successorKey(token), m.session, sealed)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func (m *refreshModel) honestRefreshes(t *rapid.T) {
	token := m.honest
	if l, ok := m.present(t, token); ok {
		m.honest = l.RefreshToken
		for _, stolen := range m.loot {
			if _, ok := m.deadline[stolen]; !ok && stolen != m.good {
				m.deadline[stolen] = timeNow().Add(DefaultRefreshGrace)
			}
		}
	}
}

func (m *refreshModel) thiefSteals(*rapid.T) {
	if !slices.Contains(m.loot, m.honest) {
		m.loot = append(m.loot, m.honest)
	}
}

func (m *refreshModel) thiefRefreshes(t *rapid.T) {
	if len(m.loot) == 0 {
		t.Skip("nothing was stolen")
	}
	if l, ok := m.present(t, rapid.SampledFrom(m.loot).Draw(t, "loot")); ok && !slices.Contains(m.loot, l.RefreshToken) {
		m.loot = append(m.loot, l.RefreshToken)
	}
}

func (m *refreshModel) cookieIsUsed(t *rapid.T) {
	want := m.expected(m.good, timeNow())
	_, _, err := m.h.SessionByCookie(m.h.t.Context(), m.cookie)
	if got := holdfast.CodeOf(err); got != want {
		t.Fatalf("cookie: %q (%v), want %q", got, err, want)
	}
	if err == nil && timeNow().Sub(m.lastUsed) >= touchEvery {
		m.lastUsed = timeNow()
	}
}

func (m *refreshModel) timePasses(t *rapid.T) {
	wait := time.Duration(rapid.SampledFrom([]int{1, 1000, 29_999, 30_000, 30_001, 900_000, 86_400_000, 600_000_000}).Draw(t, "ms")) * time.Millisecond
	if left := time.Until(m.expires()); left > 0 && m.ended == "" {
		switch rapid.IntRange(0, 5).Draw(t, "until") {
		case 0:
			wait = left
		case 1, 2:
			wait = left - time.Millisecond
		}
	}
	after(wait)
}

func (m *refreshModel) signsOut(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
		t.Skip("not yet")
	}
	live := m.expected(m.good, timeNow()) == "" || m.ended == ""
	if err := m.h.SignOut(m.h.t.Context(), m.session); err != nil {
		t.Fatal(err)
	}
	if live {
		m.ended = holdfast.SessionRevoked
	}
	m.refused = true
}

// cleans runs the cleaner at any time. What it removes is of no use.
func (m *refreshModel) cleans(t *rapid.T) {
	gone := !timeNow().Before(m.expires())
	if err := m.h.cleanOnce(m.h.t.Context()); err != nil {
		t.Fatal(err)
	}
	if gone {
		m.ended = holdfast.Unauthenticated // not even known any more
	}
}

// check holds after each step.
func (m *refreshModel) check(t *rapid.T) {
	m.told = append(m.told, m.h.takeRevoked()...)
	ctx := m.h.t.Context()
	var row struct {
		token, previous []byte
		ended           int64
	}
	ok, err := one(m.h.db.read.QueryRowContext(ctx, `SELECT token_hash, previous_hash, ended FROM sessions WHERE id = $1`, m.session), &row.token, &row.previous, &row.ended)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return // cleaned up
	}
	// One live successor: of all tokens ever given out, one is good.
	if string(row.token) != string(hashSecret(m.good)) {
		t.Fatal("the good token is not the one that the model has")
	}
	// Those who have to be told that the family is dead were told, for every
	// access token of it.
	if dead := m.ended == holdfast.RefreshReused || m.ended == holdfast.SessionRevoked; dead != (row.ended != 0) {
		t.Fatalf("the model says %q, the database %d", m.ended, row.ended)
	}
	if row.ended == 0 {
		return
	}
	revocations, err := m.h.Revocations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range m.access {
		id, err := m.h.Verify(ctx, token)
		if err != nil {
			continue // expired
		}
		if !slices.ContainsFunc(revocations, func(r auth.Revocation) bool { return r.Refuses(id) }) {
			t.Fatalf("a token of a dead family is not revoked: %+v", id)
		}
	}
}
