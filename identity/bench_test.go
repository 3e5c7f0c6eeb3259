package identity

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/pgtest"
)

// benchDatabases runs a benchmark with both databases, which write to the disk
// before they say so, as in production.
func benchDatabases(b *testing.B, run func(b *testing.B, p *Provider)) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			cfg := Config{Dir: b.TempDir(), Argon2: Argon2{Memory: 64, Time: 1}}
			if kind == "postgres" {
				server, err := pgtest.Start(pgtest.Config{Durable: true})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() {
					if err := server.Stop(); err != nil {
						b.Error(err)
					}
				})
				if cfg.Database, err = server.Create(); err != nil {
					b.Fatal(err)
				}
			}
			p, err := Open(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := p.Close(); err != nil {
					b.Error(err)
				}
			})
			run(b, p)
		})
	}
}

func benchLogin(b *testing.B, p *Provider, email string) Login {
	b.Helper()
	if _, err := p.CreateUser(b.Context(), NewUser{Email: email, Password: goodPassword}); err != nil {
		b.Fatal(err)
	}
	l, err := p.SignIn(b.Context(), SignInRequest{Email: email, Password: goodPassword}, home)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkRefresh is one session after the other; RefreshParallel is sixteen
// at once, each with its own.
func BenchmarkRefresh(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		l := benchLogin(b, p, "ann@example.com")
		for b.Loop() {
			var err error
			if l, err = p.Refresh(b.Context(), l.RefreshToken, home); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
	})
}

func BenchmarkRefreshParallel(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		const sessions = 16
		logins := make([]Login, 0, sessions)
		for i := range sessions {
			logins = append(logins, benchLogin(b, p, string(rune('a'+i))+"@example.com"))
		}
		var next atomic.Int32
		b.SetParallelism(sessions) // times GOMAXPROCS; those too many end at once
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			i := int(next.Add(1)) - 1
			if i >= sessions {
				for pb.Next() {
					return
				}
			}
			l := logins[i%sessions]
			for pb.Next() {
				var err error
				if l, err = p.Refresh(b.Context(), l.RefreshToken, home); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
	})
}

func BenchmarkSessionByCookie(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		l := benchLogin(b, p, "ann@example.com")
		for b.Loop() {
			if _, _, err := p.SessionByCookie(b.Context(), l.CookieSecret); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkAuthenticate never gets to the database.
func BenchmarkAuthenticate(b *testing.B) {
	p, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l := benchLogin(b, p, "ann@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Authenticate(b.Context(), auth.Credential{Token: l.AccessToken}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPassword is one hash with the default parameters.
func BenchmarkPassword(b *testing.B) {
	h := newHasher(Argon2{}.withDefaults())
	hash, err := h.hash(b.Context(), goodPassword)
	if err != nil {
		b.Fatal(err)
	}
	for name, hash := range map[string]string{"known": hash, "unknown": ""} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := h.verify(b.Context(), hash, "wrong horse battery"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSaveEvent is one event after the other; SaveEventParallel is 64 at
// once, which share transactions.
func BenchmarkSaveEvent(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		n := 0
		for b.Loop() {
			if err := saveEvent(b, p, n); err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
}

func BenchmarkSaveEventParallel(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		var next atomic.Int64
		b.SetParallelism(64 / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := saveEvent(b, p, int(next.Add(1))); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

func saveEvent(b *testing.B, p *Provider, n int) error {
	scope := fmt.Sprintf("uuser-%d", n%100)
	return p.SaveEvent(b.Context(), scope, fmt.Sprintf("01KDVXZ8Q4M7W9T3B5%08d", n), "/ todo:create", []byte(`v{"ok":true,"data":{"id":7}}`), time.Now())
}

// BenchmarkLoadEvent asks for an event that is not there, as each new one does.
func BenchmarkLoadEvent(b *testing.B) {
	benchDatabases(b, func(b *testing.B, p *Provider) {
		for n := range 1000 {
			if err := saveEvent(b, p, n); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			if _, _, found, err := p.LoadEvent(b.Context(), "uuser-1", "01KDVXZ8Q4M7W9T3B5N6C2R1SA"); err != nil || found {
				b.Fatal(found, err)
			}
		}
	})
}
