package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
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

// TestEmitNotKept: an event that can't be kept is not one that can't be sent.
// The error says what is the matter with the folder, and what to do.
func TestEmitNotKept(t *testing.T) {
	defer goleak.VerifyNone(t)
	const server = "http://127.0.0.1:1"
	token := "x." + "eyJzdWIiOiJhbGljZSJ9" + ".x" // {"sub":"alice"}
	full := filepath.Join(t.TempDir(), "full")
	q, err := openQueue(full, server)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := q.File.Add(t.Context(), queue.Item{ID: queue.NewID(), User: "alice", Event: "room:publish", Args: json.RawMessage("[]")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	noFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		full:     "the event is not kept, " + quote(full) + " is full: \"holdfast queue send " + quote(full) + " " + server + "\" sends what waits there",
		noFolder: "not a directory",
	} {
		var stderr bytes.Buffer
		args := []string{"emit", "--queue", dir, "--token", token, "--timeout", "10ms", server, "lobby", "x"}
		code := run(t.Context(), args, strings.NewReader(""), &bytes.Buffer{}, &stderr, func(string) string { return "" })
		if code != exitFailed || !strings.Contains(stderr.String(), want) || strings.Contains(stderr.String(), "reach") {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
	}
}

// An event that was sent as soon as it was in the queue was in the queue.
func TestQueueAnswersAtOnce(t *testing.T) {
	k := &kept{added: make(chan string, 1)}
	for range 100 {
		answer := make(chan published, 1)
		k.added <- "id"
		answer <- published{at: holdfast.Position{Epoch: "e", Offset: 7}}
		if id, a, ok := k.taken(answer); id != "id" || !ok {
			t.Fatalf("%q, %v, %v", id, a, ok)
		}
		if a := <-answer; a.at.Offset != 7 {
			t.Fatalf("the answer is lost: %v", a)
		}
	}
	answer := make(chan published, 1)
	answer <- published{err: queue.ErrFull}
	if _, a, ok := k.taken(answer); ok || !errors.Is(a.err, queue.ErrFull) {
		t.Errorf("%v, %v", a, ok)
	}
}
