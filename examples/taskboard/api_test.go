package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

// A board's day: every write answers what the room hears, and the board shows
// it.
func TestBoard(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	if b.Board.Role != Owner || b.Board.Room != "board-"+b.Board.ID || b.Board.Rev != 1 || len(b.Lists) != 3 || len(b.Cards) != 0 || len(b.Members) != 1 {
		t.Fatalf("%+v", b)
	}
	todo, doing := b.Lists[0], b.Lists[1]
	if todo.Title != "To do" || doing.Title != "Doing" || b.Lists[2].Title != "Done" {
		t.Errorf("%+v", b.Lists)
	}
	hear := ann.listen(ann.client(), b.Board.Room)
	path := "/api/boards/" + b.Board.ID
	rev := b.Board.Rev
	step := func(status int, method, rest string, body any, event string, header ...string) Change {
		t.Helper()
		var c Change
		ann.must(status, method, path+rest, body, &c, header...)
		ev, heard := hear.next(event)
		if diff := cmp.Diff(c, heard); diff != "" {
			t.Errorf("%s is not what was answered: %s", event, diff)
		}
		if rev++; c.Rev != rev || ev.From != ann.id || c.By.ID != ann.id || c.By.Name != "Ann" || c.By.Email != "" {
			t.Errorf("%s: rev %d from %q by %+v, want rev %d", event, c.Rev, ev.From, c.By, rev)
		}
		return c
	}
	first := *step(201, "POST", "/cards", map[string]string{"list": todo.ID, "title": " One ", "text": "a\nb", "color": "red"}, "task_created", "Idempotency-Key: k1").Card
	if first.Title != "One" || first.Text != "a\nb" || first.Color != "red" || first.Version != 1 || first.Author != ann.id || first.Done {
		t.Errorf("%+v", first)
	}
	second := *step(201, "POST", "/cards", map[string]string{"list": todo.ID, "title": "Two", "before": first.ID}, "task_created").Card
	if second.Key >= first.Key {
		t.Errorf("%q is not before %q", second.Key, first.Key)
	}
	edited := *step(200, "PATCH", "/cards/"+first.ID, map[string]any{"title": "Uno", "done": true, "version": 1}, "task_updated").Card
	if edited.Title != "Uno" || !edited.Done || edited.Text != "a\nb" || edited.Version != 2 {
		t.Errorf("%+v", edited)
	}
	moved := step(200, "POST", "/cards/"+first.ID+"/move", map[string]string{"list": doing.ID}, "task_moved")
	if moved.Card.List != doing.ID || moved.From != todo.ID || moved.Card.Version != 2 {
		t.Errorf("%+v", moved)
	}
	step(200, "DELETE", "/cards/"+second.ID+"?version=1", nil, "task_deleted")
	list := *step(201, "POST", "/lists", map[string]string{"title": "Later", "after": todo.ID}, "list_created").List
	list = *step(200, "PATCH", "/lists/"+list.ID, map[string]any{"title": "Much later", "version": 1}, "list_updated").List
	if list.Title != "Much later" || list.Version != 2 {
		t.Errorf("%+v", list)
	}
	state := ann.state(b.Board.ID)
	if state.Board.Rev != rev || len(state.Lists) != 4 || state.Lists[1].ID != list.ID || len(state.Cards) != 1 {
		t.Errorf("%+v", state)
	}
	step(200, "POST", "/lists/"+list.ID+"/move", map[string]string{"before": todo.ID}, "list_moved")
	step(200, "DELETE", "/lists/"+doing.ID, nil, "list_deleted")
	if state = ann.state(b.Board.ID); len(state.Cards) != 0 || len(state.Lists) != 3 || state.Lists[0].ID != list.ID {
		t.Errorf("%+v", state)
	}
	step(200, "PATCH", "", titled{Title: "Later release"}, "board_updated")
	step(200, "DELETE", "", nil, "board_deleted")
	hear.gone(holdfast.NotFound)
	ann.refused(holdfast.NotFound, "GET", path, nil)
	var boards struct{ Boards []Board }
	ann.must(200, "GET", "/api/boards", nil, &boards)
	if len(boards.Boards) != 0 {
		t.Errorf("%+v", boards)
	}
}

// The simple list of todos, whose owner alone hears of it.
func TestTodos(t *testing.T) {
	s := start(t, t.TempDir())
	ann, bob := s.person("Ann"), s.person("Bob")
	hear := ann.listen(ann.client(), "todos:"+ann.id)
	if _, err := bob.client().Socket().Join(bob.ctx(), "todos:"+ann.id, client.JoinOptions{}); holdfast.CodeOf(err) != holdfast.Forbidden {
		t.Errorf("joined somebody else's room: %v", err)
	}
	var one, two Todo
	ann.must(201, "POST", "/api/todos", titled{Title: "Milk"}, &one)
	ann.must(201, "POST", "/api/todos", titled{Title: "Bread"}, &two)
	hear.next("todo:created")
	hear.next("todo:created")
	ann.must(200, "PATCH", "/api/todos/"+one.ID, map[string]bool{"completed": true}, &one)
	hear.next("todo:updated")
	var list, none []Todo
	ann.must(200, "GET", "/api/todos", nil, &list)
	if diff := cmp.Diff([]Todo{two, one}, list); diff != "" || !one.Completed || one.Title != "Milk" || one.UserID != ann.id {
		t.Errorf("%s %+v", diff, one)
	}
	bob.must(200, "GET", "/api/todos", nil, &none)
	if none == nil || len(none) != 0 {
		t.Errorf("%v", none)
	}
	bob.refused(holdfast.NotFound, "PATCH", "/api/todos/"+one.ID, map[string]bool{"completed": false})
	bob.refused(holdfast.NotFound, "DELETE", "/api/todos/"+one.ID, nil)
	ann.must(200, "DELETE", "/api/todos/"+one.ID, nil, nil)
	hear.next("todo:deleted")
	ann.refused(holdfast.NotFound, "DELETE", "/api/todos/"+one.ID, nil)
}

// What nobody can do, whoever he is.
func TestRefusals(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	other := ann.board("Other")
	path, list := "/api/boards/"+b.Board.ID, b.Lists[0].ID
	card := ann.card(b.Board.ID, list, "One")
	long := strings.Repeat("ä", maxTitle/2)
	for i, c := range []struct {
		code         holdfast.Code
		method, path string
		body         any
	}{
		{holdfast.InvalidArgument, "POST", "/api/boards", titled{Title: "  "}},
		{holdfast.InvalidArgument, "POST", "/api/boards", titled{Title: long + "a"}},
		{holdfast.InvalidArgument, "POST", "/api/boards", titled{Title: "a\x1b[2Jb"}},
		{holdfast.InvalidArgument, "POST", "/api/boards", `{"title":7}`},
		{holdfast.InvalidArgument, "POST", "/api/boards", `{"title":"a"} {}`},
		{holdfast.InvalidArgument, "POST", "/api/boards", ``},
		{holdfast.MessageTooLarge, "POST", "/api/boards", `{"title":"a","x":"` + strings.Repeat("x", maxBody) + `"}`},
		{holdfast.InvalidArgument, "POST", path + "/cards", newCard{List: list, Title: "a", Text: strings.Repeat("a", maxCardText+1)}},
		{holdfast.InvalidArgument, "POST", path + "/cards", newCard{List: list, Title: "a", Text: "\x00"}},
		{holdfast.InvalidArgument, "POST", path + "/cards", newCard{List: list, Title: "a", Color: "mauve"}},
		{holdfast.NotFound, "POST", path + "/cards", newCard{List: other.Lists[0].ID, Title: "a"}},
		{holdfast.NotFound, "POST", path + "/cards/" + card.ID + "/move", cardMove{List: other.Lists[0].ID}},
		{holdfast.NotFound, "PATCH", "/api/boards/" + other.Board.ID + "/cards/" + card.ID, titled{Title: "a"}},
		{holdfast.NotFound, "DELETE", "/api/boards/" + other.Board.ID + "/lists/" + list, nil},
		{holdfast.InvalidArgument, "DELETE", path + "/cards/" + card.ID + "?version=x", nil},
		{holdfast.NotFound, "POST", path + "/members", invited{Email: "nobody@example.com", Role: Editor}},
		{holdfast.Forbidden, "PATCH", path + "/members/" + ann.id, linkRole{Role: Viewer}},
		{holdfast.Forbidden, "DELETE", path + "/members/" + ann.id, nil},
		{holdfast.InvalidArgument, "POST", path + "/links", linkRole{Role: Owner}},
		{holdfast.InvalidArgument, "DELETE", path + "/links/owner", nil},
		{holdfast.NotFound, "POST", "/api/links", linkToken{Token: "guessed"}},
		{holdfast.NotFound, "GET", "/api/boards/nothing", nil},
		{holdfast.NotFound, "GET", "/api/boards/", nil},
		{holdfast.NotFound, "PUT", path, titled{Title: "a"}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { ann.refused(c.code, c.method, c.path, c.body) })
	}
	ann.refused(holdfast.InvalidArgument, "POST", "/api/boards", titled{Title: "a"}, "Content-Type: text/plain")
	ann.refused(holdfast.InvalidArgument, "POST", "/api/boards", titled{Title: "a"}, "Idempotency-Key: "+strings.Repeat("k", maxWriteID+1))
	ann.refused(holdfast.InvalidArgument, "POST", "/api/boards", `{"title":"a","id":"x"}`, "Idempotency-Key: y")
	ann.refused(holdfast.OriginNotAllowed, "POST", "/api/boards", titled{Title: "a"}, "Origin: https://evil.example")
	s.stranger().refused(holdfast.Unauthenticated, "GET", "/api/boards", nil)
	if got := ann.state(b.Board.ID); len(got.Cards) != 1 || got.Board.Rev != 2 {
		t.Errorf("a refusal changed something: %+v", got)
	}
	ann.must(201, "POST", "/api/boards", titled{Title: long}, nil)
}

// A cookie session needs the CSRF token for writes, here as everywhere.
func TestCookies(t *testing.T) {
	s := start(t, t.TempDir())
	s.person("Ann")
	page := s.stranger()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/api/auth/sign-in", strings.NewReader(`{"email":"ann@example.com","password":"`+password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", s.url)
	resp, err := page.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var cookies []string
	for _, c := range resp.Cookies() {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	cookie := "Cookie: " + strings.Join(cookies, "; ")
	page.must(200, "GET", "/api/boards", nil, nil, cookie)
	page.refused(holdfast.CSRFMismatch, "POST", "/api/boards", titled{Title: "a"}, cookie, "Origin: "+s.url)
	page.must(201, "POST", "/api/boards", titled{Title: "a"}, nil, cookie, "Origin: "+s.url, "X-Csrf-Token: "+resp.Header.Get("X-CSRF-Token"))
}

// An edit of what somebody else has edited is refused, with what it is now;
// moves are no edits.
func TestConflict(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	path := "/api/boards/" + b.Board.ID
	card := ann.card(b.Board.ID, b.Lists[0].ID, "One")
	ann.must(200, "POST", path+"/cards/"+card.ID+"/move", cardMove{List: b.Lists[1].ID}, nil)
	ann.must(200, "PATCH", path+"/cards/"+card.ID, map[string]any{"title": "Two", "version": 1}, nil)
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"PATCH", path + "/cards/" + card.ID, map[string]any{"title": "Three", "version": 1}},
		{"DELETE", path + "/cards/" + card.ID + "?version=1", nil},
	} {
		var now struct{ Card Card }
		if err := json.Unmarshal(ann.refused(holdfast.Conflict, c.method, c.path, c.body).Details, &now); err != nil {
			t.Fatal(err)
		}
		if now.Card.Title != "Two" || now.Card.Version != 2 || now.Card.List != b.Lists[1].ID {
			t.Errorf("%+v", now.Card)
		}
	}
	_, err := client.EmitAck[Change](ann.ctx(), ann.client().Socket(), "card:update", map[string]any{"board": b.Board.ID, "card": card.ID, "version": 1, "done": true})
	if e := holdfast.AsError(err); e.Code != holdfast.Conflict || !strings.Contains(string(e.Details), `"title":"Two"`) {
		t.Errorf("%v %s", err, e.Details)
	}
	ann.must(200, "PATCH", path+"/lists/"+b.Lists[0].ID, map[string]any{"title": "a", "version": 1}, nil)
	ann.refused(holdfast.Conflict, "PATCH", path+"/lists/"+b.Lists[0].ID, map[string]any{"title": "b", "version": 1})
	ann.refused(holdfast.Conflict, "DELETE", path+"/lists/"+b.Lists[0].ID+"?version=1", nil)
}
