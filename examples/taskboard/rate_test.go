package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A user has the burst, then the rate; others have their own; and who has been
// silent is forgotten.
func TestRates(t *testing.T) {
	const callRate, burst = 20, 200
	r := rates{rate: callRate}
	now := time.Now()
	for i := range burst {
		if err := r.allow("ann", now); err != nil {
			t.Fatal(i, err)
		}
	}
	err := r.allow("ann", now)
	if e := holdfast.AsError(err); e == nil || e.Code != holdfast.RateLimited || e.RetryAfter != time.Second/callRate {
		t.Fatalf("%+v", e)
	}
	if err := r.allow("bob", now); err != nil {
		t.Error(err)
	}
	now = now.Add(time.Second)
	for i := range callRate {
		if err := r.allow("ann", now); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := r.allow("ann", now); holdfast.CodeOf(err) != holdfast.RateLimited {
		t.Error(err)
	}
	now = now.Add(time.Minute)
	if err := r.allow("eve", now); err != nil || len(r.users) != 1 {
		t.Errorf("%v, %d users are known", err, len(r.users))
	}
}

// Who calls too often is told when to come again.
func TestCallsTooOften(t *testing.T) {
	a, err := newApp(t.Context(), config{dir: t.TempDir(), addr: "127.0.0.1:8080", callRate: 5, logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(a.Shutdown(t.Context()), a.Close()); err != nil {
			t.Error(err)
		}
	}()
	served := httptest.NewServer(a)
	defer served.Close()
	ann := (&stage{t: t, url: served.URL}).person("Ann")
	ann.must(http.StatusOK, "GET", "/api/boards", nil, nil)
	// What is taken ahead of time is gone, however slowly the calls come.
	for ahead := time.Now().Add(time.Hour); a.rates.allow(ann.id, ahead) == nil; {
	}
	if r := ann.refused(holdfast.RateLimited, "GET", "/api/boards", nil); r.RetryAfter != 1 {
		t.Errorf("%+v", r)
	}
	if r := ann.refused(holdfast.Unauthenticated, "GET", "/api/todos", nil, "Authorization: Bearer x"); r.Code == "" {
		t.Error("a stranger was counted")
	}
}
