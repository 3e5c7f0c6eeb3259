package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestHasher(t *testing.T) {
	ctx := t.Context()
	params := Argon2{Memory: 64, Time: 1, Threads: 1, Parallel: 1}
	h := newHasher(params)
	hash, err := h.hash(ctx, "Ångström")
	noError(t, err)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("hash: %s", hash)
	}
	other := newHasher(Argon2{Memory: 64, Time: 2, Threads: 1, Parallel: 1})
	for _, c := range []struct {
		h              *hasher
		hash, password string
		ok, stale      bool
	}{
		{h, hash, "Ångström", true, false},
		{h, hash, "A\u030angstro\u0308m", true, false}, // the same, decomposed
		{h, hash, "angstrom", false, false},
		{h, hash, "", false, false},
		{h, hash, strings.Repeat("a", MaxPassword+1), false, false},
		{h, "", "Ångström", false, false},
		{other, hash, "Ångström", true, true},
		// The reference implementation's hash of "password" with the salt "somesalt", -t 2 -m 16 -p 1.
		{h, "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password", true, true},
	} {
		ok, stale, err := c.h.verify(ctx, c.hash, c.password)
		if ok != c.ok || stale != c.stale || err != nil {
			t.Errorf("%.20q: %v, %v, %v", c.password, ok, stale, err)
		}
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "$argon2id$v=19$m=64,t=1,p=1$$"} {
		if _, _, err := h.verify(ctx, bad, "a"); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}

// Only so many work at once, only so many wait, and who gives up leaves.
func TestHasherBounds(t *testing.T) {
	h := newHasher(Argon2{Memory: 64, Time: 1, Threads: 1, Parallel: 1})
	h.slots <- struct{}{} // somebody works
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	errs := make(chan error, hashQueue+10)
	for range hashQueue + 10 {
		wg.Go(func() {
			_, err := h.hash(ctx, "password")
			errs <- err
		})
	}
	refused := 0
	for range 9 { // those over the queue are told at once; one who works counts as well
		if err := <-errs; errors.Is(err, holdfast.RateLimited) && holdfast.AsError(err).RetryAfter > 0 {
			refused++
		}
	}
	cancel()
	wg.Wait()
	for range hashQueue + 1 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting: %v", err)
		}
	}
	if refused != 9 || h.waiting.Load() != 0 {
		t.Errorf("%d refused, %d waiting", refused, h.waiting.Load())
	}
	<-h.slots
	_, err := h.hash(t.Context(), "password")
	noError(t, err)
}

// A password hashed with old parameters is hashed anew when it is used.
func TestRehash(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		stored := func() string {
			a, err := h.accountByID(ctx, h.db.read, ann.ID)
			noError(t, err)
			return a.password
		}
		h.signIn("ann@example.com")
		before := stored()
		h.hasher.params.Time = 2
		for range 2 {
			h.signIn("ann@example.com")
		}
		if after := stored(); after == before || !strings.Contains(after, "t=2") {
			t.Errorf("stored: %s", after)
		}
	})
}
