package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// held is a connection, and rooms whose members are behind. The test is its
// reader.
type held struct {
	t       *testing.T
	s       *Server
	c       *Conn
	client  *fuzzed
	members map[string]*laggard
}

// newHeld has rooms with a member each that is behind.
func newHeld(t *testing.T, proto protocol, rooms ...string) *held {
	s := newBare(t)
	id := &holdfast.Identity{User: "u", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}
	c := bareConn(t, s, id)
	h := &held{t: t, s: s, c: c, client: &fuzzed{}, members: make(map[string]*laggard)}
	h.client.ctx, h.client.cancel = context.WithCancel(t.Context())
	c.link.eio, c.link.proto = h.client, proto
	c.open.Store(true)
	HandleRaw(s, "handler", func(context.Context, *Conn, socketio.Args) (socketio.Args, error) { return socketio.Args{}, nil })
	for _, room := range rooms {
		sink := new(laggard)
		session, err := s.hub.Open(hub.SessionConfig{ID: "of " + room, Identity: id, Sink: sink, Encoder: anyFrame{}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(session.Close)
		if _, err := session.Join(t.Context(), room, hub.JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		sink.fallBack()
		if _, err := s.Publish(t.Context(), room, "first", 0); err != nil {
			t.Fatal(err) // after which it is known
		}
		h.members[room] = sink
	}
	return h
}

// says has the reader read messages.
func (h *held) says(messages ...string) {
	for _, m := range messages {
		h.c.link.proto.receive(h.c.link, []byte(m), false)
	}
}

// wants looks at the answers so far, each cut to what a want has, in any order
// or, with a "<" before it, after the one before.
func (h *held) wants(wants ...string) {
	h.t.Helper()
	synctest.Wait()
	h.client.mu.Lock()
	defer h.client.mu.Unlock()
	last := -1
	for _, want := range wants {
		text, after := strings.CutPrefix(want, "<")
		i := slices.IndexFunc(h.client.frames, func(f []byte) bool { return strings.Contains(string(f), text) })
		if i < 0 || after && i < last {
			h.t.Errorf("no answer %s, or too soon: %q", want, h.client.frames)
		}
		last = i
	}
	if n := len(h.client.frames); n != len(wants) {
		h.t.Errorf("%d answers, want %d: %q", n, len(wants), h.client.frames)
	}
	h.client.frames = nil
}

func publishing(ack int, room string) string {
	return fmt.Sprintf(`2%d["room:publish",{"room":%q,"event":"e","data":1}]`, ack, room)
}

func accepted(ack int) string { return fmt.Sprintf(`3%d[{"ok":true`, ack) }

// TestHeldPublish has a client publish in a room that is behind. Its reader reads
// on; what is about other rooms goes on; what is about that room, and the
// program's handlers, come in their order.
func TestHeldPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, socketIO{}, "a")
		began := time.Now()
		h.says(publishing(1, "a"), publishing(2, "b"), publishing(3, "a"), `24["room:join",{"room":"c"}]`, `25["typing",{"room":"c"}]`)
		h.wants(accepted(2), "<"+accepted(4), "<"+accepted(5))
		h.says(`26["handler"]`, publishing(7, "b"))
		h.wants()
		if took := time.Since(began); took > 0 || h.members["a"].got.Load() != 1 {
			t.Errorf("the reader was held for %v; %d events", took, h.members["a"].got.Load())
		}
		time.Sleep(500 * time.Millisecond)
		h.wants()
		h.members["a"].catchUp()
		h.wants(accepted(1), "<"+accepted(3), "<36[]", "<"+accepted(7))
		h.says(publishing(8, "a"))
		h.wants(accepted(8))
		if got := h.members["a"].got.Load(); got != 4 || time.Since(began) != 500*time.Millisecond {
			t.Errorf("%d events after %v", got, time.Since(began))
		}
	})
}

// TestWaitsForHeldPublish has messages come behind a publish that is held up:
// they are carried out after it.
func TestWaitsForHeldPublish(t *testing.T) {
	const held = `21["room:publish",{"room":"a","event":"e","data":1}]`
	for name, tt := range map[string]struct {
		message string
		want    string
	}{
		"leaving the room":       {`22["room:leave",{"room":"a"}]`, accepted(2)},
		"joining it":             {`22["room:join",{"room":"a"}]`, accepted(2)},
		"presence in it":         {`22["presence:get",{"room":"a"}]`, `32[{"ok":false`},
		"typing in it":           {`22["typing",{"room":"a"}]`, `32[`},
		"a refresh":              {`22["auth:refresh",{"token":"t"}]`, `32[{"ok":false`},
		"another room as far":    {publishing(2, "b"), `32[{"ok":false`}, // a second after the first
		"a handler":              {`22["handler"]`, `32[]`},
		"what has no room":       {`22["room:leave",{}]`, `32[{"ok":false`},
		"leaving the namespace":  {`1`, ""},
		"a publish in that room": {publishing(2, "a"), `32[{"ok":false`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld(t, socketIO{}, "a", "b")
				began := time.Now()
				h.says(held, tt.message)
				if took := time.Since(began); took > 0 {
					t.Errorf("the reader was held for %v", took)
				}
				h.wants()
				time.Sleep(time.Second)
				synctest.Wait()
				time.Sleep(time.Second)
				wants := []string{`31[{"ok":false,"error":{"message":"More is published`, "<" + tt.want}
				if tt.want == "" {
					wants = wants[:1]
				}
				h.wants(wants...)
			})
		})
	}
}

// TestHeldOverPlain is TestHeldPublish over a plain WebSocket.
func TestHeldOverPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, plainWS{typedForm{}}, "a")
		h.says(`{"type":"publish","room":"a","event":"e","data":1,"ref":"r1"}`, `{"type":"publish","room":"b","event":"e","data":1,"ref":"r2"}`,
			`{"type":"publish","room":"a","event":"e","data":1,"ref":"r3"}`, `{"type":"ping","ref":"r4"}`,
			`{"type":"event","event":"handler","ref":"r5"}`, `{"type":"ping","ref":"r6"}`)
		h.wants(`"r2"`, `<"r4"`)
		h.members["a"].catchUp()
		h.wants(`"r1"`, `<"r3"`, `<"r5"`, `<"r6"`)
	})
}

// TestHeldIsBounded has a client publish without an end in a room that is behind:
// its reader stops reading, and nothing is lost of what it has read.
func TestHeldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 3 * pendingEvents
		h := newHeld(t, socketIO{}, "a")
		read := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range all {
				h.says(publishing(100+read, "a"))
				read++
			}
		}()
		h.wants()
		// In the lane one that runs and as many as wait there; one that the queue's
		// goroutine has; those that wait in the queue.
		if want := 1 + pendingEvents + 1 + pendingEvents; read != want {
			t.Errorf("%d were read, want %d", read, want)
		}
		h.members["a"].catchUp()
		<-done
		wants := []string{accepted(100)}
		for i := 1; i < all; i++ {
			wants = append(wants, "<"+accepted(100+i))
		}
		h.wants(wants...)
	})
}

// TestHeldEnds has the connection end while publishes of it are held up: its end
// follows them.
func TestHeldEnds(t *testing.T) {
	for _, catchUp := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHeld(t, socketIO{}, "a")
			h.says(publishing(1, "a"), publishing(2, "a"), `23["handler"]`)
			h.client.cancel()
			h.c.link.Closed(nil, nil)
			synctest.Wait()
			left := func() bool {
				h.c.link.mu.Lock()
				defer h.c.link.mu.Unlock()
				return len(h.c.link.conns) == 0
			}
			if left() {
				t.Error("its end did not wait")
			}
			if catchUp {
				h.members["a"].catchUp()
			} else {
				time.Sleep(lastEvents)
			}
			synctest.Wait()
			if got := h.members["a"].got.Load(); !left() || catchUp != (got == 3) {
				t.Errorf("its end is there: %v; %d events", left(), got)
			}
			time.Sleep(lastEvents)
		})
	}
}

// TestHeldWithHooks has the program be asked about publishes: then all of the
// connection's messages wait, and the reader reads on.
func TestHeldWithHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, socketIO{}, "a")
		h.s.OnPublish(func(context.Context, *Publish) error { return nil })
		began := time.Now()
		h.says(publishing(1, "a"), publishing(2, "b"), publishing(3, "a"))
		h.wants()
		if time.Since(began) > 0 {
			t.Error("the reader was held up")
		}
		h.members["a"].catchUp()
		h.wants(accepted(1), "<"+accepted(2), "<"+accepted(3))
	})
}
