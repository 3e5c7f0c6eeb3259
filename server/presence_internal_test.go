package server

import (
	"encoding/json"
	"testing"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// FuzzNotice encodes notices about any user, in any room, and reads them back
// as a client would.
func FuzzNotice(f *testing.F) {
	f.Add(uint8(hub.NoticeJoin), "board-7", "u1", "Ada", []byte(`{"at":1}`), "", "")
	f.Add(uint8(hub.NoticeSignal), "a\"b\\\n", "", "", []byte(`{"_placeholder":true,"num":0}`), "cursor", "mouse")
	f.Add(uint8(hub.NoticeTyping), "\u2028", "\x00", "<b>", []byte(nil), "e", "k")
	f.Add(uint8(hub.NoticePaused), "r", "", "", []byte(nil), "", "")
	f.Add(uint8(hub.NoticeResumed), "<r>", "", "", []byte(nil), "", "")
	f.Fuzz(func(t *testing.T, kind uint8, room, user, name string, data []byte, event, key string) {
		if jsonscan.Check(data, jsonscan.Limits{Depth: 24}) != nil { // as hub lets in
			data = nil
		}
		n := &hub.Notice{Kind: hub.NoticeKind(kind % 7), Room: room, User: hub.Member{ID: user, Name: name}, Viewers: 2, Event: event, Data: data, Key: key}
		want := map[string]any{"room": room}
		switch n.Kind {
		case hub.NoticePaused, hub.NoticeResumed:
			want["viewers"] = 2
		case hub.NoticeSignal:
			for key, value := range map[string]string{"from": user, "key": key} {
				if value != "" {
					want[key] = value
				}
			}
		default:
			n.User.Data, n.Data = data, nil
			shown := map[string]any{"id": user}
			if name != "" {
				shown["name"] = name
			}
			if data != nil {
				shown["data"] = json.RawMessage(data)
			}
			want["user"] = shown
		}
		for _, namespace := range []string{"/", "/x"} {
			frame := roomEncoder{namespace: namespace}.EncodeNotice(n)
			var dec socketio.Decoder
			p, complete, err := dec.Text(frame.Text[1:])
			if err != nil || !complete || p.Type != socketio.Event || p.Namespace != namespace || len(frame.Binary) > 0 {
				t.Fatalf("%q: %v, %v", frame.Text, p, err)
			}
			var args []json.RawMessage
			if err := json.Unmarshal(p.Data, &args); err != nil || len(args) < 2 {
				t.Fatalf("%q: %v", frame.Text, err)
			}
			if got := args[len(args)-1]; canonical(t, got) != canonical(t, marshal(want)) {
				t.Errorf("%q: %s, want %s", frame.Text, got, marshal(want))
			}
			if n.Kind == hub.NoticeSignal && canonical(t, args[1]) != canonical(t, marshal(json.RawMessage(data))) {
				t.Errorf("%q: data %s", frame.Text, args[1])
			}
		}
		for _, encoder := range []hub.NoticeEncoder{plainEncoder{}, topicEncoder{}} {
			if frame := encoder.EncodeNotice(n); !json.Valid(frame.Text) {
				t.Errorf("%q", frame.Text)
			}
		}
	})
}

// canonical spells a JSON value in one way.
func canonical(t *testing.T, value json.RawMessage) string {
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return string(value) // a number that is too large for encoding/json
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
