package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// small is a run of a few messages, which ends by their number.
func small(scenario Scenario, to Target) Config {
	return Config{
		Scenario: scenario, Target: to, PID: -1,
		Settings: Settings{
			Connections: 4, Rooms: 2, Members: 3, Publishers: 1, Window: 4, Messages: 40, Rate: 500, Concurrency: 8,
			Warmup: -1, Duration: 5 * time.Minute, Settle: time.Millisecond, Timeout: time.Minute, Seed: 1,
		},
	}
}

// at returns what a faulty server does once, with the message number n of
// member 1.
func at(n int, change func(packet string) []string) func(member, i int, packet string) []string {
	return func(member, i int, packet string) []string {
		if member == 1 && i == n {
			return change(packet)
		}
		return []string{packet}
	}
}

// thirdMessage is the end of the stamp of a publisher's third message.
const thirdMessage = `00000002"`

// TestFaultsInRooms has a server lose, double, swap, change and misdirect
// messages, one each in both rooms: each is seen.
func TestFaultsInRooms(t *testing.T) {
	held := make(map[string]string) // by room
	roomOf := func(packet string) string { return packet[strings.LastIndex(packet, `"room":`):] }
	for name, c := range map[string]struct {
		server *faulty
		want   Faults
		says   string
		// timeout is short where the run waits for what never comes.
		timeout time.Duration
	}{
		"none": {server: &faulty{}},
		"lost": {
			server: &faulty{deliver: at(3, func(string) []string { return nil })}, timeout: time.Second,
			want: Faults{Lost: 2}, says: "never got messages 3 to 3 of publisher 0",
		},
		"the last ones lost": {
			server: &faulty{deliver: func(member, n int, p string) []string {
				if member == 2 && n >= 18 {
					return nil
				}
				return []string{p}
			}},
			timeout: time.Second, want: Faults{Lost: 4}, says: "never got the last",
		},
		"doubled": {
			server: &faulty{deliver: at(3, func(p string) []string { return []string{p, p} })},
			want:   Faults{Duplicated: 2}, says: "again",
		},
		"swapped": {
			server: &faulty{deliver: func(member, n int, p string) []string {
				switch {
				case member == 1 && n == 4:
					held[roomOf(p)] = p
					return nil
				case member == 1 && n == 5:
					return []string{p, held[roomOf(p)]}
				}
				return []string{p}
			}},
			want: Faults{Reordered: 2}, says: "after message",
		},
		"of another room": {
			server: &faulty{deliver: at(3, func(p string) []string { return []string{p, otherRoom(p)} })},
			want:   Faults{Foreign: 2}, says: "got a message of room",
		},
		"renamed": {
			server: &faulty{deliver: at(3, func(p string) []string { return []string{p, strings.Replace(p, `"bench"`, `"punch"`, 1)} })},
			want:   Faults{Damaged: 2}, says: "was changed",
		},
		"cut short": {
			server: &faulty{deliver: at(3, func(p string) []string {
				return []string{p, `42["bench",{"bench":"` + p[strings.Index(p, "hf~"):][:35] + `"}]`}
			})},
			want: Faults{Damaged: 2}, says: "was changed",
		},
		"without a stamp": {
			server: &faulty{deliver: at(3, func(p string) []string { return []string{p, `42["bench",{}]`} })},
			want:   Faults{Damaged: 2}, says: "without a stamp",
		},
		"of nobody": {
			server: &faulty{deliver: at(3, func(p string) []string { return []string{p, ofNobody(p)} })},
			want:   Faults{Damaged: 2}, says: "not there",
		},
		"an ack twice": {
			server: &faulty{ack: func(data, p string) []string {
				if strings.Contains(data, thirdMessage) {
					return []string{p, p}
				}
				return []string{p}
			}},
			want: Faults{Duplicated: 2}, says: "acknowledged twice",
		},
		"refused": {
			server: &faulty{
				deliver: func(member, n int, p string) []string {
					if strings.Contains(p, thirdMessage) {
						return nil
					}
					return []string{p}
				},
				ack: func(data, p string) []string {
					if strings.Contains(data, thirdMessage) {
						return []string{p[:strings.Index(p, "[")] + `[{"ok":false,"error":{"message":"Slow down","code":"RATE_LIMITED"}}]`}
					}
					return []string{p}
				},
			},
			want: Faults{Refused: 2}, says: "RATE_LIMITED: Slow down",
		},
		"hung up": {
			server: &faulty{deliver: func(member, n int, p string) []string {
				if member == 2 && n == 5 {
					return []string{hangUp}
				}
				return []string{p}
			}},
			want: Faults{Disconnected: 2}, says: "4009 SLOW_CONSUMER",
		},
		"a broken frame": {
			server: &faulty{deliver: func(member, n int, p string) []string {
				if member == 2 && n == 5 {
					return []string{"raw \xff\x00"}
				}
				return []string{p}
			}},
			want: Faults{Damaged: 2, Disconnected: 2}, says: "reserved bit",
		},
		"fragments and pings": {server: &faulty{fragment: true, ping: "2"}},
		"events of its own":   {server: &faulty{ping: `42["auth:session",{"user":{"id":"x"}}]`}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.timeout > 0 {
				t.Parallel() // it waits
			}
			cfg := small(Rooms, c.server.start(t))
			if c.timeout > 0 {
				cfg.Timeout = c.timeout
			}
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := r.Faults
			got.First = nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%+v, want %+v: %q", got, c.want, r.Faults.First)
			}
			if text := strings.Join(r.Faults.First, "\n"); !strings.Contains(text, c.says) {
				t.Errorf("%q, want %q", text, c.says)
			}
			code := map[string]string{"refused": "RATE_LIMITED", "hung up": "SLOW_CONSUMER"}[name]
			if code != "" && (r.Codes[code] != 2 || len(r.Codes) != 1) {
				t.Errorf("codes are %v, want 2 of %s", r.Codes, code)
			}
			if report := (&Report{Results: []*Result{r}}); report.Failed() != (c.want.Total() > 0) {
				t.Error("Failed says", report.Failed())
			}
		})
	}
}

// otherRoom changes the room in a packet's stamp: there are rooms 0 and 1.
func otherRoom(packet string) string {
	i := strings.Index(packet, "hf~") + len("hf~") + 8 + slotDigits + roomDigits - 1
	return packet[:i] + string(packet[i]^1) + packet[i+1:]
}

// ofNobody changes the publisher in a packet's stamp.
func ofNobody(packet string) string {
	i := strings.Index(packet, "hf~") + len("hf~") + 8 + slotDigits + roomDigits
	return packet[:i] + "f" + packet[i+1:]
}

func TestFaultsOfEcho(t *testing.T) {
	const once = 17
	change := func(f func(p string) []string) func(int, string) []string {
		return func(n int, p string) []string {
			if n == once {
				return f(p)
			}
			return []string{p}
		}
	}
	for name, c := range map[string]struct {
		echo    func(int, string) []string
		want    Faults
		says    string
		timeout time.Duration
	}{
		"none":    {},
		"doubled": {echo: change(func(p string) []string { return []string{p, p} }), want: Faults{Duplicated: 1}, says: "again"},
		"lost": {
			echo: change(func(string) []string { return nil }), timeout: time.Second,
			want: Faults{Lost: 1}, says: "no ack within",
		},
		"changed": {
			echo: change(func(p string) []string { return []string{strings.Replace(p, "hf~", "hf-", 1)} }),
			want: Faults{Damaged: 1}, says: "does not have its data",
		},
		"never asked for": {
			echo: change(func(p string) []string { return []string{p, `4399999[]`} }),
			want: Faults{Foreign: 1}, says: "that it has not sent",
		},
		"refused": {
			echo: change(func(p string) []string {
				return []string{p[:strings.Index(p, "[")] + `[{"ok":false,"error":{"message":"No such event","code":"NOT_FOUND"}}]`}
			}),
			want: Faults{Refused: 1}, says: "NOT_FOUND: No such event",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := &faulty{echo: c.echo}
			cfg := small(Echo, server.start(t))
			cfg.Window = 8
			if c.timeout > 0 {
				cfg.Timeout = c.timeout
			}
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := r.Faults
			got.First = nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%+v, want %+v: %q", got, c.want, r.Faults.First)
			}
			if text := strings.Join(r.Faults.First, "\n"); !strings.Contains(text, c.says) {
				t.Errorf("%q, want %q", text, c.says)
			}
		})
	}
}

// TestRefused has a server let nobody in, or not everybody.
func TestRefused(t *testing.T) {
	answer := func(status int, body string) func(int, http.ResponseWriter) bool {
		return func(_ int, w http.ResponseWriter) bool {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for name, c := range map[string]struct {
		server *faulty
		says   string
		code   holdfast.Code
	}{
		"by HTTP": {&faulty{upgrade: answer(429, `{"error":"Too many requests","code":"RATE_LIMITED"}`)}, "429 Too Many Requests: Too many requests (to be retried after 2 s)", holdfast.RateLimited},
		"a page":  {&faulty{upgrade: answer(404, "<html>")}, "404 Not Found", ""},
		"by a 44": {&faulty{admit: func(int, string) []string {
			return []string{`44{"message":"Unauthorized: token expired","data":{"code":"TOKEN_EXPIRED"}}`}
		}}, "Unauthorized: token expired", holdfast.TokenExpired},
		"of others": {&faulty{admit: func(int, string) []string { return []string{`44{"message":"jwt expired"}`} }}, "jwt expired", ""},
		"hung up":   {&faulty{admit: func(int, string) []string { return []string{hangUp} }}, "4009 SLOW_CONSUMER", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Run(t.Context(), small(Fanout, c.server.start(t)))
			if r != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %q", err, c.says)
			}
			if c.code != "" && !errors.Is(err, c.code) {
				t.Errorf("%v is not %s", err, c.code)
			}
		})
	}
	t.Run("one of many", func(t *testing.T) {
		server := &faulty{admit: func(n int, p string) []string {
			if n == 2 {
				return []string{`44{"message":"full"}`}
			}
			return []string{p}
		}}
		r, err := Run(t.Context(), small(Connect, server.start(t)))
		if err != nil || r.Count != 3 || r.Faults.Refused != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestDisconnected has a server end connections that it has admitted.
func TestDisconnected(t *testing.T) {
	server := &faulty{admit: func(n int, p string) []string {
		if n == 2 {
			return []string{p, hangUp}
		}
		return []string{p}
	}}
	r, err := Run(t.Context(), small(Connect, server.start(t)))
	if err != nil || r.Count != 4 || r.Faults.Disconnected != 1 || r.Faults.Total() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	cfg := small(Fanout, (&faulty{admit: server.admit}).start(t))
	cfg.Timeout = 2 * time.Second
	if r, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "have joined") || !strings.Contains(err.Error(), "SLOW_CONSUMER") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestNobodyThere dials a port that nobody listens on.
func TestNobodyThere(t *testing.T) {
	_, err := Run(t.Context(), small(Echo, target(t, "http://127.0.0.1:1")))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}

// TestLargeMessages sends frames of 64-bit lengths, which come in many reads.
func TestLargeMessages(t *testing.T) {
	server := &faulty{}
	cfg := small(Rooms, server.start(t))
	cfg.Size, cfg.Messages = 100_000, 10
	r, err := Run(t.Context(), cfg)
	if err != nil || r.Faults.Total() > 0 || r.Count != 10*3 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := binary.Size(stamp{}); n != 16 {
		t.Errorf("a stamp takes %d bytes", n)
	}
}
