package hub

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// Frame is one message, encoded for one kind of transport and shared by all
// its receivers. Nobody may change a Frame, or what it points to, after it was
// first sent.
type Frame struct {
	// Text is the text part; for Engine.IO with the packet type: `42["e",…]`.
	Text []byte
	// Binary are the binary messages that follow Text.
	Binary [][]byte
	// Wire is the whole of it as WebSocket frames (server side, unmasked),
	// ready to write; nil where no WebSocket can receive it.
	Wire []byte
	// Overflow says what gives way where the frame does not fit into a queue.
	Overflow Overflow
	// Key tells frames with OverflowLatest apart. It counts in the whole queue:
	// who makes such frames sees to it that theirs differ from those of others.
	Key string
	// Event is what the frame was made of, for transports that write more of it
	// for each receiver than the shared bytes. An Encoder sets it; nil if it
	// need not be known.
	Event *holdfast.Event

	packed atomic.Pointer[packing]
}

// packing is another form of a frame, made when it is first asked for.
type packing struct {
	once  sync.Once
	bytes []byte
}

// Packed returns what pack makes of f: a compressed Wire, for one. pack is
// called by the first receiver who asks, and the result shared with all
// others, who wait for it; it must not block, and must be the same function
// for all of them.
func (f *Frame) Packed(pack func(*Frame) []byte) []byte {
	p := f.packed.Load()
	if p == nil {
		f.packed.CompareAndSwap(nil, new(packing))
		p = f.packed.Load()
	}
	p.once.Do(func() { p.bytes = pack(f) })
	return p.bytes
}

// Size is what the frame counts for in limits of bytes: the length of Wire,
// or that of Text and Binary where there is no Wire.
func (f *Frame) Size() int {
	if len(f.Wire) > 0 {
		return len(f.Wire)
	}
	n := len(f.Text)
	for _, b := range f.Binary {
		n += len(b)
	}
	return n
}

// Encoder turns an event into a frame of one protocol.
//
// Encoders are compared with ==: sessions whose encoders are equal share
// frames, so an Encoder's dynamic type must be comparable. Encode is called
// from many goroutines, must not block and must not keep or change ev. It may
// return nil, and the event is then not sent to these sessions.
type Encoder interface {
	Encode(ev *holdfast.Event) *Frame
}

// Sink is the sending side of a session: usually a connection's queue.
type Sink interface {
	// Send queues f, or drops it where its Overflow says so, and never blocks.
	// It returns false once the sink is closed, or when f does not fit and may
	// not be dropped; the sink then closes itself (with SLOW_CONSUMER), and its
	// owner closes the session. It is called from many
	// goroutines, but never with two events of one room at once, and must not
	// call back into the hub.
	Send(f *Frame) bool
}

// Pacer is a Sink that can say when it has room again. A replay to a Pacer
// waits for the peer, so that a long history does not overflow the queue. Only
// Session.Join calls it, in the caller's goroutine.
type Pacer interface {
	// Pace returns when a good part of the sink's queue is free (half of it, say),
	// when the sink is closed, or with ctx's error.
	Pace(ctx context.Context) error
}
