package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/tokens"
)

// ways are the ways in which a server can refuse a socket.
var ways = []struct {
	name string
	// refuse refuses the peer with a code.
	refuse func(p *peer, info holdfast.CodeInfo)
	// applies says whether the code can come this way.
	applies func(info holdfast.CodeInfo) bool
}{
	{"close code", func(p *peer, i holdfast.CodeInfo) { p.admit(); p.close(websocket.StatusCode(i.Close), "") },
		// One close code stands for two codes: the first of them.
		func(i holdfast.CodeInfo) bool {
			return i.Close != 0 && i.Code != holdfast.SessionRevoked && i.Code != holdfast.PermissionVersionStale
		}},
	{"close reason", func(p *peer, i holdfast.CodeInfo) {
		p.admit()
		p.close(websocket.StatusCode(i.Close), string(i.Code))
	}, func(i holdfast.CodeInfo) bool { return i.Close != 0 }},
	{"auth:closing", func(p *peer, i holdfast.CodeInfo) {
		p.admitAs("ann")
		p.send(`42["auth:closing",{"code":%q,"message":"Bye."}]`, string(i.Code))
		p.close(1000, "")
	}, func(i holdfast.CodeInfo) bool { return true }},
	{"connect error", func(p *peer, i holdfast.CodeInfo) {
		p.hello()
		p.send(`44{"message":"No.","data":{"code":%q}}`, string(i.Code))
		p.idle()
	}, func(i holdfast.CodeInfo) bool { return true }},
	{"handshake", nil, func(i holdfast.CodeInfo) bool { return i.HTTP != 0 }},
}

// L43: each code, each way.
func TestL43Codes(t *testing.T) {
	for _, way := range ways {
		for _, info := range holdfast.Codes() {
			if !way.applies(info) {
				continue
			}
			t.Run(way.name+"/"+string(info.Code), func(t *testing.T) {
				refusals := 1 // then the server lets the client in
				bubble(t, func(p *peer) {
					if way.refuse != nil && p.n <= refusals {
						way.refuse(p, info)
						return
					}
					p.admit()
					p.idle()
				}, func(t *testing.T, f *fake) {
					if way.refuse == nil {
						f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
							if n > refusals {
								return false
							}
							w.WriteHeader(info.HTTP)
							fmt.Fprintf(w, `{"error":"No.","code":%q}`, string(info.Code))
							return true
						}
					}
					checkCode(t, f, info)
				})
			})
		}
	}
	// A close frame that says nothing, and others' codes, mean to try again.
	for _, status := range []websocket.StatusCode{1000, 1005, 1008, 1012, 1013, 3000, 4999} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, func(p *peer) {
				p.admit()
				if p.n == 1 {
					p.close(status, "whatever")
					return
				}
				p.idle()
			}, func(t *testing.T, f *fake) {
				checkCode(t, f, holdfast.CodeInfo{Action: holdfast.ActionReconnect})
			})
		})
	}
}

// checkCode connects to a server that refuses once with a code, and looks at
// what the socket makes of it.
func checkCode(t *testing.T, f *fake, info holdfast.CodeInfo) {
	t.Helper()
	src := &source{}
	s := f.client(Config{Source: src}).Socket()
	err := s.Connect(patient(t))
	f.sleep(time.Minute)
	connections, refusals := 2, []holdfast.Code(nil)
	switch info.Action {
	case holdfast.ActionStop, holdfast.ActionNewCSRF:
		connections = 1
	case holdfast.ActionSignedOut:
		connections = 1
		refusals = []holdfast.Code{info.Code}
	case holdfast.ActionRefresh, holdfast.ActionRefreshOnce:
		refusals = []holdfast.Code{info.Code}
	}
	if f.connections() != connections || !slices.Equal(src.refusals(), refusals) {
		t.Errorf("%d connections, refused tokens %v; want %d, %v", f.connections(), src.refusals(), connections, refusals)
	}
	if connections == 2 {
		if err != nil || s.State() != Connected {
			t.Errorf("%v, %v", s.State(), err)
		}
		return
	}
	if last := lastChange(s); last.State != Disconnected || !last.Final || !errors.Is(last.Err, info.Code) {
		t.Errorf("%+v", last)
	}
	if err != nil && !errors.Is(err, info.Code) { // nil if it was connected before
		t.Errorf("Connect: %v", err)
	}
}

func lastChange(s *Socket) Change {
	changes, stop := s.Changes(1)
	defer stop()
	return <-changes
}

// A server that refuses every token: L11, and no loop.
func TestL11RefusedForEver(t *testing.T) {
	for code, want := range map[holdfast.Code]int{
		holdfast.Unauthenticated:        1,
		holdfast.TokenExpired:           maxRenewals,
		holdfast.PermissionVersionStale: maxRenewals,
		holdfast.SessionRevoked:         1, // told, not asked
	} {
		for _, way := range ways[:4] {
			info := code.Info()
			if !way.applies(info) {
				continue
			}
			t.Run(way.name+"/"+string(code), func(t *testing.T) {
				bubble(t, func(p *peer) { way.refuse(p, info) }, func(t *testing.T, f *fake) {
					src := &source{}
					s := f.client(Config{Source: src}).Socket()
					s.Connect(patient(t))
					f.sleep(time.Hour)
					if last := lastChange(s); !last.Final || !errors.Is(last.Err, code) || len(src.refusals()) != want {
						t.Errorf("%d refreshes, want %d: %+v", len(src.refusals()), want, last)
					}
				})
			})
		}
	}
}

// A fixed token that expires is a clear terminal error (L12).
func TestL12StaticExpires(t *testing.T) {
	bubble(t, func(p *peer) {
		p.hello()
		p.send(`44{"message":"Unauthorized: token expired","data":{"code":"TOKEN_EXPIRED"}}`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Source: tokens.Static("abc")}).Socket()
		err := s.Connect(patient(t))
		if refused, ok := errors.AsType[*tokens.RefusedError](err); !ok || refused.Token.Access != "abc" || !errors.Is(err, holdfast.TokenExpired) {
			t.Errorf("%v", err)
		}
		if f.connections() != 1 {
			t.Errorf("%d connections", f.connections())
		}
	})
}

// A refresh that fails in passing doesn't end the socket (L03).
func TestL03RefreshFails(t *testing.T) {
	bubble(t, func(p *peer) {
		p.hello()
		if p.auth == `{"token":"t0"}` {
			p.send(`44{"message":"Unauthorized: token expired","data":{"code":"TOKEN_EXPIRED"}}`)
		} else {
			p.send(`40{"sid":"x"}`)
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		src := &source{fail: []error{
			io.ErrUnexpectedEOF,
			&holdfast.Error{Code: holdfast.Internal},
			&holdfast.Error{Code: holdfast.RateLimited, RetryAfter: 100 * time.Second},
		}}
		s := f.client(Config{Source: src}).Socket()
		start := time.Now()
		if err := s.Connect(patient(t)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 100*time.Second || len(src.refusals()) != 4 || f.connections() != 2 {
			t.Errorf("took %v, %d refreshes, %d connections", took, len(src.refusals()), f.connections())
		}
		// One that fails for good does (L04).
		src = &source{fail: []error{&holdfast.Error{Code: holdfast.RefreshReused}}}
		s = f.client(Config{Source: src}).Socket()
		if err := s.Connect(patient(t)); !errors.Is(err, holdfast.RefreshReused) {
			t.Error(err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for name, refuse := range map[string]func(p *peer){
		"closing": func(p *peer) {
			p.admitAs("ann")
			p.send(`42["auth:closing",{"code":"GOING_AWAY","message":"Bye.","retryAfter":77}]`)
			p.close(1001, "GOING_AWAY")
		},
		"44": func(p *peer) {
			p.hello()
			p.send(`44{"message":"Later.","data":{"code":"RATE_LIMITED","retryAfter":77}}`)
			p.idle()
		},
		"header": nil,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(p *peer) {
				if p.n == 1 {
					refuse(p)
					return
				}
				p.admit()
				p.idle()
			}, func(t *testing.T, f *fake) {
				f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
					if n > 1 || refuse != nil {
						return false
					}
					w.Header().Set("Retry-After", "77")
					w.WriteHeader(503)
					return true
				}
				s := f.client(Config{}).Socket()
				if err := s.Connect(patient(t)); err != nil {
					t.Fatal(err)
				}
				f.sleep(100 * time.Second)
				gap := f.times()[1].Sub(f.times()[0])
				if gap < 77*time.Second || gap > 79*time.Second {
					t.Errorf("came back after %v", gap)
				}
			})
		})
	}
}

// A plain server's refusals, by their words; 41; and statuses without a code.
func TestPlainRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		say  string
		code holdfast.Code
		n    int // connections
	}{
		"namespace":    {`44{"message":"Invalid namespace"}`, holdfast.NotFound, 1},
		"unauthorized": {`44{"message":"unauthorized"}`, holdfast.Unauthenticated, 2},
		"jwt":          {`44{"message":"jwt malformed","data":null}`, holdfast.Unauthenticated, 2},
		"expired":      {`44{"message":"jwt expired"}`, holdfast.TokenExpired, 4},
		"own":          {`44{"message":"banned","data":{"code":"E_BANNED","since":7}}`, holdfast.Forbidden, 1},
		"odd":          {`44{"message":"no","data":"why"}`, holdfast.Forbidden, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(p *peer) { p.hello(); p.send("%s", test.say); p.idle() }, func(t *testing.T, f *fake) {
				err := f.client(Config{Source: &source{}}).Socket().Connect(patient(t))
				e, ok := errors.AsType[*holdfast.Error](err)
				if !ok || e.Code != test.code || f.connections() != test.n {
					t.Errorf("%v, %d connections", err, f.connections())
				}
				if name == "own" && string(e.Details) != `{"code":"E_BANNED","since":7}` {
					t.Errorf("details %s", e.Details)
				}
			})
		})
	}
	t.Run("disconnect packet", func(t *testing.T) {
		bubble(t, func(p *peer) { p.admit(); p.send("41"); p.idle() }, func(t *testing.T, f *fake) {
			s := f.connect(Config{})
			f.sleep(time.Minute)
			if last := lastChange(s); !last.Final || !errors.Is(last.Err, ErrDisconnected) || f.connections() != 1 {
				t.Errorf("%+v", last)
			}
			if err := s.Connect(patient(t)); err != nil { // the caller may try again
				t.Error(err)
			}
		})
	})
	for _, status := range []int{400, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, func(p *peer) { p.admit(); p.sleep(time.Second) }, func(t *testing.T, f *fake) {
				f.before = func(n int, w http.ResponseWriter, _ *http.Request) bool {
					if n == 2 || n > 5 {
						return false
					}
					w.WriteHeader(status)
					fmt.Fprint(w, `{"code":3,"message":"Bad request"}`)
					return true
				}
				// At first it means a wrong address.
				s := f.client(Config{Socket: SocketConfig{Transports: []string{WebSocket}}}).Socket()
				if err := s.Connect(patient(t)); !errors.Is(err, refusal.Read(status, nil, nil).Err.Code) || f.connections() != 1 {
					t.Errorf("%v, %d connections", err, f.connections())
				}
				// Later it means that the server is away.
				if err := s.Connect(patient(t)); err != nil {
					t.Error(err)
				}
				f.sleep(time.Minute)
				if f.connections() < 6 {
					t.Errorf("%d connections", f.connections())
				}
			})
		})
	}
}

func TestL44Backoff(t *testing.T) {
	r := rules{cfg: SocketConfig{}.withDefaults(), random: func() float64 { return 0.999999999 }}
	cut := ending{err: io.EOF}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		d := r.after(cut)
		if d.stop || d.wait.Round(time.Second) != want*time.Second {
			t.Errorf("%d: %+v, want %d s", i, d, want)
		}
	}
	// A short connection resets nothing, one longer than the wait does.
	cut.connected = true
	for _, test := range []struct{ lasted, wait time.Duration }{{29, 30}, {30, 1}, {0, 2}, {1, 4}, {4, 1}} {
		cut.lasted = test.lasted * time.Second
		if d := r.after(cut); d.wait.Round(time.Second) != test.wait*time.Second {
			t.Errorf("after %v s: %v, want %v s", test.lasted, d.wait, test.wait)
		}
	}
	for range 1000 { // no overflow
		r.after(ending{err: io.EOF})
	}
	if d := r.after(cut); d.wait.Round(time.Second) != 30*time.Second {
		t.Errorf("%v", d.wait)
	}
	// RetryAfter comes before the jitter.
	r = rules{cfg: r.cfg, random: func() float64 { return 0.5 }}
	if d := r.after(ending{err: &holdfast.Error{Code: holdfast.ConnectionLimit, RetryAfter: 10 * time.Second}}); d.wait != 10500*time.Millisecond {
		t.Errorf("%v", d.wait)
	}
	// A token that served for a while may be refused again.
	r = rules{cfg: r.cfg, random: r.random}
	refused := ending{err: holdfast.Unauthenticated.New(), connected: true, lasted: stable}
	for range 10 {
		if d := r.after(refused); d.stop || d.renew == nil || d.wait != 0 {
			t.Errorf("%+v", d)
		}
	}
	refused.lasted--
	if d := r.after(refused); !d.stop {
		t.Errorf("%+v", d)
	}
}
