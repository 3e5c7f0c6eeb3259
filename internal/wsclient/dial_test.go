package wsclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upgraded answers a handshake, with changes of its lines, and hands over the
// connection; more is sent with the answer.
func upgraded(t *testing.T, w http.ResponseWriter, r *http.Request, more string, change ...string) (net.Conn, *bufio.Reader) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + acceptGUID))
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	answer = strings.NewReplacer(change...).Replace(answer)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	if _, err := io.WriteString(conn, answer+more); err != nil {
		t.Error(err)
	}
	return conn, rw.Reader
}

// serve runs a server over TCP, or TLS.
func serve(t *testing.T, tls bool, handler http.HandlerFunc) *httptest.Server {
	srv := httptest.NewUnstartedServer(handler)
	if tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// wrapped is a transport of which it is not known what connections it has.
type wrapped struct{ http.RoundTripper }

// A connection in both directions, over all that it may be made of. What comes
// with the answer to the handshake is read first.
func TestConversation(t *testing.T) {
	big := strings.Repeat("z", 200_000)
	for name, test := range map[string]struct{ tls, wrap, tries bool }{
		"tcp": {false, false, rawHere}, "tls": {true, false, false}, "unknown": {false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			srv := serve(t, test.tls, func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				conn, br := upgraded(t, w, r, frame(0x81, "first")+"\x81\x06se")
				defer conn.Close()
				_, _ = io.WriteString(conn, "cond")
				head := make([]byte, 2+4+5) // a masked text of 5 bytes
				if _, err := io.ReadFull(br, head); err != nil || head[0] != 0x81 || head[1] != 0x85 {
					t.Errorf("%x, %v", head, err)
				}
				_, _ = io.WriteString(conn, frame(0x82, big))
				if n, _ := io.Copy(io.Discard, br); n != int64(10+4+len(big)+4+2+2) {
					t.Errorf("%d bytes came", n)
				}
			})
			hc := srv.Client()
			if test.wrap {
				hc.Transport = wrapped{hc.Transport}
			}
			c, resp, err := Dial(t.Context(), hc, srv.URL, http.Header{}, 1<<20)
			if err != nil || resp != nil {
				t.Fatal(resp, err)
			}
			defer c.Close()
			read := func(want string) {
				t.Helper()
				if err := c.Await(); err != nil {
					t.Fatal(err)
				}
				if _, data, err := c.Read(); err != nil || string(data) != want {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
			}
			read("first")
			read("second")
			if c.CanTry() != test.tries {
				t.Errorf("CanTry: %v", c.CanTry())
			}
			var f Frames
			f.Message(Text, []byte("hello"))
			if c.CanTry() {
				if done, err := c.Try(&f); !done || err != nil {
					t.Fatal(done, err)
				}
			} else if err := c.Write(&f, time.Minute); err != nil {
				t.Fatal(err)
			}
			f.Done()
			read(big)
			if c.Pending() {
				t.Error("there is more")
			}
			f.Message(Binary, bytes.Repeat([]byte{1}, len(big)))
			f.Close(wsframe.Normal)
			if err := c.Write(&f, time.Minute); err != nil {
				t.Fatal(err)
			}
			f.Done()
			c.Close()
			<-done
		})
	}
}

// A peer that does not read holds up no Try; Write goes on with what is left, and
// ends with its timeout.
func TestPeerThatDoesNotRead(t *testing.T) {
	if !rawHere {
		return // every write waits here
	}
	gone := make(chan struct{})
	srv := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		conn, _ := upgraded(t, w, r, "")
		<-gone
		conn.Close()
	})
	c, _, err := Dial(t.Context(), srv.Client(), srv.URL, http.Header{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer close(gone)
	defer c.Close()
	var f Frames
	defer f.Done()
	for range 300 {
		f.Message(Binary, make([]byte, 60_000))
	}
	done, err := c.Try(&f)
	if done || err != nil || len(c.rest) == 0 {
		t.Fatal(done, err, len(c.rest))
	}
	if err := c.Write(new(Frames), time.Millisecond); err == nil {
		t.Error("18 MB fit into the buffers of a socket")
	}
}

// Close ends a Read that waits, on any goroutine.
func TestCloseEndsRead(t *testing.T) {
	for name, wrap := range map[string]bool{"tcp": false, "unknown": true} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			srv := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				conn, br := upgraded(t, w, r, "")
				_, _ = io.Copy(io.Discard, br)
				conn.Close()
				close(gone)
			})
			hc := srv.Client()
			if wrap {
				hc.Transport = wrapped{hc.Transport}
			}
			c, _, err := Dial(t.Context(), hc, srv.URL, http.Header{}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			go c.Close()
			if _, _, err := c.Read(); err == nil {
				t.Error("read from a closed connection")
			}
			<-gone
		})
	}
}

// RFC 6455 §4.1: handshakes that are no agreement. Any other status is the
// caller's to read.
func TestHandshakes(t *testing.T) {
	for name, change := range map[string][]string{
		"handshake without Connection: Upgrade":                                  {"keep-alive, Upgrade", "keep-alive"},
		"handshake without Upgrade: websocket":                                   {"Upgrade: WebSocket", "Upgrade: h2c"},
		"handshake with a wrong Sec-WebSocket-Accept":                            {"Accept: ", "Accept: A"},
		"handshake with an extension that was not asked for":                     {"\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
		"handshake with a subprotocol that was not asked for":                    {"\r\n\r\n", "\r\nSec-WebSocket-Protocol: x\r\n\r\n"},
		"the HTTP client's transport gives no connection that can be written to": nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Version") != "13" || len(r.Header.Get("Sec-WebSocket-Key")) != 24 {
					t.Errorf("%v", r.Header)
				}
				conn, br := upgraded(t, w, r, "", change...)
				_, _ = io.Copy(io.Discard, br) // until the client hangs up
				conn.Close()
			})
			hc := srv.Client()
			if change == nil {
				hc.Transport = readOnly{hc.Transport}
			}
			if c, resp, err := Dial(t.Context(), hc, srv.URL, http.Header{}, 1000); c != nil || resp != nil || err == nil || err.Error() != name {
				t.Errorf("%v, %v, %v", c, resp, err)
			}
		})
	}
	srv := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	c, resp, err := Dial(context.Background(), srv.Client(), srv.URL, http.Header{}, 1000)
	if c != nil || resp == nil || err == nil || resp.StatusCode != http.StatusForbidden {
		t.Fatal(c, resp, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "no\n" {
		t.Errorf("%q, %v", body, err)
	}
	resp.Body.Close()
}

// readOnly gives bodies that can only be read.
type readOnly struct{ http.RoundTripper }

func (t readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct{ io.ReadCloser }{resp.Body}
	}
	return resp, err
}
