package identity

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeyFile(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		path := filepath.Join(h.cfg.Dir, keyFile)
		ann := h.user("ann@example.com")
		setup, err := h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		derived := h.DeriveKey("csrf")
		if bytes.Equal(derived, h.DeriveKey("other")) || len(derived) != 32 {
			t.Error("the same key for two purposes")
		}
		h.close()

		key, err := os.ReadFile(path)
		noError(t, err)
		refuses := func(what, want string, change func(*Config)) {
			t.Helper()
			cfg := h.cfg
			if change != nil {
				change(&cfg)
			}
			p, err := Open(ctx, cfg)
			if err == nil {
				t.Errorf("%s: opened", what)
				_ = p.Close()
			} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), strings.TrimSpace(string(key))) {
				t.Errorf("%s: %v", what, err)
			}
		}
		noError(t, os.Remove(path))
		refuses("without the key", "is missing", nil)
		if _, err := os.Stat(path); err == nil {
			t.Error("a new key was made")
		}
		refuses("another key", "is not the one", func(c *Config) { c.Key = bytes.Repeat([]byte("k"), 32) })
		noError(t, os.WriteFile(path, []byte("rubbish\n"), 0o600))
		refuses("rubbish", "does not hold a key", nil)
		noError(t, os.WriteFile(path, key, 0o600))
		for _, mode := range []os.FileMode{0o604, 0o644, 0o660, 0o602} {
			noError(t, os.Chmod(path, mode))
			refuses("open to others", "chmod 600", nil)
		}
		noError(t, os.Chmod(path, 0o440)) // as containers mount secrets
		h.open()
		if !bytes.Equal(h.DeriveKey("csrf"), derived) {
			t.Error("another derived key after a restart")
		}
		after(totpPeriod * 1e9)
		if _, err := h.SignIn(ctx, SignInRequest{Email: "ann@example.com", Password: goodPassword, TOTPCode: setup.code(t, 0)}, home); err != nil {
			t.Error("after a restart:", err)
		}
	})
}

// Several first starts at once, as when a deployment comes up: all agree.
func TestFirstStarts(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Dir: t.TempDir()}
			if kind == "postgres" {
				cfg.Database = newPostgres(t)
				cfg.Key = bytes.Repeat([]byte("k"), 32)
			}
			const n = 8
			providers, errs := make([]*Provider, n), make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					own := cfg
					if kind == "postgres" {
						own.Dir = ""
					}
					providers[i], errs[i] = Open(t.Context(), own)
				})
			}
			wg.Wait()
			for i, p := range providers {
				noError(t, errs[i])
				if !bytes.Equal(p.JWKS(), providers[0].JWKS()) || !bytes.Equal(p.DeriveKey("x"), providers[0].DeriveKey("x")) {
					t.Error("they do not agree")
				}
			}
			for _, p := range providers {
				noError(t, p.Close())
			}
		})
	}
}

// Nodes of one database that each make a key: one is right, and the other is
// told, and leaves no wrong key behind.
func TestFirstStartsWithTwoKeys(t *testing.T) {
	t.Parallel()
	a, b := Config{Dir: t.TempDir(), Database: newPostgres(t)}, Config{Dir: t.TempDir()}
	b.Database = a.Database
	p, err := Open(t.Context(), a)
	noError(t, err)
	defer func() { noError(t, p.Close()) }()
	if _, err = Open(t.Context(), b); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("with a key of its own: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(a.Dir, keyFile))
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(b.Dir, keyFile), key, 0o600))
	q, err := Open(t.Context(), b)
	noError(t, err)
	noError(t, q.Close())
}

func TestSeal(t *testing.T) {
	v := &vault{master: bytes.Repeat([]byte("k"), 32)}
	sealed := v.seal("a", "ann", []byte("secret"))
	if plain, err := v.open("a", "ann", sealed); err != nil || string(plain) != "secret" {
		t.Error(err)
	}
	for what, open := range map[string]func() ([]byte, error){
		"purpose": func() ([]byte, error) { return v.open("b", "ann", sealed) },
		"owner":   func() ([]byte, error) { return v.open("a", "bob", sealed) },
		"key": func() ([]byte, error) {
			return (&vault{master: bytes.Repeat([]byte("l"), 32)}).open("a", "ann", sealed)
		},
		"cut":   func() ([]byte, error) { return v.open("a", "ann", sealed[:len(sealed)-1]) },
		"empty": func() ([]byte, error) { return v.open("a", "ann", nil) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("opened by another %s", what)
		}
	}
	if bytes.Equal(sealed, v.seal("a", "ann", []byte("secret"))) {
		t.Error("sealed alike twice")
	}
}
