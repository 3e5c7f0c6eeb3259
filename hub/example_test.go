package hub_test

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// lines encodes an event as one line of text.
type lines struct{}

func (lines) Encode(ev *holdfast.Event) *hub.Frame {
	return &hub.Frame{Text: fmt.Appendf(nil, "%s %d %s", ev.Name, ev.Position.Offset, ev.Data)}
}

// screen is a sink that prints.
type screen struct{ name string }

func (s screen) Send(f *hub.Frame) bool {
	fmt.Printf("%s: %s\n", s.name, f.Text)
	return true
}

// A session joins a room with the position that it had before, gets what it
// missed, and then what is new.
func Example() {
	ctx := context.Background()
	h := hub.New(hub.Config{})
	defer h.Close()

	first, err := h.Publish(ctx, &holdfast.Event{Room: "board-7", Name: "card", Data: []byte(`"one"`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = h.Publish(ctx, &holdfast.Event{Room: "board-7", Name: "card", Data: []byte(`"two"`)})

	ann, err := h.Open(hub.SessionConfig{
		ID: "s1",
		Identity: &holdfast.Identity{
			User:        "ann",
			Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("board-*")},
		},
		Sink:    screen{"ann"},
		Encoder: lines{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ann.Close()

	_, err = ann.Join(ctx, "board-7", hub.JoinOptions{Since: &first}, func(j hub.Joined) {
		fmt.Printf("joined at %d, recovered: %v\n", j.Position.Offset, *j.Recovered)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = ann.Publish(ctx, &holdfast.Event{Room: "board-7", Name: "card", Data: []byte(`"three"`)})

	_, err = ann.Join(ctx, "accounts", hub.JoinOptions{}, nil)
	fmt.Println(err)
	// Output:
	// ann: card 2 "two"
	// joined at 2, recovered: true
	// ann: card 3 "three"
	// Not allowed in this room (FORBIDDEN)
}

// An id makes publishing idempotent: a repeat gets the first position.
func ExampleHub_Publish() {
	h := hub.New(hub.Config{})
	defer h.Close()
	ev := &holdfast.Event{Room: "orders", Name: "paid", Data: []byte(`{"order":17}`), ID: "01J8Z3"}
	for range 2 {
		pos, err := h.Publish(context.Background(), ev)
		fmt.Println(pos.Offset, err)
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
}

// A connection's writer starts when Push says so, and takes what there is.
func ExampleQueue() {
	q := hub.Queue{Limit: 1 << 20}
	for _, text := range []string{"a", "b", "c"} {
		wake, ok := q.Push(&hub.Frame{Text: []byte(text)})
		fmt.Println(wake, ok)
	}
	for _, f := range q.Pop(nil, 64<<10, 0) {
		fmt.Printf("%s", f.Text)
	}
	fmt.Println(q.Len())
	// Output:
	// true true
	// false true
	// false true
	// abc0
}
