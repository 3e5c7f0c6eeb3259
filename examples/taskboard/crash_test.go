package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// commit is a card that a process makes which is killed before it has told
// anybody.
type commit struct {
	Dir  string
	By   holdfast.User
	ID   string // of the write
	Card newCard
}

// commitAndWait does the write as a call would, and where the outbox would tell
// of it, waits to be killed. It is what the test binary does in the process to be
// killed.
func commitAndWait(text string) int {
	ctx := context.Background()
	var c commit
	err := json.Unmarshal([]byte(text), &c)
	var s *store
	if err == nil {
		s, err = openStore(ctx, c.Dir)
	}
	if err == nil {
		s.told.set(0, true) // do is not to wait for an outbox
		_, err = s.do(ctx, call{command: "card:create", by: c.By, id: c.ID}, func(t *tx) (any, error) { return t.createCard(c.Card) })
	}
	fmt.Println(err)
	_, _ = os.Stdin.Read(make([]byte, 1)) // nothing comes
	return 1
}

// What was committed is told although the process was killed before it could
// tell: at the next start, once, and before what is written then. Whoever
// repeats the write gets its answer, and nobody hears of it again.
func TestKilledBeforeTelling(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	ann := s.person("Ann")
	b := ann.board("Release")
	room, path := b.Board.Room, "/api/boards/"+b.Board.ID+"/cards"
	s.stop()

	card := newCard{Board: b.Board.ID, List: b.Lists[0].ID, Title: "Committed"}
	text, err := json.Marshal(commit{Dir: dir, By: holdfast.User{ID: ann.id, Name: ann.name, Email: ann.email}, ID: "01K", Card: card})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TASKBOARD_TEST_COMMIT="+string(text))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "<nil>\n" {
		t.Errorf("the write: %q (%v)", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // a killed process has no good status

	s = start(t, dir)
	ann.url = s.url
	// told waits until the room was told of so many events.
	told := func(n int) (got []string) {
		for end := time.Now().Add(patience); time.Now().Before(end); {
			var history struct {
				Events []struct {
					Event string
					Data  Change
				}
			}
			ann.must(http.StatusOK, "GET", "/api/rooms/"+room+"/history", nil, &history)
			got = nil
			for _, e := range history.Events {
				got = append(got, e.Event+" "+e.Data.Card.ID)
			}
			if len(got) >= n {
				break
			}
		}
		return got
	}
	if got := told(1); len(got) != 1 {
		t.Fatalf("at the start the room was told %q", got)
	}
	var again Change
	ann.must(http.StatusCreated, "POST", path, card, &again, "Idempotency-Key: 01K")
	last := ann.card(b.Board.ID, b.Lists[0].ID, "Later")
	if got, want := told(2), []string{"task_created " + again.Card.ID, "task_created " + last.ID}; !slices.Equal(got, want) {
		t.Errorf("the room was told %q, want %q", got, want)
	}
	if cards := ann.state(b.Board.ID).Cards; len(cards) != 2 {
		t.Errorf("%d cards", len(cards))
	}
}
