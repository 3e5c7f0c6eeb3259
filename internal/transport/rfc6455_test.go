package transport

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dev/holdfast"
)

// rule is a case: what a client sends to a session that echoes, and what it
// must get.
type rule struct {
	name string // its outcome is added to it
	send []byte
	want []string // frames, with "eof" at the end of those that end the connection
	bare bool     // holds only where no extension was agreed on
}

// demand is something that RFC 6455 asks for, and the cases that show it.
// docs/design/rfc6455.md is the list of them.
type demand struct {
	section string
	says    string
	cases   []rule
	tests   []string // what is shown by tests beside the table: "TestX", "client.TestX" in another package
}

// outcome says in a word what becomes of the connection.
func (r rule) outcome() string {
	if r.want[len(r.want)-1] != "eof" {
		return "goes on"
	}
	code, _, _ := strings.Cut(strings.TrimPrefix(r.closing(), "close "), " ")
	if r.closing() == "close" {
		code = "without a code"
	}
	return "closed " + code
}

// closing is the Close frame that the client gets.
func (r rule) closing() string { return r.want[len(r.want)-2] }

// code is what Receiver.Closed is told: "" where the peer closed.
func (r rule) code() holdfast.Code {
	if r.want[len(r.want)-1] != "eof" {
		return ""
	}
	words := strings.Fields(r.closing())
	if len(words) < 3 {
		return ""
	}
	return holdfast.Code(words[2])
}

// gets is what the receiver is handed: of what the session echoes, all.
func (r rule) gets(plain bool) (messages []string) {
	for _, w := range r.want {
		kind, data, _ := strings.Cut(w, " ")
		switch {
		case kind == "binary":
			messages = append(messages, "0x"+data)
		case kind == "text" && plain:
			messages = append(messages, data)
		case kind == "text":
			messages = append(messages, data[1:])
		}
	}
	return messages
}

// rules are all cases, by the names of their subtests.
func rules() (list []rule) {
	for _, d := range demands() {
		for _, r := range d.cases {
			r.name = "§" + d.section + " " + r.name + ": " + r.outcome()
			list = append(list, r)
		}
	}
	return list
}

// endpoint is a kind of server that the cases hold for.
type endpoint struct {
	name    string
	deflate bool // permessage-deflate was agreed on
	open    func(t *testing.T, n network) (*wsClient, *session)
}

func endpoints() []endpoint {
	plain := func(deflate bool) func(t *testing.T, n network) (*wsClient, *session) {
		return func(t *testing.T, n network) (*wsClient, *session) {
			// What goes out is compressed in other tests.
			rg := newPlainRig(t, n, PlainConfig{MaxPayload: maxMessage, Binary: true, Compression: deflate, CompressFrom: 2 * maxMessage}, echoing)
			if deflate {
				rg.offer = "permessage-deflate"
			}
			return rg.connectPlain()
		}
	}
	return []endpoint{
		{"socketio", false, func(t *testing.T, n network) (*wsClient, *session) {
			return newRig(t, n, EngineConfig{MaxPayload: maxMessage}, echoing).connect()
		}},
		{"plain", false, plain(false)},
		{"deflate", true, plain(true)},
	}
}

// check sends a case by write, and looks at everything that comes of it.
func (r rule) check(t *testing.T, c *wsClient, s *session, write func()) {
	t.Helper()
	written := make(chan struct{})
	go func() {
		defer close(written)
		write()
	}()
	c.want(r.want...)
	if r.want[len(r.want)-1] == "eof" {
		s.end(t, r.code(), nil)
		c.conn.Close()
		<-written
	} else {
		<-written
		c.bye()
		s.end(t, "", nil)
	}
	for _, want := range r.gets(s.conn.host.plain) {
		if got := s.message(t); got != want {
			t.Errorf("the application got %.100q, not %.100q", got, want)
		}
	}
	if n := len(s.got); n > 0 {
		t.Errorf("the application got %d messages more", n)
	}
}

func TestRFC6455(t *testing.T) {
	for _, e := range endpoints() {
		t.Run(e.name, func(t *testing.T) {
			for _, r := range rules() {
				if r.bare && e.deflate {
					continue
				}
				t.Run(r.name, func(t *testing.T) {
					onBoth(t, func(t *testing.T, n network) {
						c, s := e.open(t, n)
						r.check(t, c, s, func() { _, _ = c.conn.Write(r.send) })
					})
				})
			}
		})
	}
}

// The same cases must not depend on how the bytes are cut into packets: each
// byte is read alone in memory, and on TCP as the kernel has them.
func TestRFC6455ByteByByte(t *testing.T) {
	for _, e := range endpoints() {
		t.Run(e.name, func(t *testing.T) {
			for _, r := range rules() {
				if len(r.send) > 400 || r.bare && e.deflate {
					continue
				}
				t.Run(r.name, func(t *testing.T) {
					onBoth(t, func(t *testing.T, n network) {
						c, s := e.open(t, n)
						r.check(t, c, s, func() {
							for i := range r.send {
								if n.fake && i > 0 {
									synctest.Wait()
								}
								if _, err := c.conn.Write(r.send[i : i+1]); err != nil {
									return
								}
							}
						})
					})
				})
			}
		})
	}
}
