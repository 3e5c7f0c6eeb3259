package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/sse"
	"github.com/holdfast-dev/holdfast/server"
)

// stream is a client of Server-Sent Events.
type stream struct {
	t    testing.TB
	body io.ReadCloser
	in   *sse.Reader
	stop context.CancelFunc
	seen http.Header
}

// tryListen opens a stream; the error has the status and the body of a refusal.
func (w *world) tryListen(client *http.Client, query string, header ...string) (*stream, error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://holdfast.test/events"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		cancel()
		return nil, errors.New(resp.Status + " " + resp.Header.Get("Retry-After") + " " + string(body))
	}
	s := &stream{t: w.t, body: resp.Body, in: sse.NewReader(resp.Body), stop: cancel, seen: resp.Header}
	w.t.Cleanup(s.close)
	return s, nil
}

// listen opens a stream as a user and takes the first event.
func (w *world) listen(user, query string, header ...string) *stream {
	w.t.Helper()
	s, err := w.tryListen(w.client(), query, append(header, "Authorization", "Bearer "+token(w.t, user, time.Hour))...)
	if err != nil {
		w.t.Fatal(err)
	}
	s.want("connected", `{"type":"connected","user":{"id":"`+user+`"},`)
	return s
}

func (s *stream) close() {
	s.stop()
	s.body.Close()
}

// want takes the next event, whose data must begin with prefix.
func (s *stream) want(name, prefix string) sse.Event {
	s.t.Helper()
	ev, err := s.in.Next()
	if err != nil {
		s.t.Fatalf("no %s %s: %v", name, prefix, err)
	}
	if ev.Name != name || !strings.HasPrefix(ev.Data, prefix) {
		s.t.Fatalf("got %s %s\nwant %s %s", ev.Name, ev.Data, name, prefix)
	}
	return ev
}

// wantEnd reads up to the end of the stream and returns what came before it.
func (s *stream) wantEnd() []string {
	s.t.Helper()
	var seen []string
	for {
		ev, err := s.in.Next()
		if err == io.EOF {
			return seen
		}
		if err != nil {
			s.t.Fatalf("the stream broke: %v (after %q)", err, seen)
		}
		seen = append(seen, ev.Name+" "+ev.Data)
	}
}

// publish publishes an event and returns its position.
func (w *world) publish(room, event string, data any) holdfast.Position {
	w.t.Helper()
	p, err := w.srv.Publish(context.Background(), room, event, data)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func eventJSON(room, event, data string, p holdfast.Position) string {
	return fmt.Sprintf(`{"type":"event","room":%q,"event":%q,"data":%s,"epoch":%q,"offset":%d}`, room, event, data, p.Epoch, p.Offset)
}

func TestStream(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		before := w.publish("a", "old", 0)
		s := w.listen("alice", "?room=a&room=b&room=a")
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
		} {
			if got := s.seen.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		synctest.Wait()
		first := s.in.LastID()
		if first == "" {
			t.Error("no cursor at the beginning")
		}
		p1 := w.publish("a", "hello", map[string]int{"n": 1})
		if p1.Offset != before.Offset+1 {
			t.Errorf("positions %v %v", before, p1)
		}
		ev := s.want("hello", "")
		if ev.Data != eventJSON("a", "hello", `{"n":1}`, p1) || ev.ID == "" || ev.ID == first {
			t.Errorf("%+v", ev)
		}
		second := ev.ID
		p2 := w.publish("b", "error", nil) // has no name here
		if ev = s.want("message", ""); ev.Data != eventJSON("b", "error", "null", p2) {
			t.Errorf("%+v", ev)
		}
		w.publish("c", "elsewhere", nil)
		if s.in.Retry() < 1500*time.Millisecond || s.in.Retry() > 3500*time.Millisecond {
			t.Errorf("retry %v", s.in.Retry())
		}

		// From each cursor, what came after it.
		for _, tc := range []struct {
			query  string
			header []string
			want   []string
		}{
			{"?room=a&room=b", []string{"Last-Event-ID", first}, []string{"hello", "message"}},
			{"?room=a&room=b&since=" + first, nil, []string{"hello", "message"}},
			{"?room=b&room=a&since=" + first, []string{"Last-Event-ID", second}, []string{"message"}}, // the header wins
			{"?room=b", []string{"Last-Event-ID", second}, []string{"message"}},
			{"?room=a&room=d", []string{"Last-Event-ID", first}, []string{"hello"}},
			{"?room=a", []string{"Last-Event-ID", ev.ID}, nil},
		} {
			again := w.listen("alice", tc.query+"&room=z", tc.header...)
			for _, name := range tc.want {
				again.want(name, `{"type":"event"`)
			}
			synctest.Wait()
			w.publish("z", "end", nil) // and nothing before it
			again.want("end", "")
			again.close()
		}
	})
}

// A stream that is idle says so, and no more.
func TestStreamKeepAlive(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		s := w.listen("alice", "?room=a")
		go func() {
			time.Sleep(16 * time.Minute)
			w.publish("a", "e", nil)
		}()
		s.want("e", "")
		if n := s.in.Comments(); n != 64 {
			t.Errorf("%d comments in 16 minutes", n)
		}
	})
}
