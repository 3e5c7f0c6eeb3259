package server

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// The ledger forgets what nothing could use any more, and a later entry is
// not forgotten with the one that it replaced.
func TestLedgerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ledger{lifetime: time.Hour}
		id := &holdfast.Identity{User: "u0", IssuedAt: time.Now()}
		revoke := func(user string) {
			g.revoke(auth.Revocation{User: user, Code: holdfast.SessionRevoked, Before: time.Now(), Until: time.Now().Add(time.Hour)})
		}
		for i := range 100 {
			revoke(fmt.Sprint("u", i))
			g.bump(auth.Bump{User: fmt.Sprint("u", i), At: time.Now()})
		}
		time.Sleep(30 * time.Minute)
		revoke("u0")
		if n := g.len(); n != 200 {
			t.Fatalf("%d entries, want 200", n)
		}
		time.Sleep(31 * time.Minute)
		g.bump(auth.Bump{User: "late", At: time.Now()})
		if n := g.len(); n != 2 {
			t.Errorf("%d entries are left, want the second revocation of u0 and the late bump", n)
		}
		if err := g.check(id); err == nil || err.Code != holdfast.SessionRevoked {
			t.Errorf("u0: %v", err)
		}
	})
}

// An older entry that arrives late changes nothing.
func TestLedgerKeepsTheLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ledger{lifetime: time.Hour}
		now := time.Now()
		g.revoke(auth.Revocation{User: "u", Code: holdfast.Forbidden, Before: now, Until: now.Add(time.Hour)})
		g.revoke(auth.Revocation{User: "u", Code: holdfast.SessionRevoked, Before: now.Add(-time.Minute), Until: now.Add(time.Hour)})
		g.bump(auth.Bump{User: "v", Version: 5, At: now})
		g.bump(auth.Bump{User: "v", Version: 4, At: now})
		if err := g.check(&holdfast.Identity{User: "u", IssuedAt: now}); err == nil || err.Code != holdfast.Forbidden {
			t.Errorf("u: %v", err)
		}
		version := int64(4)
		if err := g.check(&holdfast.Identity{User: "v", PermissionVersion: &version}); err == nil || err.Code != holdfast.PermissionVersionStale {
			t.Errorf("v: %v", err)
		}
	})
}
