package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

func historyPath(room, query string) string {
	return "/api/rooms/" + url.PathEscape(room) + "/history" + query
}

// read is the answer to a reading of history.
type read struct {
	Events    []json.RawMessage
	Epoch     string
	Offset    uint64
	Recovered *bool
}

// events are the names of the events.
func (r read) events() string {
	var names []string
	for _, raw := range r.Events {
		var ev struct{ Event string }
		_ = json.Unmarshal(raw, &ev)
		names = append(names, ev.Event)
	}
	return strings.Join(names, " ")
}

func (w *world) history(room, query, credential string) (read, int, string) {
	w.t.Helper()
	status, h, body := w.request("GET", historyPath(room, query), "", "Authorization", "Bearer "+credential)
	if h.Get("Cache-Control") != "no-store" {
		w.t.Errorf("Cache-Control %s", h.Get("Cache-Control"))
	}
	var r read
	if status == 200 {
		if err := json.Unmarshal([]byte(body), &r); err != nil || r.Events == nil || r.Recovered == nil || r.Epoch == "" {
			w.t.Errorf("%s: %v", body, err)
		}
	}
	return r, status, body
}

func TestHistoryOverHTTP(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorldWithKeys(t)
		alice := token(t, "alice", time.Hour)
		if r, _, body := w.history("a/b c", "", alice); len(r.Events) != 0 || r.Offset != 0 || !*r.Recovered {
			t.Errorf("a room that nobody used: %s", body)
		}
		var last holdfast.Position
		for i := range 250 {
			last = w.publish("a/b c", fmt.Sprint(i), i)
		}
		for _, credential := range []string{alice, staticKey} {
			r, _, _ := w.history("a/b c", "", credential)
			if len(r.Events) != 100 || r.Epoch != last.Epoch || r.Offset != last.Offset || !strings.HasSuffix(r.events(), " 249") {
				t.Errorf("%d events up to %s:%d", len(r.Events), r.Epoch, r.Offset)
			}
			if want := eventJSON("a/b c", "249", "249", last); string(r.Events[99]) != want {
				t.Errorf("%s, want %s", r.Events[99], want)
			}
		}
		if r, _, _ := w.history("a/b c", "?limit=2", alice); r.events() != "248 249" || r.Offset != last.Offset {
			t.Errorf("%v", r)
		}
		if r, _, _ := w.history("a/b c", "?limit=99999999999999999999", alice); len(r.Events) != 250 {
			t.Errorf("%d events", len(r.Events))
		}
		// Page by page.
		var names []string
		since := last.Epoch + ":0"
		for pages := 0; pages < 9; pages++ {
			r, _, body := w.history("a/b c", "?limit=60&since="+since, alice)
			if !*r.Recovered {
				t.Fatal(body)
			}
			if len(r.Events) == 0 {
				break
			}
			names = append(names, r.events())
			since = fmt.Sprintf("%s:%d", r.Epoch, r.Offset)
		}
		for i, name := range strings.Fields(strings.Join(names, " ")) {
			if name != fmt.Sprint(i) {
				t.Fatalf("page by page: %v", names)
			}
		}
		if len(names) != 5 || since != fmt.Sprintf("%s:%d", last.Epoch, last.Offset) {
			t.Errorf("%d pages to %s", len(names), since)
		}
		for _, since := range []string{"other:1", last.Epoch + ":251"} {
			if r, _, body := w.history("a/b c", "?since="+since, alice); *r.Recovered || len(r.Events) != 0 || r.Offset != last.Offset {
				t.Errorf("since %s: %s", since, body)
			}
		}
	})
}

// Where there are more bytes than one answer takes, it stops and can be gone on
// from.
func TestHistoryBytes(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := hub.NewMemory(hub.MemoryConfig{Bytes: 64 << 20})
		defer broker.Close()
		w := newWorld(t, server.Config{Broker: broker})
		alice := token(t, "alice", time.Hour)
		for i := range 100 {
			w.publish("r", fmt.Sprint(i), strings.Repeat("a", 60_000))
		}
		newest, _, body := w.history("r", "?limit=200", alice)
		if n := len(newest.Events); len(body) > 4<<20+1000 || n < 60 || n > 70 || newest.Offset != 100 || !strings.HasSuffix(newest.events(), " 99") {
			t.Errorf("%d bytes, %d events to %d", len(body), n, newest.Offset)
		}
		next := 0
		for offset := uint64(0); offset < 100; {
			r, _, body := w.history("r", fmt.Sprintf("?limit=200&since=%s:%d", newest.Epoch, offset), alice)
			if len(body) > 4<<20+1000 || len(r.Events) == 0 || r.Offset <= offset {
				t.Fatalf("%d bytes, %d events to %d", len(body), len(r.Events), r.Offset)
			}
			for _, name := range strings.Fields(r.events()) {
				if name != fmt.Sprint(next) {
					t.Fatalf("%s, want %d", name, next)
				}
				next++
			}
			offset = r.Offset
		}
	})
}

func TestHistoryRefuses(t *testing.T) {
	in(t, func(t *testing.T) {
		publishOnly, record := auth.NewAPIKey(auth.ScopePublish, holdfast.MustRoomList("**"))
		readBoards, record2 := auth.NewAPIKey(auth.ScopeRead, holdfast.MustRoomList("board-*"))
		keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Keys: []auth.APIKey{record, record2}})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, server.Config{APIKeys: keys})
		alice := token(t, "alice", time.Hour, `{"permissions":{"rooms":{"board-1":["join"],"board-2":["publish"]}}}`)
		for _, tc := range []struct {
			room, query, credential string
			status                  int
			code                    holdfast.Code
		}{
			{"board-1", "", alice, 200, ""},
			{"board-2", "", alice, 403, holdfast.Forbidden},
			{"board-3", "", alice, 403, holdfast.Forbidden},
			{"board-3", "", readBoards, 200, ""},
			{"other", "", readBoards, 403, holdfast.Forbidden},
			{"board-1", "", publishOnly, 403, holdfast.Forbidden},
			{"board-1", "", "abc", 401, holdfast.Unauthenticated},
			{"board-1", "", token(t, "alice", -time.Hour), 401, holdfast.TokenExpired},
			{"a*", "", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=:1", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:01", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:-1", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:1:2", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e%20e:1", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=" + strings.Repeat("e", 33) + ":1", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:9007199254740992", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?since=e:9007199254740991", alice, 200, ""},
			{"board-1", "?limit=0", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?limit=-1", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?limit=x", alice, 400, holdfast.InvalidArgument},
			{"board-1", "?limit=1;since=e:1", alice, 400, holdfast.InvalidArgument},
		} {
			if _, status, body := w.history(tc.room, tc.query, tc.credential); status != tc.status || codeIn(body) != tc.code {
				t.Errorf("%s%s: %d %s, want %d %s", tc.room, tc.query, status, body, tc.status, tc.code)
			}
		}
		// A key is not for pages.
		if status, _, body := w.request("GET", historyPath("board-1", ""), "", "Authorization", "Bearer "+readBoards, "Origin", "http://holdfast.test"); status != 403 {
			t.Errorf("%d %s", status, body)
		}
	})
}
