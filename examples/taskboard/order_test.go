package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast/client"
)

// Whatever is put wherever, keys are in order, and short at the ends.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := []string{}
		for _, at := range rapid.SliceOfN(rapid.IntRange(0, 1_000), 1, 200).Draw(t, "places") {
			at %= len(row) + 1
			previous, next := "", ""
			if at > 0 {
				previous = row[at-1]
			}
			if at < len(row) {
				next = row[at]
			}
			key := keyBetween(previous, next)
			if key <= previous || next != "" && key >= next || strings.HasSuffix(key, "0") || key == "" {
				t.Fatalf("%q between %q and %q", key, previous, next)
			}
			row = slices.Insert(row, at, key)
		}
	})
	for name, step := range map[string]func(key string) string{
		"append":  func(key string) string { return keyBetween(key, "") },
		"prepend": func(key string) string { return keyBetween("", key) },
	} {
		key := ""
		for range 10_000 {
			if key = step(key); len(key) > keyLead {
				t.Fatalf("%s: %q", name, key)
			}
		}
	}
	for _, n := range []int{1, 2, maxPerList, maxCards} {
		keys := evenKeys(n)
		if !slices.IsSorted(keys) || len(slices.Compact(keys)) != n || slices.Contains(keys, "") {
			t.Errorf("%d: %q", n, keys)
		}
	}
}

// Always into the same gap: the list is numbered anew before keys get long,
// and those who listen are told all of the new keys.
func TestNumberedAnew(t *testing.T) {
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	sock := ann.client()
	hear := ann.listen(sock, b.Board.Room)
	list := b.Lists[0].ID
	first := ann.card(b.Board.ID, list, "first")
	cards := []string{}
	for i := range 2 {
		cards = append(cards, ann.card(b.Board.ID, list, fmt.Sprint(i)).ID)
	}
	shown := map[string]string{}
	follow := func() bool {
		ev := <-hear.events
		var c Change
		if err := json.Unmarshal(ev.Data, &c); err != nil {
			t.Fatal(err)
		}
		maps.Copy(shown, c.Keys)
		shown[c.Card.ID] = c.Card.Key
		if len(c.Card.Key) > maxKey {
			t.Fatalf("%q", c.Card.Key)
		}
		return len(c.Keys) > 0
	}
	for range 3 {
		follow()
	}
	// As if hundreds had been put there already.
	other, err := openStore(t.Context(), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	next := first.Key + strings.Repeat("0", maxKey-2) + "1"
	if _, err := other.write.ExecContext(t.Context(), "UPDATE cards SET key = ? WHERE id = ?", next, cards[0]); err != nil {
		t.Fatal(err)
	}
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	shown[cards[0]] = next
	anew := 0
	for i := range 20 { // right behind the first, in turn
		_, err := client.EmitAck[Change](ann.ctx(), sock.Socket(), "card:move", cardMove{Board: b.Board.ID, Card: cards[(i+1)%2], After: first.ID})
		if err != nil {
			t.Fatal(err)
		}
		if follow() {
			anew++
		}
	}
	if anew != 1 {
		t.Errorf("numbered anew %d times", anew)
	}
	for _, c := range ann.state(b.Board.ID).Cards {
		if shown[c.ID] != c.Key {
			t.Errorf("%s: %q is shown, and it is %q", c.Title, shown[c.ID], c.Key)
		}
	}
}

// Many move the same cards at once. Who follows the events ends up with what
// the board says, in which every card is once.
func TestMovesAtOnce(t *testing.T) {
	const people, moves, cards = 8, 15, 10
	s := start(t, t.TempDir())
	ann := s.person("Ann")
	b := ann.board("Release")
	path := "/api/boards/" + b.Board.ID
	for i := range cards {
		ann.card(b.Board.ID, b.Lists[i%3].ID, fmt.Sprint(i))
	}
	before := ann.state(b.Board.ID)
	hear := ann.listen(ann.client(), b.Board.Room)
	movers := make([]*client.Client, people)
	for i := range movers {
		movers[i] = ann.client()
	}
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			choose := rand.New(rand.NewPCG(uint64(i), 1))
			for range moves {
				pick := func() string { return before.Cards[choose.IntN(cards)].ID }
				in := cardMove{Board: b.Board.ID, Card: pick(), List: b.Lists[choose.IntN(3)].ID, Before: pick(), After: pick()}
				if choose.IntN(4) == 0 { // some do it over HTTP
					ann.must(http.StatusOK, "POST", path+"/cards/"+in.Card+"/move", in, nil)
				} else if _, err := client.EmitAck[Change](ann.ctx(), movers[i].Socket(), "card:move", in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	shown := map[string]Card{}
	for _, c := range before.Cards {
		shown[c.ID] = c
	}
	for i := range people * moves {
		_, c := hear.next("task_moved")
		if want := before.Board.Rev + int64(i) + 1; c.Rev != want {
			t.Fatalf("rev %d, want %d: events are in the order of the writes", c.Rev, want)
		}
		if c.From != shown[c.Card.ID].List {
			t.Errorf("%s came from %s, and was in %s", c.Card.ID, c.From, shown[c.Card.ID].List)
		}
		for id, key := range c.Keys {
			moved := shown[id]
			moved.Key = key
			shown[id] = moved
		}
		shown[c.Card.ID] = *c.Card
	}
	after := ann.state(b.Board.ID)
	followed := slices.SortedFunc(maps.Values(shown), func(a, b Card) int {
		return strings.Compare(a.List+" "+a.Key, b.List+" "+b.Key)
	})
	if diff := cmp.Diff(after.Cards, followed); diff != "" {
		t.Errorf("who followed the events shows something else (-board +shown):\n%s", diff)
	}
	if len(after.Cards) != cards {
		t.Errorf("%d cards", len(after.Cards))
	}
}
