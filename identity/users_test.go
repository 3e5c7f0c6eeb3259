package identity

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestUsers(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann, err := h.CreateUser(ctx, NewUser{Email: " Ann@Example.COM ", Password: goodPassword, Name: "Ann\x00\u202e", EmailVerified: true})
		noError(t, err)
		if ann.Email != "ann@example.com" || ann.Name != "Ann" || !ann.Password || !ann.EmailVerified || ann.TOTP || ann.Created.IsZero() {
			t.Errorf("made: %+v", ann)
		}
		_, err = h.CreateUser(ctx, NewUser{Email: "ANN@example.com", Password: goodPassword})
		wantCode(t, "the same address", err, holdfast.Conflict)
		_, err = h.CreateUser(ctx, NewUser{Email: "bob@example.com"})
		noError(t, err)

		for what, got := range map[string]func() (User, error){
			"by id":    func() (User, error) { return h.User(ctx, ann.ID) },
			"by email": func() (User, error) { return h.UserByEmail(ctx, "ANN@example.com") },
		} {
			if u, err := got(); err != nil || u.ID != ann.ID || !u.Created.Equal(ann.Created) || u.Name != ann.Name {
				t.Errorf("%s: %+v, %v", what, u, err)
			}
		}
		_, err = h.User(ctx, "nobody")
		wantCode(t, "unknown id", err, holdfast.NotFound)
		_, err = h.UserByEmail(ctx, "nobody@example.com")
		wantCode(t, "unknown address", err, holdfast.NotFound)

		first, err := h.Users(ctx, "", 1)
		noError(t, err)
		rest, err := h.Users(ctx, first[0].ID, 0)
		noError(t, err)
		if len(first) != 1 || len(rest) != 1 || first[0].ID >= rest[0].ID {
			t.Errorf("pages: %v, %v", first, rest)
		}

		noError(t, h.DeleteUser(ctx, ann.ID))
		wantCode(t, "deleted twice", h.DeleteUser(ctx, ann.ID), holdfast.NotFound)
		_, err = h.User(ctx, ann.ID)
		wantCode(t, "deleted", err, holdfast.NotFound)
	})
}

func TestGrant(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		id, err := h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		noError(t, err)
		if id.Permissions.Room("any") != holdfast.AllVerbs || id.Permissions.Can("todo.write") || *id.PermissionVersion != 0 {
			t.Errorf("without grants: %+v", id)
		}

		rooms := holdfast.MustRoomList("board-*")
		u, err := h.Grant(ctx, ann.ID, Grants{Roles: []string{"editor"}, Rooms: &rooms, Actions: []string{"todo.*"}})
		noError(t, err)
		bumps := h.takeBumped()
		if u.PermissionVersion != 1 || len(bumps) != 1 || bumps[0].User != ann.ID || bumps[0].Version != 1 || !bumps[0].Stale(id) {
			t.Errorf("granted: %+v, told %+v", u, bumps)
		}
		l, err = h.Refresh(ctx, l.RefreshToken, home)
		noError(t, err)
		id, err = h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		noError(t, err)
		if id.Permissions.Room("any") != 0 || id.Permissions.Room("board-1") != holdfast.AllVerbs || !id.Permissions.Can("todo.write") ||
			!id.HasRole("editor") || bumps[0].Stale(id) {
			t.Errorf("with grants: %+v", id)
		}
		byCookie, err := h.CookieIdentity(ctx, h.signIn("ann@example.com").CookieSecret)
		noError(t, err)
		if !byCookie.Permissions.Rooms.Equal(rooms) || !byCookie.Permissions.Can("todo.write") || *byCookie.PermissionVersion != 1 || bumps[0].Stale(byCookie) {
			t.Errorf("by cookie: %+v", byCookie)
		}

		reloaded, err := h.Reload(ctx, byCookie)
		noError(t, err)
		if !reloaded.Permissions.Rooms.Equal(rooms) || !reloaded.HasRole("editor") || reloaded.Session != byCookie.Session {
			t.Errorf("reloaded: %+v", reloaded)
		}
		if shown := u.AsUser(); shown.ID != ann.ID || shown.Email != ann.Email || shown.Name != "Ann" || len(shown.Roles) != 1 {
			t.Errorf("shown: %+v", shown)
		}

		u, err = h.Grant(ctx, ann.ID, Grants{})
		noError(t, err)
		if u.PermissionVersion != 2 || u.Rooms != nil || len(u.Roles) != 0 || len(u.Actions) != 0 {
			t.Errorf("taken back: %+v", u)
		}

		_, err = h.Grant(ctx, "nobody", Grants{})
		wantCode(t, "nobody", err, holdfast.NotFound)
		many := make([]string, 30)
		for i := range many {
			many[i] = string(slices.Repeat([]byte{'a'}, 190))
		}
		for what, g := range map[string]Grants{
			"empty role":   {Roles: []string{""}},
			"role":         {Roles: []string{"a b"}},
			"empty action": {Actions: []string{"todo..write"}},
			"action":       {Actions: []string{"todo.wr*"}},
			"too many":     {Actions: many},
		} {
			_, err := h.Grant(ctx, ann.ID, g)
			wantCode(t, what, err, holdfast.InvalidArgument)
		}
	})
}

func TestDisable(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		a, b := h.signIn("ann@example.com"), h.signIn("ann@example.com")
		other := h.user("bob@example.com")
		bob := h.signIn("bob@example.com")

		noError(t, h.Disable(ctx, ann.ID))
		if ended := h.revokedSessions(); len(ended) != 2 || !ended[a.Session.ID] || !ended[b.Session.ID] {
			t.Errorf("told: %v", ended)
		}
		noError(t, h.Disable(ctx, ann.ID))
		if ended := h.revokedSessions(); len(ended) != 0 {
			t.Errorf("told again: %v", ended)
		}
		_, err := h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword}, home)
		wantCode(t, "sign-in", err, holdfast.InvalidCredentials)
		_, err = h.Refresh(ctx, a.RefreshToken, home)
		wantCode(t, "refresh", err, holdfast.SessionRevoked)
		_, _, err = h.SessionByCookie(ctx, b.CookieSecret)
		wantCode(t, "cookie", err, holdfast.SessionRevoked)
		_, _, err = h.AccessToken(ctx, b.Session.ID)
		wantCode(t, "token", err, holdfast.SessionRevoked)
		if u, err := h.User(ctx, ann.ID); err != nil || u.Disabled.IsZero() {
			t.Errorf("disabled: %+v, %v", u, err)
		}

		noError(t, h.Enable(ctx, ann.ID))
		_, err = h.Refresh(ctx, a.RefreshToken, home)
		wantCode(t, "refresh after all", err, holdfast.SessionRevoked)
		after(time.Hour)
		h.signIn("ann@example.com")
		if _, err := h.Refresh(ctx, bob.RefreshToken, home); err != nil {
			t.Error("somebody else is disabled too:", err)
		}
		wantCode(t, "nobody", h.Disable(ctx, "nobody"), holdfast.NotFound)
		wantCode(t, "nobody", h.Enable(ctx, "nobody"), holdfast.NotFound)

		noError(t, h.DeleteUser(ctx, other.ID))
		if ended := h.revokedSessions(); !ended[bob.Session.ID] {
			t.Errorf("deleted: told %v", ended)
		}
		_, _, err = h.SessionByCookie(ctx, bob.CookieSecret)
		wantCode(t, "cookie of a deleted user", err, holdfast.Unauthenticated)
	})
}
