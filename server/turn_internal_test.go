package server

import (
	"context"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// turning is a pipe whose reader may work on each message itself.
type turning struct {
	turn transport.Turn
	sent int
}

func (*turning) Lags() bool                 { return false }
func (*turning) CaughtUp() <-chan struct{}  { return nil }
func (p *turning) SendNow(*hub.Frame) bool  { p.sent++; return true }
func (*turning) SendAll(...*hub.Frame) bool { return true }
func (p *turning) Claim() *transport.Turn   { return &p.turn }
func (*turning) HandOn()                    {}
func (*turning) Hurried() bool              { return false }

// An event for a raw handler costs no more where the reader runs that itself.
func TestEventInTurnAllocates(t *testing.T) {
	s := newBare(t)
	handled := 0
	HandleRaw(s, "raw", func(_ context.Context, _ *Conn, args socketio.Args) (socketio.Args, error) {
		handled += args.Len()
		return socketio.Args{}, nil
	})
	l := bareConn(t, s, &holdfast.Identity{User: "u"}).link
	l.quickly = &turning{}
	message := []byte(`2["raw",{"text":"to whom it may concern"},7]`)
	const runs = 500
	n := testing.AllocsPerRun(runs, func() { l.proto.receive(l, message, false) })
	if want := 2 * (runs + 1); handled != want { // by this goroutine, or it would not be seen here
		t.Errorf("%d arguments were handled in turns, want %d", handled, want)
	}
	if n > 2 {
		t.Errorf("an event makes %v allocations", n)
	}
}
