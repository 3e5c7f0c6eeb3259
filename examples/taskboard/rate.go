package main

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
)

// defaultCallRate is for a user's calls over HTTP, all together: enough for pages
// that read a board anew, and for scripts. The server bounds what comes over a
// connection by itself.
const defaultCallRate = 20

// callBurst is for how many seconds a user may save up calls.
const callBurst = 10

// rates bounds how often each user calls. It is safe for concurrent use.
type rates struct {
	rate float64 // calls a second; static

	mu    sync.Mutex // guards what follows
	users map[string]*rate.Limiter
	swept time.Time // when idle users were last forgotten
}

// allow takes one call from what the user may do now.
func (r *rates) allow(user string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) >= callBurst*time.Second {
		for name, l := range r.users {
			if l.TokensAt(now) >= float64(l.Burst()) { // it has them all, as a new one has
				delete(r.users, name)
			}
		}
		r.swept = now
	}
	l := r.users[user]
	if l == nil {
		if r.users == nil {
			r.users = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(r.rate), max(int(r.rate*callBurst), 1))
		r.users[user] = l
	}
	if l.AllowN(now, 1) {
		return nil
	}
	wait := time.Duration((1 - l.TokensAt(now)) / r.rate * float64(time.Second))
	return &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many calls", RetryAfter: wait}
}

// limited bounds the calls of next, which come from server.Require.
func (r *rates) limited(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		user, err := caller(q.Context())
		if err == nil {
			err = r.allow(user.ID, time.Now())
		}
		if err != nil {
			refuse(log, w, q, err)
			return
		}
		next.ServeHTTP(w, q)
	})
}
