package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// mint mints a token with any claims.
func mint(t testing.TB, c auth.Claims) string {
	t.Helper()
	signed, err := auth.Mint(auth.SigningKey{Secret: secret}, c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestRevocation(t *testing.T) {
	const closePath = "/api/connections/close"
	cases := []struct {
		name, body string
		code       holdfast.Code
		close      int
		refuses    bool // what was issued before
	}{
		{"user", `{"user":"alice"}`, holdfast.SessionRevoked, 4001, true},
		{"session", `{"session":"s1"}`, holdfast.SessionRevoked, 4001, true},
		{"jti", `{"jti":"t1"}`, holdfast.SessionRevoked, 4001, true},
		{"forbidden", `{"user":"alice","code":"FORBIDDEN"}`, holdfast.Forbidden, 4003, true},
		{"going away", `{"user":"alice","code":"GOING_AWAY"}`, holdfast.GoingAway, 1001, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorldWithKeys(t)
				old := mint(t, auth.Claims{User: "alice", Session: "s1", TokenID: "t1", Expires: time.Now().Add(23 * time.Hour)})
				p, other := w.dial(), w.connect("bob")
				p.connect(old)
				time.Sleep(10 * time.Second)
				status, _, body := w.request("POST", closePath, tc.body, "Authorization", "Bearer "+staticKey)
				if status != 200 {
					t.Fatalf("%d %s", status, body)
				}
				seen := p.wantClose(tc.close, string(tc.code))
				if len(seen) != 1 || !strings.HasPrefix(seen[0], `42["auth:closing",{"message":`) {
					t.Errorf("before the close: %q", seen)
				}
				other.quiet()

				// The same token again, at once and much later.
				for range 2 {
					again := w.dial()
					again.send(`40{"token":"` + old + `"}`)
					got := again.recv()
					if strings.HasPrefix(got, "44") != tc.refuses || tc.refuses && !strings.Contains(got, string(tc.code)) {
						t.Errorf("the old token again: %s", got)
					}
					again.conn.CloseNow()
					status, _, body := w.request("POST", roomPath("r"), `{"event":"e"}`, "Authorization", "Bearer "+old)
					if (status != 200) != tc.refuses {
						t.Errorf("the old token over HTTP: %d %s", status, body)
					}
					time.Sleep(22 * time.Hour)
				}
				// What was issued afterwards is good.
				fresh := w.dial()
				fresh.connect(mint(t, auth.Claims{User: "alice", Session: "s2", TokenID: "t2", Expires: time.Now().Add(time.Hour)}))
			})
		})
	}
}

func TestCloseRefuses(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorldWithKeys(t)
		user := "Bearer " + token(t, "alice", time.Hour)
		for _, tc := range []struct {
			path, body, authorization, origin string
			status                            int
		}{
			{"/api/connections/close", `{"user":"bob"}`, "", "", 401},
			{"/api/connections/close", `{"user":"bob"}`, user, "", 401}, // nothing but a key
			{"/api/connections/close", `{"user":"bob"}`, "Bearer " + staticKey, "http://holdfast.test", 403},
			{"/api/connections/close", `{}`, "Bearer " + staticKey, "", 400},
			{"/api/connections/close", `{"user":"a","jti":"b"}`, "Bearer " + staticKey, "", 400},
			{"/api/connections/close", `{"user":"a","connection":"b"}`, "Bearer " + staticKey, "", 400},
			{"/api/connections/close", `{"user":"a","code":"INTERNAL"}`, "Bearer " + staticKey, "", 400},
			{"/api/connections/close", `{"connection":"nobody"}`, "Bearer " + staticKey, "", 404},
			{"/api/users/alice/permissions/bump", ``, user, "", 401},
		} {
			header := []string{"Authorization", tc.authorization}
			if tc.origin != "" {
				header = append(header, "Origin", tc.origin)
			}
			if status, _, body := w.request("POST", tc.path, tc.body, header...); status != tc.status {
				t.Errorf("%s %s: %d %s, want %d", tc.path, tc.body, status, body, tc.status)
			}
		}
	})
}

func TestBump(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorldWithKeys(t)
		server.Handle(w.srv, "later", func(context.Context, *server.Conn, *struct{}) (int, error) {
			time.Sleep(time.Minute)
			return 0, nil
		})
		p, other := w.connect("alice"), w.connect("bob")
		p.send(`421["room:join",{"room":"r"}]`, `422["room:join",{"room":"lost"}]`)
		p.want("431[")
		p.want("432[")
		time.Sleep(10 * time.Second)
		old := token(t, "alice", time.Hour)
		time.Sleep(2 * time.Second)
		start := time.Now()
		if status, _, body := w.request("POST", "/api/users/alice/permissions/bump", "", "Authorization", "Bearer "+staticKey); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		want := fmt.Sprintf(`42["auth:expiring",{"expiresAt":%d,"expiresIn":30,"reason":"permissions"}]`, start.Add(30*time.Second).UnixMilli())
		if got := p.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		other.quiet()
		p.send(`423["auth:refresh",{"token":"` + old + `"}]`)
		if got := p.recv(); !strings.Contains(got, `"code":"PERMISSION_VERSION_STALE"`) {
			t.Errorf("a token from before: %s", got)
		}
		time.Sleep(time.Second)
		p.send(`424["auth:refresh",{"token":"` + token(t, "alice", time.Hour, `{"permissions":{"rooms":["r"]}}`) + `"}]`)
		p.want(`42["room:left",{"room":"lost","code":"FORBIDDEN",`)
		p.want(`434[{"ok":true`)
		p.send(`425["later"]`)
		p.want(`435[`) // still there

		// One that does not refresh is closed so that it comes back with a new token.
		other.conn.CloseNow()
		other = w.connect("bob")
		time.Sleep(time.Second)
		if _, err := w.srv.BumpPermissions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		other.wantClose(4002, "PERMISSION_VERSION_STALE")
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// gated lets a test hold one verification.
type gated struct {
	auth.Authenticator
	hold atomic.Pointer[chan struct{}]
}

func (g *gated) Authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	id, err := g.Authenticator.Authenticate(ctx, c)
	if gate := g.hold.Load(); gate != nil {
		<-*gate
	}
	return id, err
}

// What is taken back while a refreshed token is being verified refuses it.
func TestRevokeDuringRefresh(t *testing.T) {
	for _, code := range []holdfast.Code{holdfast.SessionRevoked, holdfast.PermissionVersionStale} {
		in(t, func(t *testing.T) {
			verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
			if err != nil {
				t.Fatal(err)
			}
			g := &gated{Authenticator: verifier}
			w := newWorld(t, server.Config{Authenticator: g})
			p := w.dial()
			p.connect(mint(t, auth.Claims{User: "alice", TokenID: "t1", Expires: time.Now().Add(time.Hour)}))
			gate := make(chan struct{})
			g.hold.Store(&gate)
			p.send(`421["auth:refresh",{"token":"` + mint(t, auth.Claims{User: "alice", TokenID: "t2", Expires: time.Now().Add(time.Hour)}) + `"}]`)
			synctest.Wait()
			if code == holdfast.SessionRevoked {
				if err := w.srv.Revoke(t.Context(), auth.Revocation{TokenID: "t2"}); err != nil {
					t.Fatal(err)
				}
			} else {
				w.srv.Bumped(t.Context(), auth.Bump{User: "alice", At: time.Now()})
				p.want(`42["auth:expiring"`)
			}
			close(gate)
			if got := p.want(`431[{"ok":false`); !strings.Contains(got, string(code)) {
				t.Errorf("got %s, want %s", got, code)
			}
		})
	}
}

// store keeps revocations and bumps as a database would.
type store struct {
	mu          sync.Mutex
	revocations []auth.Revocation
	bumps       []auth.Bump
}

func (s *store) SaveRevocation(_ context.Context, r auth.Revocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revocations = append(s.revocations, r)
	return nil
}

func (s *store) Revocations(context.Context) ([]auth.Revocation, error) { return s.revocations, nil }

func (s *store) BumpPermissions(_ context.Context, user string) (auth.Bump, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := auth.Bump{User: user, Version: int64(len(s.bumps) + 1), At: time.Now()}
	s.bumps = append(s.bumps, b)
	return b, nil
}

func (s *store) Bumps(_ context.Context, since time.Time) ([]auth.Bump, error) { return s.bumps, nil }

func TestRevocationsOutliveARestart(t *testing.T) {
	in(t, func(t *testing.T) {
		kept := new(store)
		first := newWorld(t, server.Config{Revocations: kept, Bumps: kept})
		alice, bob := token(t, "alice", time.Hour), token(t, "bob", time.Hour)
		if err := first.srv.Revoke(t.Context(), auth.Revocation{User: "alice"}); err != nil {
			t.Fatal(err)
		}
		if _, err := first.srv.BumpPermissions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		second := newWorld(t, server.Config{Revocations: kept, Bumps: kept})
		for tok, code := range map[string]string{alice: "SESSION_REVOKED", bob: "PERMISSION_VERSION_STALE"} {
			p := second.dial()
			p.send(`40{"token":"` + tok + `"}`)
			if got := p.recv(); !strings.HasPrefix(got, "44") || !strings.Contains(got, code) {
				t.Errorf("got %s, want %s", got, code)
			}
		}
		// A version that is high enough is good whatever the time of issue.
		version := int64(1)
		p := second.dial()
		p.connect(mint(t, auth.Claims{User: "bob", PermissionVersion: &version, Expires: time.Now().Add(time.Hour)}))
	})
}

// reloading knows what its users may do now.
type reloading struct {
	auth.Authenticator
	now *holdfast.RoomPermissions
}

func (r reloading) Reload(_ context.Context, id *holdfast.Identity) (*holdfast.Identity, error) {
	fresh := *id
	fresh.Permissions.Rooms = *r.now
	return &fresh, nil
}

func TestBumpReloads(t *testing.T) {
	in(t, func(t *testing.T) {
		verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
		if err != nil {
			t.Fatal(err)
		}
		none, err := holdfast.RoomList("kept")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, server.Config{Authenticator: reloading{verifier, &none}})
		p := w.connect("alice")
		p.send(`421["room:join",{"room":"kept"}]`, `422["room:join",{"room":"lost"}]`)
		p.want("431[")
		p.want("432[")
		p.quiet() // a join that ends while rights are lost says so in its own time
		if _, err := w.srv.BumpPermissions(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		p.want(`42["room:left",{"room":"lost","code":"FORBIDDEN",`)
		p.want(`42["auth:expiring",`)
		p.send(`423["room:join",{"room":"lost"}]`)
		p.want(`433[{"ok":false`)
	})
}

// A revocation that comes while a connection is being admitted must catch it.
func TestRevokeDuringAdmission(t *testing.T) {
	in(t, func(t *testing.T) {
		verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		w := newWorld(t, server.Config{Authenticator: verifier})
		w.srv.OnConnect(func(context.Context, *server.Conn) error { <-gate; return nil })
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		synctest.Wait() // verified, and not yet among the connections
		if err := w.srv.Revoke(t.Context(), auth.Revocation{User: "alice"}); err != nil {
			t.Fatal(err)
		}
		close(gate)
		p.wantClose(4001, "SESSION_REVOKED")
	})
}
