package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// seed runs statements on the file of a board that runs.
func (s *stage) seed(statement string, args ...any) {
	s.t.Helper()
	other, err := openStore(s.t.Context(), s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := other.write.ExecContext(s.t.Context(), statement, args...); err != nil {
		s.t.Error(err)
	}
	if err := other.close(); err != nil {
		s.t.Error(err)
	}
}

const counter = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "

// Nobody makes more of anything than the bounds say, and the last that is
// allowed can be made.
func TestBounds(t *testing.T) {
	s := start(t, t.TempDir())
	ann, bob, cat := s.person("Ann"), s.person("Bob"), s.person("Cat")
	b := ann.board("Release")
	id, path := b.Board.ID, "/api/boards/"+b.Board.ID
	full, other := b.Lists[0].ID, b.Lists[1].ID
	insert := "INSERT INTO cards (id, board, list, title, text, color, done, key, version, author, created, updated) SELECT ?2 || i, ?3, ?2, 'a', '', '', 0, printf('V%04d1', i), 1, '', 0, 0 FROM n"

	s.seed(counter+insert, maxPerList-1, full, id)
	mine := ann.card(id, full, "the last")
	ann.refused(holdfast.Conflict, "POST", path+"/cards", newCard{List: full, Title: "a"})
	elsewhere := ann.card(id, other, "a")
	ann.refused(holdfast.Conflict, "POST", path+"/cards/"+elsewhere.ID+"/move", cardMove{List: full})
	ann.must(200, "POST", path+"/cards/"+mine.ID+"/move", cardMove{Before: full + "1"}, nil)

	s.seed(counter+"INSERT INTO lists (id, board, title, key, version) SELECT 'l' || i, ?2, 'a', printf('V%04d1', i), 1 FROM n", maxLists-4, id)
	var last Change
	ann.must(201, "POST", path+"/lists", newList{Title: "the last"}, &last)
	ann.refused(holdfast.Conflict, "POST", path+"/lists", newList{Title: "a"})
	s.seed(counter+insert, maxCards-maxPerList-2, last.List.ID, id)
	ann.card(id, other, "the last")
	ann.refused(holdfast.Conflict, "POST", path+"/cards", newCard{List: other, Title: "a"})

	s.seed(counter+"INSERT INTO people (id, name, email) SELECT 'p' || i, '', '' FROM n", maxMembers)
	s.seed(counter+"INSERT INTO members (board, user, role, link, added) SELECT ?2, 'p' || i, 'viewer', 0, 0 FROM n", maxMembers-2, id)
	ann.share(id, bob, Viewer)
	ann.refused(holdfast.Conflict, "POST", path+"/members", invited{Email: cat.email, Role: Viewer})
	var link Link
	ann.must(201, "POST", path+"/links", linkRole{Role: Viewer}, &link)
	cat.refused(holdfast.Conflict, "POST", "/api/links", linkToken{Token: link.Token})

	s.seed(counter+"INSERT INTO boards (id, title, rev, created) SELECT 'b' || i, 'a', 1, 0 FROM n", maxBoards-2)
	s.seed(counter+"INSERT INTO members (board, user, role, link, added) SELECT 'b' || i, ?2, 'viewer', 0, 0 FROM n", maxBoards-2, ann.id)
	ann.board("the last")
	ann.refused(holdfast.Conflict, "POST", "/api/boards", titled{Title: "a"})

	s.seed(counter+"INSERT INTO todos (id, user, title, completed, created) SELECT 't' || i, ?2, 'a', 0, 0 FROM n", maxTodos-1, bob.id)
	bob.must(201, "POST", "/api/todos", titled{Title: "the last"}, nil)
	bob.refused(holdfast.Conflict, "POST", "/api/todos", titled{Title: "a"})
}

// What is remembered of ids has bounds, too.
func TestAnswersKept(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	s.seed(counter+"INSERT INTO answers (user, id, command, answer, refused, at) SELECT ?2, 'old' || i, 'todo:create', '{}', 0, 9e15 FROM n", answersKept+199, ann.id)
	s.seed("INSERT INTO answers (seq, user, id, command, answer, refused, at) VALUES (-1, ?, 'yesterday', 'todo:create', '{}', 0, 0)", ann.id)
	var todo Todo
	ann.must(201, "POST", "/api/todos", map[string]string{"title": "a", "id": "yesterday"}, &todo)
	if todo.Title != "a" {
		t.Errorf("an answer from long ago: %+v", todo)
	}
	other, err := openStore(t.Context(), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := one(t.Context(), other.read, scanInt, "SELECT count(*) FROM answers WHERE user = ?", ann.id)
	if err != nil || n != answersKept {
		t.Errorf("%d answers are kept (%v)", n, err)
	}
	if err := other.close(); err != nil {
		t.Error(err)
	}
}

// The Go program does what its usage says.
func TestTerminal(t *testing.T) {
	s := start(t, t.TempDir())
	dir := t.TempDir()
	build := exec.Command("go", append(append([]string{"build"}, buildFlags()...), "-o", filepath.Join(dir, "client"), "./client")...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(good bool, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "client"), append([]string{"-url", s.url, "-session", filepath.Join(dir, "session.json")}, args...)...)
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.CombinedOutput()
		if (err == nil) != good {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(false, "boards")
	if got := run(true, "sign-up", "ada@example.com", "Ada"); got != "signed in as Ada" {
		t.Error(got)
	}
	board := run(true, "new", "Release")
	if got, want := run(true, "boards"), board+"  owner   Release"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	card, title, _ := strings.Cut(run(true, "add", board, "to do", "Write it down"), "  ")
	if title != "Write it down" {
		t.Error(title)
	}
	run(false, "add", board, "nowhere", "a")
	run(true, "move", board, card, "done")
	run(true, "done", board, card)
	ann := s.person("Ann")
	run(false, "show", ann.board("Hers").Board.ID)
	shared := ann.board("Shared")
	var link Link
	ann.must(201, "POST", fmt.Sprintf("/api/boards/%s/links", shared.Board.ID), linkRole{Role: Viewer}, &link)
	if got, want := run(true, "open", link.Token), shared.Board.ID+"  viewer  Shared"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	run(false, "add", shared.Board.ID, "to do", "a")
	run(true, "delete", board, card)
	run(false, "delete", board, card)
	run(true, "sign-out")
	run(false, "boards")
	run(false, "dance")
}
