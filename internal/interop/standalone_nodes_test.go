package interop

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/internal/pgtest"
	"github.com/holdfast-dev/holdfast/standalone"
)

// Two nodes on one PostgreSQL are one: a token of either is good on the other,
// and what one takes back ends connections on the other.
func TestStandaloneTwoNodes(t *testing.T) {
	pg, err := pgtest.Start(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the nodes
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	database, err := pg.Create()
	if err != nil {
		t.Fatal(err)
	}
	shared := func(cfg *standalone.Config) {
		cfg.Identity.Dir, cfg.Identity.Database = "", database
		cfg.Identity.Key = auth.Secret("one key for all nodes, 32 bytes!")
	}
	one, two := newWhole(t, shared), newWhole(t, shared)

	phone := one.signUp("ann@example.com")
	laptop := two.signIn("ann@example.com")
	lost, kept := two.dial(phone.AccessToken), one.dial(laptop.AccessToken)
	lost.await("40", patience)
	kept.await("40", patience)
	one.want(200, "", "POST", "/api/auth/sign-out", "", bearer(phone.AccessToken)...)
	lost.closed(holdfast.SessionRevoked)
	two.dial(phone.AccessToken).refused(holdfast.SessionRevoked)

	if _, err := two.sa.Accounts().Grant(t.Context(), laptop.User.ID, identity.Grants{Roles: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	if got := kept.await(`42["auth:expiring"`, patience); !strings.Contains(got, `"reason":"permissions"`) {
		t.Fatal(got)
	}
	if err := two.sa.Accounts().Disable(t.Context(), laptop.User.ID); err != nil {
		t.Fatal(err)
	}
	kept.closed(holdfast.SessionRevoked)
}
