package server

import (
	"context"
	"runtime"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/socketio"
)

// A handler may end its goroutine, as t.FailNow does in a program's own tests.
// What its client has sent after that is still handled, and Shutdown does not
// wait for it for ever.
func TestHandlerEndsItsGoroutine(t *testing.T) {
	s := newBare(t)
	handled := make(chan string, 2)
	hold := make(chan struct{})
	HandleRaw(s, "end", func(context.Context, *Conn, socketio.Args) (socketio.Args, error) {
		<-hold
		runtime.Goexit()
		return socketio.Args{}, nil
	})
	HandleRaw(s, "next", func(context.Context, *Conn, socketio.Args) (socketio.Args, error) {
		handled <- "next"
		return socketio.Args{}, nil
	})
	l := bareConn(t, s, &holdfast.Identity{User: "u"}).link
	client := &fuzzed{cancel: func() {}}
	l.eio = client
	l.proto.receive(l, []byte(`21["end"]`), false)
	l.proto.receive(l, []byte(`2["next"]`), false)
	close(hold)
	<-handled
	s.crew.wait()
	if !l.work.idle() {
		t.Error("the connection's work never ends")
	}
	if err := client.ended(); err == nil || err.Code != holdfast.Internal {
		t.Errorf("the client, which waits for an answer, was told %v", err)
	}
}

// A hook may do so as well: the hooks behind it are called, and Shutdown is not
// kept from its end.
func TestHookEndsItsGoroutine(t *testing.T) {
	s := newBare(t)
	called := make(chan string, 1)
	s.Namespace.OnDisconnect(func(context.Context, *Conn, error) { runtime.Goexit() })
	s.Namespace.OnDisconnect(func(context.Context, *Conn, error) { called <- "second" })
	c := bareConn(t, s, &holdfast.Identity{User: "u"})
	c.pass()
	c.leave(nil)
	<-called
	s.lines.wait()
}

// Nor does one of OnConnect, whose connection is not admitted.
func TestConnectHookEndsItsGoroutine(t *testing.T) {
	s := newBare(t)
	s.cfg.Authenticator = auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{User: "u"}, nil
	})
	s.OnConnect(func(context.Context, *Conn) error { runtime.Goexit(); return nil })
	client := &fuzzed{cancel: func() {}}
	l := &link{srv: s, proto: socketIO{}, eio: client}
	l.mu.Lock()
	l.life.awaitConnect(l)
	l.mu.Unlock()
	l.proto.receive(l, []byte(`0`), false)
	s.crew.wait()
	if err := client.ended(); err == nil || err.Code != holdfast.Internal {
		t.Errorf("the client was told %v", err)
	}
	l.Closed(nil, nil)
	s.lines.wait()
}
