package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
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

// hold waits, or until nobody does for the answer.
func hold(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// forbidden is a refusal by the server itself.
func forbidden(w http.ResponseWriter) {
	w.WriteHeader(http.StatusForbidden)
	io.WriteString(w, `{"error":"No.","code":"FORBIDDEN"}`)
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
				if polls > 5000 {
					forbidden(w)
					return
				}
				io.WriteString(w, `{"events":[],"cursor":"c2"}`)
			}
		}, 10*time.Minute)
		if want := "[cursor c1 reset b0 x11 cursor c2]"; got.String() != want || !errors.Is(err, context.DeadlineExceeded) || polls < 10 || polls > 3000 {
			t.Errorf("%s: %v, %v, %d polls", name, got, err, polls)
		}
	}
}

// L19: that a program listens is no sign of its user.
func TestL19ListeningIsNoActivity(t *testing.T) {
	for _, pollOnly := range []bool{false, true} {
		api(t, Config{Source: &late{}}, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(20 * time.Second):
			case <-r.Context().Done():
			}
			if r.URL.Path == "/events" {
				stream(w, "id: c\n\n") // and is cut
				return
			}
			io.WriteString(w, `{"events":[],"cursor":"c"}`)
		}, func(t *testing.T, c *Client) {
			m, err := tokens.NewManager(tokens.Config{IdleTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			signIn(t, m, "ann", 1)
			c.cfg.Source.(*late).Refresher = m
			events, stop := m.Events(10)
			defer stop()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			if err := c.Listen(ctx, []string{"a"}, ListenOptions{PollOnly: pollOnly}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if len(events) != 1 {
				t.Errorf("poll only %v: %d events", pollOnly, len(events))
			} else if e := <-events; e.Kind != tokens.InactivityTimeout {
				t.Error(e)
			}
		})
	}
}

// late is a Manager that is made later, in the bubble.
type late struct{ tokens.Refresher }

func (l *late) Touch() { l.Refresher.(tokens.Activity).Touch() }

// Polls are for the network that needed them: when they fail after a while, a
// stream is tried first, and once is enough.
func TestListenStreamsAgain(t *testing.T) {
	var asked list[string]
	polls := 0
	got, err := listening(t, ListenOptions{}, nil, func(w http.ResponseWriter, r *http.Request) {
		asked.add(r.URL.Path)
		switch {
		case r.URL.Path == "/events" && polls <= 10:
			io.WriteString(w, "<html>")
		case r.URL.Path == "/events":
			stream(w, "id: c9\n\ndata: {\"type\":\"auth_closing\",\"code\":\"FORBIDDEN\"}\n\n")
		default:
			polls++
			if polls%5 == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			select {
			case <-time.After(20 * time.Second):
			case <-r.Context().Done():
			}
			fmt.Fprintf(w, `{"events":[],"cursor":"c%d"}`, polls)
		}
	}, time.Hour)
	want := "/events /events /poll /poll /poll /poll /poll /events /poll /poll /poll /poll /poll /events /poll /poll /poll /poll /poll /events"
	if paths := strings.Join(asked.all(), " "); paths != want || !errors.Is(err, holdfast.Forbidden) {
		t.Errorf("%s, %v, %v", paths, err, got)
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

// Where a server refuses without a code of its own, it may be a proxy that does:
// polling is tried, but not after a 401. A refusal with a code is the server's word.
func TestListenRefusedByWhom(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"401":         {401, "", "[/events /events]"}, // the Source may have another token by then
		"403":         {403, "", "[/events /poll]"},
		"403 by code": {403, `{"error":"No.","code":"FORBIDDEN"}`, "[/events]"},
	} {
		var asked list[string]
		_, err := listening(t, ListenOptions{}, tokens.Static("abc"), func(w http.ResponseWriter, r *http.Request) {
			asked.add(r.URL.Path)
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}, time.Hour)
		if err == nil || asked.String() != test.want {
			t.Errorf("%s: %v, asked %v", name, err, &asked)
		}
	}
}

// Two streams that bring nothing are enough, be they cut, empty or kept back;
// one between them that brings something makes them count anew.
func TestListenFallsBack(t *testing.T) {
	empty := func(w http.ResponseWriter, r *http.Request) { stream(w, "") }
	alive := func(w http.ResponseWriter, r *http.Request) { stream(w, ": hello\n\n") }
	for name, test := range map[string]struct {
		streams []http.HandlerFunc
		want    string
	}{
		"empty":      {[]http.HandlerFunc{empty, empty}, "[/events /events /poll]"},
		"not at all": {[]http.HandlerFunc{empty, alive, empty, empty}, "[/events /events /events /events /poll]"},
	} {
		var asked list[string]
		_, err := listening(t, ListenOptions{}, nil, func(w http.ResponseWriter, r *http.Request) {
			asked.add(r.URL.Path)
			if n := len(asked.all()); n <= len(test.streams) {
				test.streams[n-1](w, r)
				return
			}
			forbidden(w)
		}, time.Hour)
		if !errors.Is(err, holdfast.Forbidden) || asked.String() != test.want {
			t.Errorf("%s: %v, asked %v", name, err, &asked)
		}
	}
}

// A stream that is cut here ends for the reason, whatever reading ends with.
func TestStreamTooSlow(t *testing.T) {
	for name, begin := range map[string]string{"no answer": "", "then nothing": ": hello\n\n"} {
		api(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				stream(w, begin)
			}
			<-r.Context().Done()
		}, func(t *testing.T, c *Client) {
			l := &listener{c: c, rooms: []string{"a"}, o: ListenOptions{EventsPath: "/events"}}
			came, err := l.stream(t.Context())
			if _, local := errors.AsType[*localError](err); !local || !errors.Is(err, errConnectTimeout) || came != (begin != "") {
				t.Errorf("%s: %v, came %v", name, err, came)
			}
		})
	}
}

// What Listen sends and hears goes through the interceptors, streams and polls.
func TestListenInterceptors(t *testing.T) {
	for _, pollOnly := range []bool{false, true} {
		var log, heard list[string]
		say := func(who string) Interceptor {
			return Interceptor{
				Request:  func(r *http.Request) error { log.add(who + " " + r.URL.Path); r.Header.Add("X-Who", who); return nil },
				Response: func(r *http.Response) error { log.add(fmt.Sprint(who, " ", r.StatusCode)); return nil },
				Event: func(_ context.Context, m *Message) error {
					log.add(fmt.Sprintf("%s %q %s %s", who, m.Namespace, m.Event, m.Args.Values))
					switch m.Event {
					case "secret":
						return errors.New("kept back")
					case "note":
						m.Event = "seen"
						args, err := socketio.NewArgs([]byte{1, 2})
						m.Args = args
						return err
					}
					return nil
				},
			}
		}
		events := `{"type":"event","room":"a","event":"secret","data":1,"epoch":"e","offset":1}
{"type":"event","room":"a","event":"note","data":2,"epoch":"e","offset":2,"id":"i","from":"u"}`
		first, second, _ := strings.Cut(events, "\n")
		cfg := Config{Interceptors: []Interceptor{say("1"), {}, say("2")}, Logger: slog.New(slog.DiscardHandler)}
		asked := 0
		api(t, cfg, func(w http.ResponseWriter, r *http.Request) {
			if who := r.Header.Values("X-Who"); len(who) != 2 {
				t.Error(who)
			}
			asked++
			switch {
			case asked > 1:
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, `{"error":"Out.","code":"FORBIDDEN"}`)
			case pollOnly:
				fmt.Fprintf(w, `{"events":[%s,%s],"cursor":"c"}`, first, second)
			default:
				stream(w, "id: b\ndata: "+first+"\n\nid: c\ndata: "+second+"\n\n")
			}
		}, func(t *testing.T, c *Client) {
			err := c.Listen(t.Context(), []string{"a"}, ListenOptions{PollOnly: pollOnly, OnEvent: func(_ context.Context, e *holdfast.Event) {
				heard.add(fmt.Sprint(e.Room, e.Name, string(e.Data), e.Position.Offset, e.ID, e.From))
			}})
			if !errors.Is(err, holdfast.Forbidden) {
				t.Error(err)
			}
		})
		path := "/events"
		if pollOnly {
			path = "/poll"
		}
		want := []string{
			"1 " + path, "2 " + path, "2 200", "1 200",
			`2 "" secret [1 {"room":"a","epoch":"e","offset":1}]`,
			`2 "" note [2 {"room":"a","epoch":"e","offset":2,"id":"i","from":"u"}]`,
			`1 "" seen [{"_placeholder":true,"num":0}]`,
		}
		if got := log.all(); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s", strings.Join(got, "\n"))
		}
		if want := `[aseen{"$base64":"AQI="}2iu]`; heard.String() != want {
			t.Errorf("heard %v", &heard)
		}
	}
}

// An interceptor's refusal ends Listen.
func TestListenInterceptorRefuses(t *testing.T) {
	no := errors.New("not today")
	for _, i := range []Interceptor{
		{Request: func(*http.Request) error { return no }},
		{Response: func(*http.Response) error { return no }},
	} {
		api(t, Config{Interceptors: []Interceptor{i}}, func(w http.ResponseWriter, _ *http.Request) {
			stream(w, ": hello\n\n")
		}, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := c.Listen(ctx, []string{"a"}, ListenOptions{}); !errors.Is(err, no) {
				t.Error(err)
			}
		})
	}
}

// Polls that bring something follow each other at once, and so do those that
// are held for a second; the events of each are told before its cursor, and an
// answer without one is none.
func TestListenPolls(t *testing.T) {
	const event = `{"type":"event","room":"a","event":"x","data":%d,"epoch":"e","offset":%[1]d}`
	polls := 0
	var start time.Time
	var took []time.Duration
	got, err := listening(t, ListenOptions{PollOnly: true}, nil, func(w http.ResponseWriter, r *http.Request) {
		if polls++; polls == 1 {
			start = time.Now()
		}
		took = append(took, time.Since(start))
		switch {
		case polls <= 3:
			fmt.Fprintf(w, `{"events":[%s,%s],"cursor":"c%d"}`, fmt.Sprintf(event, 2*polls), fmt.Sprintf(event, 2*polls+1), 2*polls)
		case polls <= 10:
			hold(r, time.Second)
			io.WriteString(w, `{"events":[],"cursor":"c6"}`)
		case polls == 11:
			fmt.Fprintf(w, `{"events":[`+event+`]}`, 99)
		default:
			forbidden(w)
		}
	}, time.Hour)
	if want := "[x22 x33 cursor c2 x44 x55 cursor c4 x66 x77 cursor c6]"; got.String() != want || !errors.Is(err, holdfast.Forbidden) {
		t.Errorf("%v, %v", got, err)
	}
	if fmt.Sprint(took[:11]) != "[0s 0s 0s 0s 1s 2s 3s 4s 5s 6s 7s]" {
		t.Error(took)
	}
}

// A poll may take as long as the server may hold it, and what the network needs
// besides; and its answer may have as many bytes as one may.
func TestListenPollBounds(t *testing.T) {
	for name, test := range map[string]struct {
		took time.Duration
		over int
		want string
	}{
		"held":      {pollWait, 0, "[cursor c]"},
		"slow":      {pollWait + pollSlack - 1, 0, "[cursor c]"},
		"too slow":  {pollWait + pollSlack + 1, 0, "[]"},
		"too large": {0, 1, "[]"},
	} {
		var got list[string]
		polls := 0
		api(t, Config{MaxResponse: 1000}, func(w http.ResponseWriter, r *http.Request) {
			if polls++; polls > 1 {
				forbidden(w)
				return
			}
			hold(r, test.took)
			const answer = `{"events":[],"cursor":"c"%s}`
			fmt.Fprintf(w, answer, strings.Repeat(" ", 1000+test.over-len(answer)+2))
		}, func(t *testing.T, c *Client) {
			err := c.Listen(t.Context(), []string{"a"}, ListenOptions{PollOnly: true, OnCursor: func(_ context.Context, c string) { got.add("cursor " + c) }})
			if !errors.Is(err, holdfast.Forbidden) || got.String() != test.want || polls != 2 {
				t.Errorf("%s: %v, %v, %d polls", name, &got, err, polls)
			}
		})
	}
}

// How long polling must have lasted for a stream to be tried again.
func TestListenLongEnough(t *testing.T) {
	for short, want := range map[time.Duration]string{
		0: "[/events /events /poll /poll /poll /events]",
		1: "[/events /events /poll /poll /poll /poll]",
	} {
		var asked list[string]
		_, err := listening(t, ListenOptions{}, nil, func(w http.ResponseWriter, r *http.Request) {
			asked.add(r.URL.Path)
			switch n := len(asked.all()); n {
			case 1, 2:
				stream(w, "")
			case 3, 4:
				hold(r, fallbackLasts/2-time.Duration(n-3)*short)
				fmt.Fprintf(w, `{"events":[],"cursor":"c%d"}`, n)
			case 5:
				w.WriteHeader(http.StatusInternalServerError)
			default:
				forbidden(w)
			}
		}, time.Hour)
		if asked.String() != want || !errors.Is(err, holdfast.Forbidden) {
			t.Errorf("%v short: %v, %v", short, &asked, err)
		}
	}
}

// One interceptor is enough to be asked, and it may leave an event without data.
func TestListenIntercepted(t *testing.T) {
	for name, test := range map[string]struct {
		list []Interceptor
		want string
	}{
		"none":   {nil, "[x 1 true]"},
		"others": {[]Interceptor{{}}, "[x 1 true]"},
		"one": {[]Interceptor{{Event: func(_ context.Context, m *Message) error {
			m.Event, m.Args = "y", socketio.Args{}
			return nil
		}}}, "[y  false]"},
	} {
		var got list[string]
		api(t, Config{Interceptors: test.list}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("since") != "" {
				forbidden(w)
				return
			}
			io.WriteString(w, `{"events":[{"type":"event","room":"a","event":"x","data":1,"epoch":"e","offset":1}],"cursor":"c"}`)
		}, func(t *testing.T, c *Client) {
			err := c.Listen(t.Context(), []string{"a"}, ListenOptions{PollOnly: true, OnEvent: func(_ context.Context, e *holdfast.Event) {
				got.add(fmt.Sprintf("%s %s %v", e.Name, e.Data, e.Data != nil))
			}})
			if !errors.Is(err, holdfast.Forbidden) || got.String() != test.want {
				t.Errorf("%s: %v, %v", name, &got, err)
			}
		})
	}
}
