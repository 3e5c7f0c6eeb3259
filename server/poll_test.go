package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// polled is what GET /poll answers.
type polled struct {
	status int
	header http.Header
	body   string

	Events []json.RawMessage
	Cursor string
	Reset  []string
}

// names are the names of the events.
func (p polled) names(t testing.TB) []string {
	t.Helper()
	names := []string{}
	for _, raw := range p.Events {
		var ev struct{ Type, Event string }
		if err := json.Unmarshal(raw, &ev); err != nil || ev.Type != "event" {
			t.Errorf("%s: %v", raw, err)
		}
		names = append(names, ev.Event)
	}
	return names
}

// poll polls as a user.
func (w *world) poll(user, query string, header ...string) polled {
	w.t.Helper()
	return w.pollBy(token(w.t, user, time.Hour), query, header...)
}

func (w *world) pollBy(token, query string, header ...string) polled {
	w.t.Helper()
	var p polled
	p.status, p.header, p.body = w.request("GET", "/poll"+query, "", append(header, "Authorization", "Bearer "+token)...)
	if p.status == http.StatusOK {
		if err := json.Unmarshal([]byte(p.body), &p); err != nil || p.Cursor == "" || p.Events == nil {
			w.t.Fatalf("%s: %v", p.body, err)
		}
	}
	return p
}

func TestPoll(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.publish("a", "old", nil)
		start := time.Now()
		first := w.poll("alice", "?room=a&room=b&wait=25")
		if len(first.Events) != 0 || first.Reset != nil || time.Since(start) != 0 {
			t.Errorf("the first poll: %+v after %v", first, time.Since(start))
		}
		if first.header.Get("Cache-Control") != "private, no-cache" || first.header.Get("Vary") != "Authorization, Cookie, Origin" {
			t.Errorf("%v", first.header)
		}
		pos := w.publish("a", "one", map[string]int{"n": 1})
		w.publish("b", "two", nil)
		time.Sleep(time.Millisecond)
		w.publish("a", "three", nil)
		w.publish("c", "elsewhere", nil)
		p := w.poll("alice", "?room=a&room=b&since="+first.Cursor)
		if got := p.names(t); !slices.Equal(got, []string{"one", "two", "three"}) || time.Since(start) != time.Millisecond {
			t.Errorf("%v after %v", got, time.Since(start))
		}
		if want := eventJSON("a", "one", `{"n":1}`, pos); string(p.Events[0]) != want {
			t.Errorf("%s, want %s", p.Events[0], want)
		}
		// Nothing comes: it is held, 25 s or as asked for.
		for query, want := range map[string]time.Duration{"": 25 * time.Second, "&wait=3": 3 * time.Second, "&wait=99": 30 * time.Second, "&wait=0": 0} {
			start = time.Now()
			q := w.poll("alice", "?room=a&room=b"+query+"&since="+p.Cursor)
			if len(q.Events) != 0 || q.Cursor != p.Cursor || time.Since(start) != want {
				t.Errorf("%q: %s after %v", query, q.body, time.Since(start))
			}
		}
		// Something comes meanwhile.
		go func() { time.Sleep(4 * time.Second); w.publish("b", "four", nil) }()
		start = time.Now()
		q := w.poll("alice", "?room=a&room=b&since="+p.Cursor)
		if got := q.names(t); !slices.Equal(got, []string{"four"}) || time.Since(start) != 4*time.Second {
			t.Errorf("%v after %v", got, time.Since(start))
		}
		// Other rooms: those that are known go on, the new one begins, at once.
		w.publish("d", "old", nil)
		q = w.poll("alice", "?room=d&room=b&since="+p.Cursor)
		if got := q.names(t); !slices.Equal(got, []string{"four"}) {
			t.Errorf("%v", got)
		}
		w.publish("d", "new", nil)
		q = w.poll("alice", "?room=d&room=b&since="+q.Cursor)
		if got := q.names(t); !slices.Equal(got, []string{"new"}) {
			t.Errorf("%v", got)
		}
	})
}

func historyPath(room, query string) string {
	return "/api/rooms/" + url.PathEscape(room) + "/history" + query
}

var _ = []any{context.Background, fmt.Sprint, strings.Cut, synctest.Wait, holdfast.Event{}, auth.Claims{}}
