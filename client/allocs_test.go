package client

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/wsclient"
)

// dictated is a wire on which a test says what comes next.
type dictated struct{ next []byte }

func (w *dictated) await() error                         { return nil }
func (w *dictated) read() (wsclient.Kind, []byte, error) { return wsclient.Text, w.next, nil }
func (w *dictated) try(batch) (batch, error)             { return batch{}, nil }
func (w *dictated) write(batch, time.Duration) error     { return nil }
func (w *dictated) cut()                                 {}
func (w *dictated) size(p outgoing, _ bool) int          { return p.size() }

// What an event of a room costs on its way from the wire to a typed handler: its
// bytes, the list of its arguments, the delivery and the value, and six of
// encoding/json's, which fills it.
func TestEventAllocates(t *testing.T) {
	if raceEnabled {
		return // it allocates of its own
	}
	const most = 4 + 6
	client, err := New(Config{BaseURL: "http://nowhere", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := client.Socket()
	defer s.Close()
	room, err := s.Join(t.Context(), "board", JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int)
	OnEvent(room, "moved", func(_ context.Context, ev Event[fleetMove]) { got <- ev.Data.Card })

	w := &dictated{}
	c := &conn{s: s, wire: w, greeted: make(chan struct{}), run: &run{up: make(chan struct{})}}
	c.ctx, c.end = context.WithCancel(t.Context())
	c.out.limit, c.out.turns = s.cfg.SendBuffer, &c.tasks
	defer c.tasks.Wait()
	defer c.cut()
	say := func(text []byte) {
		w.next = text
		if err := c.readOne(); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{
		`0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, `40{"sid":"s"}`,
		`430[{"ok":true,"data":{"room":"board","epoch":"e","offset":0}}]`,
	} {
		say([]byte(text))
	}
	defer c.watch.Stop()
	n, packet := 255, make([]byte, 0, 1000) // fmt allocates for larger numbers
	event := func() {
		n++
		packet = fmt.Appendf(packet[:0], `42["moved",{"card":%d,"to":"done","by":"somebody","note":"x"},{"room":"board","epoch":"e","offset":%d,"from":"ann"}]`, n, n)
		say(packet)
		if card := <-got; card != n {
			t.Fatalf("got %d, want %d", card, n)
		}
	}
	event()
	own := testing.AllocsPerRun(200, func() { packet = fmt.Appendf(packet[:0], "%d %d", n, n) })
	if allocs := testing.AllocsPerRun(200, event) - own; allocs > most {
		t.Errorf("%v allocations an event, at most %d", allocs, most)
	}
}
