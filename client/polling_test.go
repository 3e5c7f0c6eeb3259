package client

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
	"github.com/holdfast-dev/holdfast/internal/wsclient"
	"github.com/holdfast-dev/holdfast/socketio"
)

const pollHandshake = `0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

// polling runs a test with a polling wire whose handshake was read; handler
// answers what follows.
func polling(t *testing.T, max int, handler http.HandlerFunc, test func(t *testing.T, w *pollingWire)) {
	t.Helper()
	api(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sid") == "" {
			_, _ = io.WriteString(w, pollHandshake)
			return
		}
		handler(w, r)
	}, func(t *testing.T, c *Client) {
		w, err := openPolling(t.Context(), c.raw, c.Socket().address(Polling, nil), http.Header{}, max)
		if err != nil {
			t.Fatal(err)
		}
		defer w.cut()
		if kind, data, err := w.read(); err != nil || kind != wsclient.Text || string(data) != pollHandshake {
			t.Fatal(kind, string(data), err)
		}
		test(t, w)
	})
}

// What an answer to a poll brings, and how it ends the connection.
func TestPollAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
		local  bool // this side found the fault
	}{
		"packets":      {200, "2\x1e42[\"a\"]\x1ebAAE=\x1e6", `[text "2" text "42[\"a\"]" binary "\x00\x01" text "6"]`, false},
		"gone":         {400, `{"error":"Unknown session.","code":"NOT_FOUND"}`, "client: polling ended with status 400: Unknown session.", false},
		"refused well": {204, "2", "client: polling ended with status 204: ", false},
		"no packet":    {200, "2\x1e", "client: answer to a poll: ", true},
		"nothing":      {200, "", "client: answer to a poll: ", true},
	} {
		t.Run(name, func(t *testing.T) {
			polls := 0
			polling(t, 1000, func(w http.ResponseWriter, r *http.Request) {
				if polls++; polls > 1 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}, func(t *testing.T, w *pollingWire) {
				var got []string
				var err error
				for range 4 {
					var kind wsclient.Kind
					var data []byte
					if kind, data, err = w.read(); err != nil {
						break
					}
					got = append(got, fmt.Sprintf("%s %q", map[wsclient.Kind]string{wsclient.Text: "text", wsclient.Binary: "binary"}[kind], data))
				}
				_, local := errors.AsType[*localError](err)
				if err == nil && fmt.Sprint(got) != test.want || err != nil && !strings.HasPrefix(err.Error(), test.want) || local != test.local || polls != 1 {
					t.Errorf("got %v, %v, in %d polls", got, err, polls)
				}
			})
		})
	}
}

// An answer may be as large as its bound, and no larger.
func TestPollBound(t *testing.T) {
	for extra, want := range map[int]error{0: nil, 1: errTooBig} {
		size := 0
		polling(t, 1000, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "4"+strings.Repeat("x", size-1))
		}, func(t *testing.T, w *pollingWire) {
			if w.limit != 2*1000+4096 {
				t.Error(w.limit)
			}
			size = int(w.limit) + extra
			if _, data, err := w.read(); !errors.Is(err, want) || err == nil && len(data) != size {
				t.Errorf("%d over: %d bytes, %v", extra, len(data), err)
			}
		})
	}
}

// What a packet counts for is what is sent, whatever it carries.
func TestPollSize(t *testing.T) {
	var body string
	status := 200
	polling(t, 1000, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		body = r.Method + " " + r.Header.Get("Content-Type") + " " + string(data)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"No.","code":"FORBIDDEN"}`)
	}, func(t *testing.T, w *pollingWire) {
		for _, binary := range [][][]byte{nil, {{}}, {{1}}, {{1, 2}}, {{1, 2, 3}}, {{1, 2, 3, 4}, {5}}} {
			p := outgoing{text: []byte(`42["a"]`), binary: binary}
			if err := w.write(batch{items: []outgoing{p}}, DefaultWriteTimeout); err != nil {
				t.Fatal(err)
			}
			sent, ok := strings.CutPrefix(body, "POST text/plain;charset=UTF-8 ")
			if size := w.size(p, true); !ok || size != len(sent) || size != w.size(p, false) {
				t.Errorf("%v: counts for %d, sent %q", binary, size, body)
			}
		}
		status = 403
		if err := w.write(batch{items: []outgoing{{text: []byte("2")}}}, DefaultWriteTimeout); err == nil || err.Error() != "client: polling ended with status 403: No." {
			t.Error(err)
		}
	})
}

// A socket over polling: in, out, and a goodbye.
func TestPollingSocket(t *testing.T) {
	var posts list[string]
	var out chan string
	script := func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Query().Get("transport") != Polling:
			t.Error(r.URL)
		case r.URL.Query().Get("sid") == "":
			_, _ = io.WriteString(w, pollHandshake)
		case r.Method == http.MethodPost:
			data, _ := io.ReadAll(r.Body)
			posts.add(string(data))
			if string(data) == "40" {
				out <- `40{"sid":"x"}`
			}
		default:
			select {
			case packets := <-out:
				_, _ = io.WriteString(w, packets)
			case <-r.Context().Done():
			}
		}
		return true
	}
	bubble(t, nil, func(t *testing.T, f *fake) {
		f.before, out = script, make(chan string, 10)
		s := f.client(Config{Socket: SocketConfig{Transports: []string{Polling}}}).Socket()
		var got list[string]
		s.OnRaw("a", func(_ context.Context, args socketio.Args) { got.add(fmt.Sprintf("%q", args.Attachments)) })
		changes, stop := s.Changes(10)
		defer stop()
		mustConnect(t, s)
		out <- "2\x1e451-[\"a\",{\"_placeholder\":true,\"num\":0}]\x1ebAQI="
		synctest.Wait()
		mustEmit(t, s, "b", []byte{3})
		synctest.Wait()
		if posts.String() != "[40 3 451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x1ebAw==]" || got.String() != `[["\x01\x02"]]` {
			t.Errorf("%q, got %v", posts.all(), &got)
		}
		if err := s.Emit(t.Context(), "b", make([]byte, 900_000)); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err) // it is over as base64
		}
		s.Close()
		if all := posts.all(); len(all) != 5 || all[3] != "41" || all[4] != "1" {
			t.Errorf("%q", all)
		}
		for range 3 {
			<-changes
		}
		if c := <-changes; c.State != Closed {
			t.Errorf("%+v", c)
		}
		time.Sleep(time.Minute)
	})
}
