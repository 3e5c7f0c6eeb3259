package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

// Each role makes each call, over HTTP.
func TestRights(t *testing.T) {
	s := start(t, t.TempDir())
	owner := s.person("Owner")
	b := owner.board("Release")
	board := b.Board.ID
	people := map[string]*person{"owner": owner, "editor": s.person("Editor"), "viewer": s.person("Viewer"),
		"editor's link": s.person("Guest"), "viewer's link": s.person("Visitor"), "stranger": s.person("Stranger"), "nobody": s.stranger()}
	owner.share(board, people["editor"], Editor)
	owner.share(board, people["viewer"], Viewer)
	for role, guest := range map[Role]*person{Editor: people["editor's link"], Viewer: people["viewer's link"]} {
		var link Link
		owner.must(201, "POST", "/api/boards/"+board+"/links", linkRole{Role: role}, &link)
		var opened Board
		guest.must(200, "POST", "/api/links", linkToken{Token: link.Token}, &opened)
		if opened.ID != board || opened.Role != role || !opened.Link {
			t.Errorf("%+v", opened)
		}
	}
	everybody := []string{"owner", "editor", "viewer", "editor's link", "viewer's link"}
	editors := []string{"owner", "editor", "editor's link"}
	ownerAlone := []string{"owner"}
	list := b.Lists[0].ID
	path := "/api/boards/" + board
	for _, c := range []struct {
		may          []string
		method, path string // CARD and LIST are fresh ones, MEMBER is a viewer
		body         any
	}{
		{everybody, "GET", "", nil},
		{ownerAlone, "PATCH", "", titled{Title: "New"}},
		{editors, "POST", "/cards", newCard{List: list, Title: "a"}},
		{editors, "PATCH", "/cards/CARD", titled{Title: "b"}},
		{editors, "POST", "/cards/CARD/move", cardMove{List: list}},
		{editors, "DELETE", "/cards/CARD", nil},
		{editors, "POST", "/lists", newList{Title: "a"}},
		{editors, "PATCH", "/lists/LIST", titled{Title: "b"}},
		{editors, "POST", "/lists/LIST/move", listMove{Before: list}},
		{editors, "DELETE", "/lists/LIST", nil},
		{ownerAlone, "POST", "/members", invited{Email: people["viewer"].email, Role: Viewer}},
		{ownerAlone, "POST", "/members", invited{Email: "nobody@example.com", Role: Viewer}},
		{ownerAlone, "PATCH", "/members/MEMBER", linkRole{Role: Viewer}},
		{ownerAlone, "DELETE", "/members/OTHER", nil},
		{ownerAlone, "POST", "/links", linkRole{Role: Owner}},
		{ownerAlone, "DELETE", "/links/owner", nil},
		{ownerAlone, "DELETE", "", nil},
	} {
		for _, who := range []string{"nobody", "stranger", "viewer's link", "viewer", "editor's link", "editor", "owner"} {
			t.Run(fmt.Sprint(c.method, " ", c.path, " by ", who), func(t *testing.T) {
				target := c.path
				target = strings.Replace(target, "CARD", owner.card(board, list, "fresh").ID, 1)
				if strings.Contains(target, "LIST") {
					var made Change
					owner.must(201, "POST", path+"/lists", newList{Title: "fresh"}, &made)
					target = strings.Replace(target, "LIST", made.List.ID, 1)
				}
				target = strings.Replace(target, "MEMBER", people["viewer"].id, 1)
				target = strings.Replace(target, "OTHER", people["stranger"].id, 1) // no member: the owner is told so
				before := owner.state(board).Board.Rev
				status, text := people[who].call(c.method, path+target, c.body)
				allowed := false
				for _, one := range c.may {
					allowed = allowed || one == who
				}
				want := http.StatusForbidden
				switch {
				case who == "nobody":
					want = http.StatusUnauthorized
				case who == "stranger":
					want = http.StatusNotFound
				case allowed:
					if status == 401 || status == 403 {
						t.Fatalf("%d %s", status, text)
					}
					return
				}
				if status != want {
					t.Errorf("%d %s, want %d", status, text, want)
				}
				if after := owner.state(board).Board.Rev; after != before {
					t.Errorf("a refusal wrote: rev %d, then %d", before, after)
				}
			})
		}
	}
}

// Each role in the board's room: to be in it, to publish, and the handlers.
func TestRoomRights(t *testing.T) {
	s := start(t, t.TempDir())
	ann, bob, cat, eve := s.person("Ann"), s.person("Bob"), s.person("Cat"), s.person("Eve")
	b := ann.board("Release")
	ann.share(b.Board.ID, bob, Editor)
	ann.share(b.Board.ID, cat, Viewer)
	room := b.Board.Room
	for _, c := range []struct {
		who              *person
		join, pub, write holdfast.Code // "": may
	}{
		{ann, "", "", ""},
		{bob, "", "", ""},
		{cat, "", holdfast.Forbidden, holdfast.Forbidden},
		{eve, holdfast.Forbidden, holdfast.Forbidden, holdfast.NotFound},
	} {
		sock := c.who.client().Socket()
		check := func(what string, err error, want holdfast.Code) {
			t.Helper()
			if got := holdfast.CodeOf(err); got != want {
				t.Errorf("%s by %s: %v, want %q", what, c.who.name, err, want)
			}
		}
		_, err := sock.Join(c.who.ctx(), room, client.JoinOptions{})
		check("join", err, c.join)
		_, err = sock.Publish(c.who.ctx(), room, "wave", 1, "")
		check("publish", err, c.pub)
		for _, forged := range []string{"task_created", "list_moved", "member_removed", "board_deleted", "user_joined"} {
			_, err = sock.Publish(c.who.ctx(), room, forged, 1, "")
			check(forged, err, holdfast.Forbidden)
		}
		_, err = sock.Publish(c.who.ctx(), "lobby", "wave", 1, "")
		check("publish elsewhere", err, holdfast.Forbidden)
		_, err = client.EmitAck[Change](c.who.ctx(), sock, "card:create", newCard{Board: b.Board.ID, List: b.Lists[0].ID, Title: "a"})
		check("card:create", err, c.write)
		read := holdfast.Code("")
		if c.join != "" {
			read = holdfast.NotFound
		}
		_, err = client.EmitAck[BoardState](c.who.ctx(), sock, "board:get", boardRef{Board: b.Board.ID})
		check("board:get", err, read)
		for _, call := range []string{"/history", "/presence"} {
			status, text := c.who.call("GET", "/api/rooms/"+room+call, nil)
			if (status == 200) != (c.join == "") {
				t.Errorf("%s by %s: %d %s", call, c.who.name, status, text)
			}
		}
	}
}

// A right that is taken away ends the time in the room at once, whichever way
// it is taken, and the writes with it.
func TestTakenAway(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	path := "/api/boards/" + b.Board.ID
	link := func(role Role) (l Link) {
		ann.must(201, "POST", path+"/links", linkRole{Role: role}, &l)
		return l
	}
	for _, c := range []struct {
		name  string
		come  func(p *person)
		leave func(p *person)
	}{
		{"removed", func(p *person) { ann.share(b.Board.ID, p, Editor) },
			func(p *person) { ann.must(200, "DELETE", path+"/members/"+p.id, nil, nil) }},
		{"went", func(p *person) { ann.share(b.Board.ID, p, Viewer) },
			func(p *person) { p.must(200, "DELETE", path+"/members/"+p.id, nil, nil) }},
		{"link deleted", func(p *person) { p.must(200, "POST", "/api/links", linkToken{Token: link(Editor).Token}, nil) },
			func(*person) { ann.must(200, "DELETE", path+"/links/editor", nil, nil) }},
		{"link renewed", func(p *person) { p.must(200, "POST", "/api/links", linkToken{Token: link(Editor).Token}, nil) },
			func(*person) { link(Editor) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.person(strings.ReplaceAll(c.name, " ", "-"))
			c.come(p)
			sock := p.client()
			here := ann.listen(ann.client(), b.Board.Room)
			hear := p.listen(sock, b.Board.Room)
			c.leave(p)
			if _, change := hear.next("member_removed"); change.Member == nil || change.Member.ID != p.id {
				t.Errorf("%+v", change.Member)
			}
			hear.gone(holdfast.Forbidden)
			ann.card(b.Board.ID, b.Lists[0].ID, "secret")
			here.next("member_removed")
			here.next("task_created")
			p.refused(holdfast.NotFound, "POST", path+"/cards", newCard{List: b.Lists[0].ID, Title: "a"})
			p.refused(holdfast.NotFound, "GET", path, nil)
			_, err := client.EmitAck[Change](p.ctx(), sock.Socket(), "card:create", newCard{Board: b.Board.ID, List: b.Lists[0].ID, Title: "a"})
			if holdfast.CodeOf(err) != holdfast.NotFound {
				t.Errorf("%v", err)
			}
			if _, err := sock.Socket().Publish(p.ctx(), b.Board.Room, "wave", 1, ""); holdfast.CodeOf(err) != holdfast.Forbidden {
				t.Errorf("%v", err)
			}
			if _, err := sock.Socket().Join(p.ctx(), b.Board.Room, client.JoinOptions{}); holdfast.CodeOf(err) != holdfast.Forbidden {
				t.Errorf("joined again: %v", err)
			}
			if n := len(hear.events); n != 0 {
				t.Errorf("%d events came after the end", n)
			}
		})
	}
}

// An editor who becomes a viewer stays in the room, hears of it, and writes no
// more. Whom the owner gave a role by hand stays when the link goes.
func TestRoleChanges(t *testing.T) {
	s := start(t, t.TempDir())
	ann, bob := s.person("Ann"), s.person("Bob")
	b := ann.board("Release")
	path := "/api/boards/" + b.Board.ID
	var link Link
	ann.must(201, "POST", path+"/links", linkRole{Role: Editor}, &link)
	bob.must(200, "POST", "/api/links", linkToken{Token: link.Token}, nil)
	hear := bob.listen(bob.client(), b.Board.Room)
	ann.must(200, "PATCH", path+"/members/"+bob.id, linkRole{Role: Viewer}, nil)
	if _, c := hear.next("member_updated"); c.Member == nil || c.Member.Role != Viewer || c.Member.Link || c.Member.Email != "" {
		t.Errorf("%+v", c.Member)
	}
	bob.refused(holdfast.Forbidden, "POST", path+"/cards", newCard{List: b.Lists[0].ID, Title: "a"})
	ann.must(200, "DELETE", path+"/links/editor", nil, nil)
	ann.card(b.Board.ID, b.Lists[0].ID, "One")
	hear.next("task_created")
	bob.refused(holdfast.NotFound, "POST", "/api/links", linkToken{Token: link.Token})
	// Addresses and links are for the owner's eyes.
	if state := bob.state(b.Board.ID); len(state.Members) != 2 || state.Members[0].Email != "" || state.Links != nil {
		t.Errorf("%+v", state)
	}
	if state := ann.state(b.Board.ID); len(state.Members) != 2 || state.Members[1].Email != bob.email {
		t.Errorf("%+v", state.Members)
	}
	// A link gives more to one who came by the other, and to nobody else.
	var weak, strong Link
	ann.must(201, "POST", path+"/links", linkRole{Role: Viewer}, &weak)
	ann.must(201, "POST", path+"/links", linkRole{Role: Editor}, &strong)
	cat := s.person("Cat")
	var opened Board
	for _, step := range []struct {
		who  *person
		link Link
		want Role
	}{{cat, weak, Viewer}, {cat, strong, Editor}, {cat, weak, Editor}, {bob, strong, Viewer}, {ann, strong, Owner}} {
		step.who.must(200, "POST", "/api/links", linkToken{Token: step.link.Token}, &opened)
		if opened.Role != step.want {
			t.Errorf("%s became %s, want %s", step.who.name, opened.Role, step.want)
		}
	}
}
