package identity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// kids returns the key ids of a JWKS, checked as other verifiers read it.
func kids(t *testing.T, p *Provider) []string {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	noError(t, json.Unmarshal(p.JWKS(), &set))
	var ids []string
	for _, k := range set.Keys {
		key, err := auth.ParseJWK(k)
		noError(t, err)
		if strings.Contains(string(k), `"d"`) {
			t.Fatal("a private key in the JWKS")
		}
		ids = append(ids, key.ID)
	}
	return ids
}

// verifiesElsewhere checks a token with nothing but the JWKS.
func verifiesElsewhere(t *testing.T, p *Provider, token string) {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	noError(t, json.Unmarshal(p.JWKS(), &set))
	none := holdfast.MustRoomList()
	cfg := auth.JWTConfig{Issuer: p.cfg.Issuer, DefaultRooms: &none}
	for _, k := range set.Keys {
		key, err := auth.ParseJWK(k)
		noError(t, err)
		cfg.Keys = append(cfg.Keys, key)
	}
	j, err := auth.NewJWT(cfg)
	noError(t, err)
	if _, err := j.Verify(t.Context(), token); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
}

func watched(cfg *Config) { cfg.WatchInterval = time.Minute } // and so keys are read too

// A rotation signs nobody out, on no node.
func TestRotateSigningKeys(t *testing.T) {
	eachDatabase(t, watched, func(t *testing.T, h *harness) {
		ctx := t.Context()
		other := h.another(nil)
		h.user("ann@example.com")
		before := h.signIn("ann@example.com")
		verifiesElsewhere(t, h.Provider, before.AccessToken)
		first, err := h.SigningKeys(ctx)
		noError(t, err)
		if len(first) != 1 || !first[0].Active || !first[0].Expires.IsZero() || first[0].Algorithm != auth.ES256 {
			t.Fatalf("first: %+v", first)
		}
		made, err := h.RotateSigningKeys(ctx)
		noError(t, err)
		if made.ID == first[0].ID || !made.Signs.Equal(timeNow().Add(keyLead)) {
			t.Errorf("made: %+v", made)
		}
		if got := kids(t, h.Provider); len(got) != 2 {
			t.Errorf("not shown at once: %q", got)
		}
		_, err = other.RotateSigningKeys(ctx)
		wantCode(t, "twice", err, holdfast.Conflict)

		// The new one is shown everywhere before anything is signed by it.
		signsWith := func(p *Provider) string {
			l, err := p.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword}, home)
			noError(t, err)
			for _, verifier := range []*Provider{h.Provider, other} {
				if _, err := verifier.Authenticate(ctx, auth.Credential{Token: l.AccessToken}); err != nil {
					t.Errorf("not verified: %v", err)
				}
			}
			return tokenKeyID(l.AccessToken)
		}
		after(keyLead - time.Millisecond)
		for _, p := range []*Provider{h.Provider, other} {
			if len(kids(t, p)) != 2 || signsWith(p) != first[0].ID {
				t.Error("the new key signs before it is shown everywhere, or is not shown")
			}
		}
		after(time.Millisecond)
		long := h.signIn("ann@example.com")
		for _, p := range []*Provider{h.Provider, other} {
			if signsWith(p) != made.ID {
				t.Error("the new key does not sign in time")
			}
		}
		if _, err := other.Authenticate(ctx, auth.Credential{Token: before.AccessToken}); err != nil {
			t.Error("signed out by the rotation:", err)
		}

		// A day later the old one is gone. Both nodes are off for most of it: they
		// read the keys every 30 s.
		h.close()
		noError(t, other.Close())
		after(keyRetire - time.Hour)
		h.open()
		other = h.another(nil)
		after(time.Hour - time.Second)
		if len(kids(t, other)) != 2 {
			t.Error("the old key went too early")
		}
		after(time.Minute)
		noError(t, h.cleanOnce(ctx))
		for _, p := range []*Provider{h.Provider, other} {
			if got := kids(t, p); len(got) != 1 || got[0] != made.ID {
				t.Errorf("left: %q", got)
			}
		}
		if _, err := h.Refresh(ctx, long.RefreshToken, home); err != nil {
			t.Error("the session has gone with the key:", err)
		}
	})
}

// A node that has not heard of a key yet asks once it sees it, and not for
// every rubbish.
func TestUnknownSigningKey(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		other := h.another(nil)
		h.user("ann@example.com")
		_, err := h.RotateSigningKeys(ctx)
		noError(t, err)
		after(keyLead)
		l := h.signIn("ann@example.com")
		known := other.keys.Load()
		if known.has(tokenKeyID(l.AccessToken)) {
			t.Fatal("nothing to find out")
		}
		if _, err := other.Authenticate(ctx, auth.Credential{Token: l.AccessToken}); err != nil {
			t.Errorf("not found out: %v", err)
		}
		known = other.keys.Load()
		forged, err := auth.Mint(auth.SigningKey{ID: "made-up", Private: known.keys[0].private}, auth.Claims{User: l.User.ID})
		noError(t, err)
		for range 10 {
			_, err := other.Authenticate(ctx, auth.Credential{Token: forged})
			wantCode(t, "made-up kid", err, holdfast.Unauthenticated)
		}
		if other.keys.Load() != known {
			t.Error("read again for rubbish, within a second")
		}
	})
}

func TestDropSigningKey(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.user("ann@example.com")
		l := h.signIn("ann@example.com")
		leaked := tokenKeyID(l.AccessToken)
		wantCode(t, "in use", h.DropSigningKey(ctx, leaked), holdfast.Conflict)
		wantCode(t, "unknown", h.DropSigningKey(ctx, "nothing"), holdfast.NotFound)
		made, err := h.RotateSigningKeys(ctx)
		noError(t, err)
		wantCode(t, "in use still", h.DropSigningKey(ctx, leaked), holdfast.Conflict)
		wantCode(t, "not yet in use", h.DropSigningKey(ctx, made.ID), holdfast.Conflict)
		after(keyLead)
		noError(t, h.DropSigningKey(ctx, leaked))
		_, err = h.Authenticate(ctx, auth.Credential{Token: l.AccessToken})
		wantCode(t, "its token", err, holdfast.Unauthenticated)
		l, err = h.Refresh(ctx, l.RefreshToken, home)
		noError(t, err)
		if _, err = h.Authenticate(ctx, auth.Credential{Token: l.AccessToken}); err != nil {
			t.Error(err)
		}
	})
}

// What makes tokens is not to be read from the disk alone, nor by others.
func TestKeysAtRest(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		var sealed []byte
		_, err := one(h.db.read.QueryRowContext(t.Context(), `SELECT private FROM signing_keys`), &sealed)
		noError(t, err)
		k := h.keys.Load().keys[0]
		if d, err := k.private.Bytes(); err != nil || strings.Contains(string(sealed), string(d)) {
			t.Error("the private key is stored as it is", err)
		}
		entries, err := os.ReadDir(h.cfg.Dir)
		noError(t, err)
		for _, e := range entries {
			info, err := e.Info()
			noError(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
			}
		}
		if _, err := os.Stat(filepath.Join(h.cfg.Dir, keyFile)); err != nil {
			t.Error(err)
		}
	})
}
