package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// What stands on the wire of a stream, cursors included: those that clients
// keep must be good on the next release as well.
func TestStreamTranscript(t *testing.T) {
	e := new(eventStream)
	for _, room := range []string{"a", "b"} {
		e.cursor.places = append(e.cursor.places, place{room: room, key: keyOf(room), position: holdfast.Position{Epoch: "k3Jx9a", Offset: 40}})
	}
	event := func(room, name, data string, epoch string, offset uint64) *hub.Frame {
		return streamEncoder{}.Encode(&holdfast.Event{Room: room, Name: name, Data: json.RawMessage(data), From: "u1",
			Position: holdfast.Position{Epoch: epoch, Offset: offset}})
	}
	refused := holdfast.Errorf(holdfast.Forbidden, "Not allowed in this room")
	var got []byte
	for _, f := range []*hub.Frame{
		event("a", "card:moved", `{"card":3}`, "k3Jx9a", 41),
		event("b", "error", "{\r\n\"card\":\n3}", "k3Jx9a", 1<<40),
		{Event: &holdfast.Event{Room: "a", Position: holdfast.Position{Epoch: "k3Jx9a", Offset: 99}}}, // skipped
		event("c", "elsewhere", "", "k3Jx9a", 1),
		resetFrame("b", holdfast.Position{Epoch: "k3Jx9b", Offset: 0}),
		e.notice(nil, notice{name: "auth:expiring", expiry: expiry{1767226500000, 30}, reason: "permissions"}),
		e.notice(nil, notice{name: "room:left", room: "b", err: refused}),
		e.notice(nil, notice{name: "auth:closing", err: holdfast.GoingAway.New()}),
	} {
		got = e.Append(got, f)
	}
	want := `id: AQEABmszSng5YcqXgRLKG73KACk-I-gWADlZSgAo
event: card:moved
data: {"type":"event","room":"a","event":"card:moved","data":{"card":3},"epoch":"k3Jx9a","offset":41,"from":"u1"}

id: AQEABmszSng5YcqXgRLKG73KACk-I-gWADlZSgCAgICAgCA
data: {"type":"event","room":"b","event":"error","data":{
data: "card":
data: 3},"epoch":"k3Jx9a","offset":1099511627776,"from":"u1"}

event: elsewhere
data: {"type":"event","room":"c","event":"elsewhere","data":null,"epoch":"k3Jx9a","offset":1,"from":"u1"}

id: AQIABmszSng5YQUBYsqXgRLKG73KAGM-I-gWADlZSgEA
event: reset
data: {"type":"reset","room":"b","epoch":"k3Jx9b","offset":0}

data: {"type":"auth_expiring","expiresAt":1767226500000,"expiresIn":30,"reason":"permissions"}

data: {"type":"room_left","room":"b","code":"FORBIDDEN","message":"Not allowed in this room"}

event: auth_closing
data: {"type":"auth_closing","code":"GOING_AWAY","message":"The server is going away"}

`
	if string(got) != want {
		gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(want, "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Errorf("line %d:\n%s\nwant\n%s", i+1, gotLines[i], wantLines[i])
			}
		}
		t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
	}
}

// A cursor of the second form, as it was written once.
func TestHashedCursor(t *testing.T) {
	key, tag := keyOf("a"), tagOf("k3Jx9a")
	marks, err := parseCursor("AsqXgRLKG73KNY2OeO9F5yk")
	if err != nil || len(marks) != 1 || marks[key].tag != tag || marks[key].offset != 41 {
		t.Errorf("%x %x: %v %v", key, tag, marks, err)
	}
}
