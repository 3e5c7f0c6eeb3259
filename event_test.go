package holdfast_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestPositionCheck(t *testing.T) {
	for _, test := range []struct {
		position holdfast.Position
		ok       bool
	}{
		{holdfast.Position{Epoch: "e"}, true},
		{holdfast.Position{Epoch: "aZ09_-", Offset: holdfast.MaxOffset}, true},
		{holdfast.Position{Epoch: strings.Repeat("e", 32), Offset: 1}, true},
		{holdfast.Position{}, false},
		{holdfast.Position{Epoch: strings.Repeat("e", 33)}, false},
		{holdfast.Position{Epoch: "e:1"}, false},
		{holdfast.Position{Epoch: "é"}, false},
		{holdfast.Position{Epoch: "e", Offset: holdfast.MaxOffset + 1}, false},
	} {
		err := test.position.Check()
		if (err == nil) != test.ok || err != nil && !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("%+v: %v", test.position, err)
		}
	}
}

func TestPositionJSON(t *testing.T) {
	text, err := json.Marshal(holdfast.Position{Epoch: "e1", Offset: holdfast.MaxOffset})
	if err != nil || string(text) != `{"epoch":"e1","offset":9007199254740991}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEventSize(t *testing.T) {
	e := &holdfast.Event{
		Room: "room", Name: "event", Data: json.RawMessage(`{"a":1}`),
		Attachments: [][]byte{make([]byte, 10), make([]byte, 20)}, ID: "id", From: "me",
	}
	if got := e.Size(); got != 4+5+7+30+2+2 {
		t.Errorf("Size() = %d", got)
	}
	if got := (&holdfast.Event{}).Size(); got != 0 {
		t.Errorf("Size() of nothing = %d", got)
	}
}
