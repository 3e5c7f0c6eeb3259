package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
)

// A client's socket does this with SocketConfig.Queue.
func ExampleMemory() {
	ctx := context.Background()
	q := queue.NewMemory(queue.Limits{Items: 100})
	for _, event := range []string{"first", "second"} {
		err := q.Add(ctx, queue.Item{ID: queue.NewID(), User: "ann", Namespace: "/", Event: event, Args: json.RawMessage(`[]`)})
		if err != nil {
			log.Fatal(err)
		}
	}
	lane := queue.Lane{User: "ann", Namespace: "/"}
	release, err := q.Lead(ctx, lane)
	if err != nil {
		log.Fatal(err)
	}
	defer release()
	first, _ := q.Next(ctx, lane)
	fmt.Println(first.Event)
	_, _ = q.Remove(ctx, first.ID, nil) // acknowledged
	second, _ := q.Next(ctx, lane)
	fmt.Println(second.Event)
	_, _ = q.Remove(ctx, second.ID, holdfast.Forbidden.New())
	fmt.Println(len(q.Items()), q.Dead()[0].Code == holdfast.Forbidden)
	// Output:
	// first
	// second
	// 0 true
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	q, err := queue.Open(dir, queue.Limits{
		DropOldest: true,
		Dropped:    func(i queue.Item) { log.Print("dropped ", i.Event) },
	})
	if err != nil {
		log.Fatal(err)
	}
	item := queue.Item{ID: queue.NewID(), Namespace: "/", Event: "kept", Args: json.RawMessage(`[1]`)}
	if err := q.Add(context.Background(), item); err != nil {
		log.Fatal(err)
	}
	q.Close()

	again, err := queue.Open(dir, queue.Limits{}) // by the next process, say
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close()
	fmt.Println(again.Items()[0].Event)
	// Output: kept
}
