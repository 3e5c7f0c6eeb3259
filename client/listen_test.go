package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// listening runs Listen for some time of the fake clock and returns what it
// told, and how it ended.
func listening(t *testing.T, o ListenOptions, src tokens.Source, handler http.HandlerFunc, d time.Duration) (got *list[string], err error) {
	t.Helper()
	got = &list[string]{}
	o.OnEvent = func(_ context.Context, e *holdfast.Event) {
		got.add(fmt.Sprint(e.Name, string(e.Data), e.Position.Offset))
	}
	o.OnReset = func(_ context.Context, r Reset) { got.add(fmt.Sprint("reset ", r.Room, r.Position.Offset)) }
	o.OnLeft = func(_ context.Context, room string, err error) {
		got.add(fmt.Sprint("left ", room, " ", holdfast.CodeOf(err)))
	}
	o.OnCursor = func(_ context.Context, c string) { got.add("cursor " + c) }
	api(t, Config{Source: src}, handler, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err = c.Listen(ctx, []string{"a", "b"}, o)
	})
	return got, err
}

func stream(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, text)
	w.(http.Flusher).Flush()
}

func TestListenStream(t *testing.T) {
	var asked list[string]
	got, err := listening(t, ListenOptions{Since: "c0"}, tokens.Static("abc"), func(w http.ResponseWriter, r *http.Request) {
		asked.add(r.Header.Get("Authorization") + " " + r.URL.String())
		switch len(asked.all()) {
		case 1:
			stream(w, "id: c1\nevent: connected\ndata: {\"type\":\"connected\"}\n\n"+
				"id: c2\nevent: note\ndata: {\"type\":\"event\",\"room\":\"a\",\"event\":\"note\",\"data\":1,\"epoch\":\"e\",\"offset\":5}\n\n"+
				"data: {\"type\":\"room_left\",\"room\":\"b\",\"code\":\"FORBIDDEN\",\"message\":\"No.\"}\n\n"+
				"data: no JSON\n\n")
			// and the connection is cut
		case 2: // it says nothing for too long
			stream(w, "id: c3\nevent: reset\ndata: {\"type\":\"reset\",\"room\":\"a\",\"epoch\":\"e\",\"offset\":9}\n\n")
			<-r.Context().Done()
		default:
			stream(w, ": hello\n\nevent: auth_closing\ndata: {\"type\":\"auth_closing\",\"code\":\"FORBIDDEN\",\"message\":\"Out.\"}\n\n")
		}
	}, time.Hour)
	if want := `[cursor c1 note15 cursor c2 left b holdfast: FORBIDDEN reset a9 cursor c3]`; got.String() != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if want := "[Bearer abc /events?room=a&room=b&since=c0 Bearer abc /events?room=a&room=b&since=c2 Bearer abc /events?room=a&room=b&since=c3]"; asked.String() != want {
		t.Errorf("asked %v", &asked)
	}
	if !errors.Is(err, holdfast.Forbidden) {
		t.Error(err)
	}
}

// A network that lets no stream through, or a proxy that keeps it back.
func TestListenPolling(t *testing.T) {
	for name, block := range map[string]func(w http.ResponseWriter, r *http.Request){
		"cut":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"page":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"kept":    func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(504) },
	} {
		polls := 0
		got, err := listening(t, ListenOptions{}, nil, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" {
				block(w, r)
				return
			}
			polls++
			switch polls {
			case 1:
				io.WriteString(w, `{"events":[],"cursor":"c1"}`)
			case 2:
				if q := r.URL.Query(); q.Get("since") != "c1" || q.Get("wait") != "25" || len(q["room"]) != 2 {
					t.Error(q)
				}
				io.WriteString(w, `{"events":[{"type":"event","room":"a","event":"x","data":1,"epoch":"e","offset":1}],"cursor":"c2","reset":["b"]}`)
			case 3:
				w.WriteHeader(500)
			case 4:
				io.WriteString(w, `{`)
			case 5:
				panic(http.ErrAbortHandler)
			default: // a server that doesn't hold polls is not asked in a loop
				io.WriteString(w, `{"events":[],"cursor":"c2"}`)
			}
		}, 10*time.Minute)
		if want := "[cursor c1 reset b0 x11 cursor c2]"; got.String() != want || !errors.Is(err, context.DeadlineExceeded) || polls < 10 || polls > 3000 {
			t.Errorf("%s: %v, %v, %d polls", name, got, err, polls)
		}
	}
}

func TestListenRefused(t *testing.T) {
	for status, want := range map[int]error{400: holdfast.InvalidArgument, 401: holdfast.Unauthenticated, 403: holdfast.Forbidden, 404: holdfast.NotFound} {
		for _, o := range []ListenOptions{{}, {PollOnly: true}} {
			n := 0
			_, err := listening(t, o, tokens.Static("abc"), func(w http.ResponseWriter, r *http.Request) {
				n++
				w.WriteHeader(status)
			}, time.Hour)
			if !errors.Is(err, want) || n > 2 {
				t.Errorf("%d: %v after %d", status, err, n)
			}
		}
	}
	c, _ := New(Config{BaseURL: "http://a"})
	for _, rooms := range [][]string{nil, {"*"}} {
		if err := c.Listen(t.Context(), rooms, ListenOptions{}); !errors.Is(err, holdfast.InvalidArgument) {
			t.Error(err)
		}
	}
}
