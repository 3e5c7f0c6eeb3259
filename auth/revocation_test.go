package auth_test

import (
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestRevocationRefuses(t *testing.T) {
	at := time.Unix(1000, 500_000_000)
	second := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, tc := range []struct {
		name string
		r    auth.Revocation
		id   holdfast.Identity
		want bool
	}{
		{"issued before", auth.Revocation{User: "a"}, holdfast.Identity{User: "a", IssuedAt: second(999)}, true},
		{"issued in the same second", auth.Revocation{User: "a"}, holdfast.Identity{User: "a", IssuedAt: second(1000)}, true},
		{"issued in the next second", auth.Revocation{User: "a"}, holdfast.Identity{User: "a", IssuedAt: second(1001)}, false},
		{"a session made just before", auth.Revocation{User: "a"}, holdfast.Identity{User: "a", IssuedAt: at.Add(-time.Millisecond)}, true},
		{"a session made just after", auth.Revocation{User: "a"}, holdfast.Identity{User: "a", IssuedAt: at.Add(time.Millisecond)}, false},
		{"no time of issue", auth.Revocation{User: "a"}, holdfast.Identity{User: "a"}, true},
		{"another user", auth.Revocation{User: "a"}, holdfast.Identity{User: "b"}, false},
		{"the session", auth.Revocation{Session: "s"}, holdfast.Identity{User: "b", Session: "s"}, true},
		{"no session", auth.Revocation{User: "a"}, holdfast.Identity{}, false},
		{"the token", auth.Revocation{TokenID: "t"}, holdfast.Identity{TokenID: "t"}, true},
		{"only a close", auth.Revocation{User: "a", Code: holdfast.GoingAway}, holdfast.Identity{User: "a"}, false},
	} {
		tc.r.Before = at
		if got := tc.r.Refuses(&tc.id); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestBumpStale(t *testing.T) {
	v := func(n int64) *int64 { return &n }
	at := time.Unix(1000, 0)
	for _, tc := range []struct {
		name string
		b    auth.Bump
		id   holdfast.Identity
		want bool
	}{
		{"lower version", auth.Bump{Version: 3}, holdfast.Identity{PermissionVersion: v(2), IssuedAt: at.Add(time.Hour)}, true},
		{"the version", auth.Bump{Version: 3}, holdfast.Identity{PermissionVersion: v(3), IssuedAt: at.Add(-time.Hour)}, false},
		{"no version, before", auth.Bump{Version: 3}, holdfast.Identity{IssuedAt: at}, true},
		{"no version, after", auth.Bump{Version: 3}, holdfast.Identity{IssuedAt: at.Add(time.Second)}, false},
		{"read before", auth.Bump{}, holdfast.Identity{IssuedAt: at.Add(-time.Hour), PermissionsAsOf: at.Add(-time.Millisecond)}, true},
		{"read after", auth.Bump{}, holdfast.Identity{IssuedAt: at.Add(-time.Hour), PermissionsAsOf: at.Add(time.Millisecond)}, false},
		{"nobody counts", auth.Bump{}, holdfast.Identity{PermissionVersion: v(9), IssuedAt: at}, true},
		{"another user", auth.Bump{Version: 3}, holdfast.Identity{User: "b"}, false},
	} {
		tc.b.At = at
		if got := tc.b.Stale(&tc.id); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
