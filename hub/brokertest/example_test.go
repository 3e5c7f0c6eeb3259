package brokertest_test

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/hub/brokertest"
)

// A hub whose broker is away for a moment: the publisher tries again with the
// same id, and the event is there once.
func ExampleFaulty() {
	memory := hub.NewMemory(hub.MemoryConfig{})
	defer memory.Close()
	broker := brokertest.Faulty(memory, brokertest.Plan{})
	h := hub.New(hub.Config{Broker: broker})
	defer h.Close()

	ev := &holdfast.Event{Room: "board-7", Name: "moved", From: "ann", ID: "move-1"}
	broker.Cut()
	_, err := h.Publish(context.Background(), ev)
	fmt.Println(err)
	broker.Restore()
	for range 2 {
		pos, err := h.Publish(context.Background(), ev)
		fmt.Println(pos.Offset, err)
	}
	// Output:
	// brokertest: a planned fault
	// 1 <nil>
	// 1 <nil>
}

// Two nodes on one server, which starts again and has lost everything.
func ExampleRemote() {
	remote := brokertest.NewRemote(hub.MemoryConfig{})
	defer remote.Close()
	one, two := remote.Client(), remote.Client()

	before, _ := one.Publish(context.Background(), &holdfast.Event{Room: "board-7", Name: "moved"})
	h, _ := two.History(context.Background(), "board-7", nil, 0)
	fmt.Println(len(h.Events), h.Position == before)

	remote.Wipe()
	h, _ = two.History(context.Background(), "board-7", &before, 0)
	fmt.Println(len(h.Events), h.Recovered, h.Position.Epoch == before.Epoch)
	// Output:
	// 1 true
	// 0 false false
}
