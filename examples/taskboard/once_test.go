package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A write with an id has its effect once, and every repeat the first answer:
// over HTTP and sockets alike, at once, later, after a
// restart, and whether the first answer was a result or a refusal.
func TestOnce(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	ann, bob := s.person("Ann"), s.person("Bob")
	b := ann.board("Release")
	ann.share(b.Board.ID, bob, Editor)
	path := "/api/boards/" + b.Board.ID
	hear := bob.listen(bob.client(), b.Board.Room)
	body := newCard{List: b.Lists[0].ID, Title: "One"}
	const key = "Idempotency-Key: 01K"
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			status, text := ann.call("POST", path+"/cards", body, key)
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(status, string(text))]++
		})
	}
	all.Wait()
	if len(answers) != 1 {
		t.Fatalf("%d answers: %v", len(answers), answers)
	}
	_, first := ann.call("POST", path+"/cards", body, key)
	gone := "Idempotency-Key: 02K"
	refusal := ann.refused(holdfast.NotFound, "DELETE", path+"/cards/none", nil, gone)
	// Another user's ids are others; a command's too.
	bob.must(201, "POST", path+"/cards", body, nil, key)
	ann.refused(holdfast.Conflict, "POST", path+"/lists", newList{Title: "a"}, key)
	hear.next("task_created")
	hear.next("task_created")

	s.stop()
	s = start(t, dir)
	ann.url, bob.url = s.url, s.url
	if _, again := ann.call("POST", path+"/cards", body, key); !bytes.Equal(first, again) {
		t.Errorf("after a restart %s, at first %s", again, first)
	}
	if again := ann.refused(holdfast.NotFound, "DELETE", path+"/cards/none", nil, gone); again.Error != refusal.Error {
		t.Errorf("%q, at first %q", again.Error, refusal.Error)
	}
	if _, again := ann.call("POST", path+"/cards", map[string]string{"list": body.List, "title": body.Title, "id": "01K"}); !bytes.Equal(first, again) {
		t.Errorf("%s, at first %s", again, first)
	}
	overSocket := map[string]any{"board": b.Board.ID, "list": body.List, "title": body.Title}
	ack, err := ann.client().Socket().EmitRaw(ann.ctx(), "card:create", overSocket, map[string]any{"$hf": map[string]string{"id": "01K"}})
	if want := `{"ok":true,"data":` + string(first) + `}`; err != nil || ack.Len() != 1 || string(ack.Values[0]) != want {
		t.Errorf("over a socket %s (%v), at first %s", ack.Values, err, first)
	}
	if state := ann.state(b.Board.ID); len(state.Cards) != 2 {
		t.Errorf("%d cards", len(state.Cards))
	}
}

// What nobody acknowledged may be there or not; what was, is there, once, in
// its place, though the server is killed again and again.
func TestKilled(t *testing.T) {
	const kills, cards = 4, 12
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, url: "http://" + addr}
	server := spawn(t, dir, addr)
	ann := s.person("Ann")
	b := ann.board("Release")
	path := "/api/boards/" + b.Board.ID + "/cards"
	for round := range kills {
		var all sync.WaitGroup
		started := make(chan struct{}, cards)
		for i := range cards {
			all.Go(func() {
				body := map[string]string{"list": b.Lists[0].ID, "title": fmt.Sprint(round, "-", i), "id": fmt.Sprint("w", round, "-", i)}
				started <- struct{}{}
				ann.until(path, body)
			})
		}
		for range cards / 2 {
			<-started
		}
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = server.Wait() // a killed process has no good status
		server = spawn(t, dir, addr)
		all.Wait()
	}
	titles := map[string]int{}
	for _, c := range ann.state(b.Board.ID).Cards {
		titles[c.Title]++
	}
	if len(titles) != kills*cards {
		t.Errorf("%d titles, want %d", len(titles), kills*cards)
	}
	for title, n := range titles {
		if n != 1 {
			t.Errorf("%q is there %d times", title, n)
		}
	}
}

// until makes a call until it is answered with 201.
func (p *person) until(path string, body map[string]string) {
	text := fmt.Sprintf(`{"list":%q,"title":%q,"id":%q}`, body["list"], body["title"], body["id"])
	for end := time.Now().Add(patience); time.Now().Before(end); {
		r, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url+path, bytes.NewReader([]byte(text)))
		if err != nil {
			p.t.Error(err)
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+p.token)
		resp, err := p.http.Do(r)
		if err != nil {
			continue // the server is down
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusCreated {
			return
		}
	}
	p.t.Errorf("%v was never accepted", body)
}

// spawn runs the program as a process of its own, and waits until it serves.
func spawn(t *testing.T, dir, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TASKBOARD_TEST_DATA="+dir, "TASKBOARD_TEST_ADDR="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	probe := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		resp, err := probe.Get("http://" + addr + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return cmd
			}
		}
	}
	t.Fatal("the server does not come up")
	return nil
}
