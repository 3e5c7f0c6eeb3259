package server_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// publishAs publishes the event "e" in the room "r", as the client that it is:
// who only listens says what he has to say over HTTP.
func publishAs(w *world, name, token, data string) error {
	w.t.Helper()
	var p *peer
	var answer string
	switch name {
	case "socket.io":
		p = w.dial()
		p.connect(token)
		p.send(`425["room:publish",{"room":"r","event":"e","data":` + data + `}]`)
		answer = p.want(`435[{"ok":`)
	case "ws":
		p = w.plain("", "Authorization", "Bearer "+token)
		p.want(`{"type":"authenticated"`)
		p.send(`{"type":"publish","room":"r","event":"e","data":` + data + `,"ref":5}`)
		answer = p.recv()
	case "topic":
		p = w.topic("", "Authorization", "Bearer "+token)
		p.want(`{"topic":"authenticated"`)
		p.send(`{"topic":"publish","data":{"room":"r","event":"e","data":` + data + `,"ref":5}}`)
		answer = p.recv()
	default:
		_, _, answer = w.request("POST", roomPath("r"), `{"event":"e","data":`+data+`}`, "Authorization", "Bearer "+token)
	}
	if p != nil {
		p.conn.CloseNow()
	}
	if codeIn(answer) != "" {
		return refusal(answer)
	}
	if !strings.Contains(answer, `"offset":`) {
		w.t.Errorf("%s: answered %s", name, answer)
	}
	return nil
}

// An application that refuses joins and publishes is asked on every transport,
// and its code is what the client gets.
func TestTransportsHooksRefuse(t *testing.T) {
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			overAll(t, func(t *testing.T, name string, join joinAs) {
				w := newWorld(t, server.Config{})
				j := new(journal)
				j.follow(w.srv)
				w.srv.OnJoin(func(_ context.Context, j *server.Join) error {
					if j.Room != "r" {
						return nil
					}
					return tc.fail()
				})
				w.srv.OnPublish(func(context.Context, *server.Publish) error { return tc.fail() })
				check := func(what string, err error) {
					t.Helper()
					var r refusal
					if !errors.As(err, &r) || err.Error() != tc.code || strings.Contains(string(r), "hunter2") {
						t.Errorf("%s: %v, want %s", what, err, tc.code)
					}
					if (tc.code == "RATE_LIMITED") != strings.Contains(string(r), `"retryAfter":3`) {
						t.Errorf("retryAfter in %s", r)
					}
				}
				alice := token(t, "alice", time.Hour)
				_, err := join(w, alice, "r")
				check("join", err)
				m := mustJoin(t, w, join, alice, "open")
				_, err = join(w, alice, "open", "r")
				check("join of two", err)
				check("publish", publishAs(w, name, alice, "1"))
				synctest.Wait()
				if told := j.take(); strings.Contains(told, " r ") || strings.Contains(told, "published") {
					t.Errorf("told %s", told)
				}
				w.publish("open", "own", 1) // the program's own are not asked about
				expect(t, m, happening{"event", "own", "1"})
				m.close()
			})
		})
	}
}

// What the application makes of an event is what everybody gets, and it sees
// who asks, by which transport.
func TestTransportsHooksDecide(t *testing.T) {
	overAll(t, func(t *testing.T, name string, join joinAs) {
		w := newWorld(t, server.Config{})
		want := map[string]string{"socket.io": "websocket", "topic": "ws"}[name]
		if want == "" {
			want = name
		}
		seen := func(c *server.Conn, id *holdfast.Identity) string {
			if c == nil {
				return id.User + " by http"
			}
			return id.User + " by " + c.Transport()
		}
		var asked []string // by calls of the test's own, one at a time
		w.srv.OnJoin(func(_ context.Context, j *server.Join) error {
			asked = append(asked, "join "+seen(j.Conn, j.Identity))
			return nil
		})
		w.srv.OnPublish(func(_ context.Context, p *server.Publish) error {
			asked = append(asked, "publish "+seen(p.Conn, p.Identity))
			if bytes.Contains(p.Event.Data, []byte("bad")) {
				return holdfast.Conflict.New()
			}
			p.Event.Data = []byte(`{"seen":` + string(p.Event.Data) + `}`)
			return nil
		})
		alice := token(t, "alice", time.Hour)
		m := mustJoin(t, w, join, alice, "r")
		byHTTP := want
		if name == "sse" || name == "poll" {
			byHTTP = "http"
		}
		if name == "poll" {
			want = "http"
		}
		if err := publishAs(w, name, alice, `"bad"`); err == nil || err.Error() != string(holdfast.Conflict) {
			t.Errorf("published: %v", err)
		}
		if err := publishAs(w, name, alice, `1`); err != nil {
			t.Error(err)
		}
		expect(t, m, happening{"event", "e", `{"seen":1}`})
		synctest.Wait()
		for _, line := range asked {
			if line != "join alice by "+want && line != "publish alice by "+byHTTP {
				t.Errorf("asked about %s", line)
			}
		}
		if got := strings.Join(asked, "\n"); strings.Count(got, "publish") != 2 || strings.Count(got, "join") < 1 || name != "poll" && strings.Count(got, "join") != 1 {
			t.Errorf("asked about\n%s", got)
		}
	})
}

// Who may not join by the application's word may not read either, at a poll
// that goes on, at a stream that resumes, or in history.
func TestHooksRefuseReaders(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		closed := make(chan struct{})
		w.srv.OnJoin(func(context.Context, *server.Join) error {
			select {
			case <-closed:
				return holdfast.Forbidden.New()
			default:
				return nil
			}
		})
		s, p := w.listen("alice", "?room=r"), w.poll("bob", "?room=r")
		w.publish("r", "e", 1)
		cursor := s.want("e", "").ID
		s.close()
		close(closed)
		alice := []string{"Authorization", "Bearer " + token(t, "alice", time.Hour)}
		for _, path := range []string{"/events?room=r&since=" + cursor, "/poll?room=r&since=" + p.Cursor, "/api/rooms/r/history"} {
			if status, _, body := w.request("GET", path, "", alice...); status != http.StatusForbidden || codeIn(body) != holdfast.Forbidden {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	})
}
