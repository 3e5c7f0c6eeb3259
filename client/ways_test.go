package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestSetAuth(t *testing.T) {
	var seen list[string]
	bubble(t, func(p *peer) {
		p.admit()
		seen.add(p.auth + "?" + p.r.URL.RawQuery)
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Source: tokens.Static("abc"), Socket: SocketConfig{TokenParam: "token", Query: url.Values{"v": {"1"}}}}).Socket()
		s.SetQuery(url.Values{"v": {"2"}})
		s.SetAuth(nil)
		mustConnect(t, s)
		s.SetAuth(func(context.Context, tokens.Token) (any, error) { return map[string]int{"key": 7}, nil })
		f.sleep(2 * time.Second)
		s.SetQuery(url.Values{"v": {"3"}})
		f.sleep(2 * time.Second)
		want := `[{"token":"abc"}?EIO=4&token=abc&transport=websocket&v=2 {"key":7}?EIO=4&token=abc&transport=websocket&v=2 {"key":7}?EIO=4&token=abc&transport=websocket&v=3]`
		if seen.String() != want || s.State() != Connected {
			t.Errorf("%v", &seen)
		}
		// A socket that waits tries again at once; one that has stopped stays so.
		f.stop()
		f.sleep(time.Hour)
		f.restart()
		s.SetQuery(nil)
		f.sleep(time.Millisecond)
		if s.State() != Connected {
			t.Error(s.State())
		}
		s.Close()
		s.SetQuery(nil)
		f.sleep(time.Minute)
		if n := len(seen.all()); n != 4 {
			t.Error(n)
		}
	})
}

func TestPaths(t *testing.T) {
	refused := &handshakeError{status: 403, err: holdfast.Forbidden.New()}
	coded := &handshakeError{status: 403, coded: true, err: holdfast.Forbidden.New()}
	dial := &net.OpError{Op: "dial", Err: io.EOF}
	type step struct {
		err   error
		final bool
		next  string
		other bool
	}
	for name, steps := range map[string][]step{
		"cut":               {{io.EOF, false, WebSocket, false}, {io.EOF, false, Polling, false}, {io.EOF, false, WebSocket, false}},
		"refused":           {{refused, true, Polling, true}, {refused, true, WebSocket, false}},
		"refused, then not": {{refused, true, Polling, true}, {nil, false, Polling, false}, {refused, true, WebSocket, true}},
		"by the server":     {{coded, true, WebSocket, false}, {holdfast.Forbidden.New(), true, WebSocket, false}, {&sourceError{io.EOF}, false, WebSocket, false}, {&localError{io.EOF}, false, WebSocket, false}},
		"no network":        {{dial, false, WebSocket, false}, {dial, false, WebSocket, false}, {dial, false, WebSocket, false}},
		"too slow":          {{errConnectTimeout, false, WebSocket, false}, {errConnectTimeout, false, Polling, false}, {nil, false, Polling, false}, {nil, false, Polling, false}},
		"mixed":             {{io.EOF, false, WebSocket, false}, {refused, true, Polling, true}, {io.EOF, false, WebSocket, false}, {refused, true, Polling, true}},
	} {
		p := paths{list: []string{WebSocket, Polling}}
		for i, s := range steps {
			other := p.after(ending{err: s.err, connected: s.err == nil}, s.final)
			if other != s.other || p.transport() != s.next {
				t.Errorf("%s %d: %s, %v", name, i, p.transport(), other)
			}
		}
	}
	if _, err := New(Config{BaseURL: "http://a", Socket: SocketConfig{Transports: []string{"smoke"}}}); err == nil {
		t.Error("taken")
	}
}

// Polling is for the network that needed it: when a connection over it that
// lasted has ended, a WebSocket is tried first again, and once is enough.
func TestPathsBack(t *testing.T) {
	short, long := ending{connected: true, lasted: time.Minute - 1}, ending{connected: true, lasted: time.Minute}
	cut, dial := ending{err: io.EOF}, ending{err: &net.OpError{Op: "dial", Err: io.EOF}}
	p := paths{list: []string{WebSocket, Polling}}
	for i, s := range []struct {
		end  ending
		next string
	}{
		{cut, WebSocket}, {cut, Polling}, {short, Polling}, {long, WebSocket}, {dial, WebSocket}, {cut, Polling}, // still blocked
		{long, WebSocket}, {short, WebSocket}, {cut, WebSocket}, {cut, Polling}, // it had worked: twice, as at first
		{cut, WebSocket}, {long, WebSocket}, {cut, WebSocket},
	} {
		p.after(s.end, false)
		if p.transport() != s.next {
			t.Errorf("%d: %s", i, p.transport())
		}
	}
	one := paths{list: []string{Polling}}
	one.after(long, false)
	if one.transport() != Polling {
		t.Error(one.transport())
	}
}

// Where nothing but a wrong address is the matter, both are tried, once each,
// and the first refusal is the error.
func TestPollingRefused(t *testing.T) {
	bubble(t, func(*peer) {}, func(t *testing.T, f *fake) {
		f.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
			switch {
			case n == 1:
				w.WriteHeader(http.StatusNotFound)
			case n == 2:
				io.WriteString(w, "<html>welcome")
			case n == 3:
				w.WriteHeader(http.StatusForbidden)
			case n == 4:
				io.WriteString(w, "2")
			default:
				return false
			}
			return true
		}
		for range 2 {
			err := f.client(Config{}).Socket().Connect(patient(t))
			h, ok := errors.AsType[*handshakeError](err)
			if !ok || h.status/100 != 4 {
				t.Error(err)
			}
		}
		if f.connections() != 4 {
			t.Error(f.connections())
		}
	})
}
