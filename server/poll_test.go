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
	"github.com/holdfast-dev/holdfast/hub"
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
		pos, err := w.srv.PublishEvent(t.Context(), holdfast.Event{Room: "a", Name: "one", Data: json.RawMessage(`{"n" : "<1>"}`)})
		if err != nil {
			t.Fatal(err)
		}
		w.publish("b", "two", nil)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		w.publish("a", "three", nil)
		w.publish("c", "elsewhere", nil)
		p := w.poll("alice", "?room=a&room=b&since="+first.Cursor)
		if got := p.names(t); !slices.Equal(got, []string{"one", "two", "three"}) || time.Since(start) != time.Millisecond {
			t.Errorf("%v after %v", got, time.Since(start))
		}
		if want := eventJSON("a", "one", `{"n" : "<1>"}`, pos); string(p.Events[0]) != want {
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

func TestShortPolling(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		first := w.poll("alice", "?room=a&room=b&wait=0")
		tag := first.header.Get("ETag")
		if len(tag) < 10 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			t.Fatalf("ETag %s", tag)
		}
		query := "?room=a&room=b&wait=0&since=" + first.Cursor
		for _, header := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			p := w.poll("alice", query, "If-None-Match", header)
			if p.status != 304 || p.body != "" || p.header.Get("ETag") != tag || p.header.Get("Cache-Control") != "private, no-cache" || p.header.Get("Vary") == "" {
				t.Errorf("If-None-Match %s: %d %q %v", header, p.status, p.body, p.header)
			}
		}
		// A tag opens nothing.
		if status, _, body := w.get("/poll"+query, "If-None-Match", tag); status != 401 {
			t.Errorf("without a credential: %d %s", status, body)
		}
		w.publish("a", "e", nil)
		p := w.poll("alice", query, "If-None-Match", tag)
		if p.status != 200 || len(p.Events) != 1 || p.header.Get("ETag") == tag {
			t.Errorf("%d %s", p.status, p.body)
		}
		if again := w.poll("alice", query, "If-None-Match", p.header.Get("ETag")); again.status != 304 {
			t.Errorf("the same again: %d %s", again.status, again.body)
		}
		if held := w.poll("alice", "?room=a&wait=1&since="+p.Cursor); held.header.Get("ETag") != "" {
			t.Error("a long poll has an ETag")
		}
	})
}

func TestPollRefusesWait(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		for _, wait := range []string{"-1", "x", "1.5", "5s", "+5", " 5"} {
			if p := w.poll("alice", "?room=a&wait="+url.QueryEscape(wait)); p.status != 400 || codeIn(p.body) != holdfast.InvalidArgument {
				t.Errorf("wait=%s: %d %s", wait, p.status, p.body)
			}
		}
		if p := w.poll("alice", "?room=a&wait=99999999999999999999999"); p.status != 200 {
			t.Errorf("%d %s", p.status, p.body)
		}
		if p := w.poll("alice", "?room=a&wait=0;since=x"); p.status != 400 {
			t.Errorf("%d %s", p.status, p.body)
		}
	})
}

// An answer is bounded, what is left comes with the next, and a busy room does
// not keep another from being heard.
func TestPollBounds(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		cursor := w.poll("alice", "?room=busy&room=quiet").Cursor
		for i := range 900 {
			w.publish("busy", fmt.Sprint(i), nil)
		}
		w.publish("quiet", "here", nil)
		next, calls := 0, 0
		heard := false
		for next < 900 || !heard {
			if calls++; calls > 10 {
				t.Fatalf("%d calls, and %d events", calls, next)
			}
			p := w.poll("alice", "?room=busy&room=quiet&wait=0&since="+cursor)
			if len(p.Events) > 256 {
				t.Errorf("%d events", len(p.Events))
			}
			for _, name := range p.names(t) {
				if name == "here" {
					heard = true
				} else if name != fmt.Sprint(next) {
					t.Fatalf("%s, want %d", name, next)
				} else {
					next++
				}
			}
			cursor = p.Cursor
		}
		// Large ones go by their size, and one alone always fits.
		for range 16 {
			w.publish("large", "x", strings.Repeat("a", 60<<10))
		}
		cursor = w.poll("alice", "?room=large").Cursor
		for i := range 16 {
			w.publish("large", fmt.Sprint(i), strings.Repeat("\x00", 10<<10)) // 60 KiB as JSON
		}
		for next = 0; next < 16; {
			p := w.poll("alice", "?room=large&wait=0&since="+cursor)
			if len(p.body) > 1<<20+10_000 || len(p.Events) == 0 || p.Reset != nil {
				t.Fatalf("%d bytes, %d events, reset %v", len(p.body), len(p.Events), p.Reset)
			}
			for _, name := range p.names(t) {
				if name != fmt.Sprint(next) {
					t.Fatalf("%s, want %d", name, next)
				}
				next++
			}
			cursor = p.Cursor
		}
	})
}

// Anybody in the room may be on any node: no call depends on the one before.
func TestPollNeedsNoNode(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := hub.NewMemory(hub.MemoryConfig{})
		defer broker.Close()
		nodes := []*world{newWorld(t, server.Config{Broker: oneOf(broker)}), newWorld(t, server.Config{Broker: oneOf(broker)})}
		cursor := nodes[0].poll("alice", "?room=a").Cursor
		for i := range 10 {
			name := fmt.Sprint(i)
			nodes[i/2%2].publish("a", name, nil)
			p := nodes[i%2].poll("alice", "?room=a&since="+cursor)
			if got := p.names(t); !slices.Equal(got, []string{name}) {
				t.Fatalf("%v, want %s", got, name)
			}
			cursor = p.Cursor
		}
	})
}

// oneOf lets several hubs read one broker, whose events reach none of them as
// they happen.
func oneOf(b hub.Broker) hub.Broker { return silent{b} }

type silent struct{ hub.Broker }

func (s silent) Subscribe(ctx context.Context, room string, _ hub.Receiver) (holdfast.Position, error) {
	h, err := s.History(ctx, room, nil, 1)
	return h.Position, err
}

func (silent) Unsubscribe(context.Context, string) error { return nil }
