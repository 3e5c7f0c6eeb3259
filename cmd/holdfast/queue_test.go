package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/client/queue"
)

// TestFlushCountsWhatWentAtOnce: an event that left the queue before the
// command looked is one that was sent.
func TestFlushCountsWhatWentAtOnce(t *testing.T) {
	q, err := openQueue(t.TempDir(), "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for _, item := range []queue.Item{
		{ID: queue.NewID(), User: "alice", Event: "room:publish", Args: json.RawMessage("[]")},
		{ID: queue.NewID(), User: "bob", Event: "room:publish", Args: json.RawMessage("[]")},
	} {
		if err := q.File.Add(t.Context(), item); err != nil {
			t.Fatal(err)
		}
	}
	waiting := q.Items()
	if _, err := q.Remove(t.Context(), waiting[0].ID, nil); err != nil {
		t.Fatal(err)
	}
	users := make(chan string, 1)
	users <- "alice"
	n, err := new(connection).flush(&environment{ctx: t.Context()}, q, waiting, time.Minute, users)
	if n != 1 || err != nil {
		t.Errorf("%d sent, %v; want 1", n, err)
	}
}
