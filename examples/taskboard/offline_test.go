package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

func chosen(c string) string { return strings.Repeat("0", idLength-1) + c }

// What somebody did without a connection comes in its order, about things that
// only he knew of: he has chosen their ids.
func TestChosenIDs(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	list, card, other := chosen("L"), chosen("C"), chosen("D")
	socket := ann.client().Socket()
	for _, step := range []struct {
		event string
		in    map[string]any
	}{
		{"list:create", map[string]any{"list": list, "title": "Offline"}},
		{"card:create", map[string]any{"card": card, "list": list, "title": "One"}},
		{"card:create", map[string]any{"card": other, "list": list, "title": "Two", "before": card}},
		{"card:update", map[string]any{"card": card, "title": "Uno", "was": map[string]string{"title": "One", "text": ""}}},
		{"card:update", map[string]any{"card": card, "title": "Eins", "was": map[string]string{"title": "Uno", "text": ""}}},
		{"card:move", map[string]any{"card": card, "before": other}},
		{"card:delete", map[string]any{"card": other, "was": map[string]any{"title": "Two", "done": false}}},
	} {
		step.in["board"] = b.Board.ID
		if _, err := client.EmitAck[Change](ann.ctx(), socket, step.event, step.in); err != nil {
			t.Fatalf("%s %v: %v", step.event, step.in, err)
		}
	}
	state := ann.state(b.Board.ID)
	if len(state.Lists) != 4 || state.Lists[3].ID != list || len(state.Cards) != 1 || state.Cards[0].ID != card || state.Cards[0].Title != "Eins" {
		t.Errorf("%+v", state)
	}

	path := "/api/boards/" + b.Board.ID
	ann.refused(holdfast.Conflict, "POST", path+"/cards", newCard{Card: card, List: list, Title: "a"})
	ann.refused(holdfast.Conflict, "POST", path+"/lists", newList{List: list, Title: "a"})
	for _, id := range []string{"1", strings.ToLower(chosen("C")), chosen("CC"), chosen("-"), chosen("\x00"), strings.Repeat("Ä", idLength/2)} {
		ann.refused(holdfast.InvalidArgument, "POST", path+"/cards", newCard{Card: id, List: list, Title: "a"})
		ann.refused(holdfast.InvalidArgument, "POST", path+"/lists", newList{List: id, Title: "a"})
	}
	// That of a card that is gone is free again: that is how a deletion is taken back.
	ann.must(201, "POST", path+"/cards", newCard{Card: other, List: list, Title: "Two"}, nil)
	ann.must(201, "POST", path+"/lists", newList{List: chosen("M"), Title: "Over HTTP"}, nil)
}

// Two writers who have not seen each other's content: the second is told, with
// what is there now. What they did not both touch both keep.
func TestWas(t *testing.T) {
	s := start(t, t.TempDir())
	ann, bob := s.person("Ann"), s.person("Bob")
	b := ann.board("Release")
	ann.share(b.Board.ID, bob, Editor)
	card := ann.card(b.Board.ID, b.Lists[0].ID, "One")
	path := "/api/boards/" + b.Board.ID + "/cards/" + card.ID
	edit := func(now, was map[string]any) map[string]any {
		now["was"] = was
		return now
	}
	ann.must(200, "PATCH", path, edit(map[string]any{"color": "red"}, map[string]any{"color": ""}), nil)
	bob.must(200, "PATCH", path, edit(map[string]any{"title": "Uno"}, map[string]any{"title": "One", "text": ""}), nil)
	for _, was := range []map[string]any{{"title": "One"}, {"text": "?"}, {"color": ""}, {"done": true}, {"title": "Uno", "text": "", "done": true}} {
		refusal := ann.refused(holdfast.Conflict, "PATCH", path, edit(map[string]any{"title": "Eins"}, was))
		var details struct{ Card Card }
		if err := json.Unmarshal(refusal.Details, &details); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ann.state(b.Board.ID).Cards[0], details.Card); diff != "" || details.Card.Title != "Uno" || details.Card.Editor != bob.id || details.Card.Author != ann.id {
			t.Errorf("%v: %s", was, diff)
		}
	}
	ref := map[string]any{"board": b.Board.ID, "card": card.ID, "was": map[string]string{"title": "One"}}
	if _, err := client.EmitAck[Change](ann.ctx(), ann.client().Socket(), "card:delete", ref); holdfast.CodeOf(err) != holdfast.Conflict {
		t.Errorf("deleted what was not seen: %v", err)
	}
	ann.must(200, "PATCH", path, edit(map[string]any{"done": true}, map[string]any{"title": "Uno", "color": "red", "done": false}), nil)
}
