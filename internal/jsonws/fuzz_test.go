package jsonws_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

// loose is a message as encoding/json reads it.
type loose map[string]json.RawMessage

// FuzzParse compares Parse with encoding/json.
func FuzzParse(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if text, ok := c.Get("client"); ok {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		m, err := jsonws.Parse(data)
		if !bytes.Equal(before, data) {
			t.Fatalf("%q was changed to %q", before, data)
		}
		if m.Ref != nil {
			answer := jsonws.AppendOK(nil, m.Ref, m.Data)
			if err := jsonscan.Check(answer, jsonscan.Limits{Depth: jsonws.MaxDepth}); err != nil {
				t.Errorf("%q: answered by %q: %v", data, answer, err)
			}
			var ref any
			if json.Unmarshal(m.Ref, &ref) != nil {
				t.Errorf("%q: ref is %q", data, m.Ref)
			}
			switch r := ref.(type) {
			case string:
				if len(r) > jsonws.MaxRef {
					t.Errorf("%q: ref is long", data)
				}
			case float64:
				if r != float64(int64(r)) || r > holdfast.MaxOffset || r < -holdfast.MaxOffset {
					t.Errorf("%q: ref is %v", data, r)
				}
			default:
				t.Errorf("%q: ref is %T", data, ref)
			}
		}
		if err != nil {
			refused(t, data, m, err)
			return
		}
		// What is taken is strict JSON, and means what encoding/json says.
		if err := jsonscan.Check(data, jsonscan.Limits{Depth: jsonws.MaxDepth}); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if twice(json.NewDecoder(bytes.NewReader(data))) {
			t.Errorf("%q has a key twice", data)
		}
		var want loose
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for key, got := range map[string]string{"type": m.Type, "event": m.Event, "id": m.ID, "key": m.Key, "token": m.Token} {
			if got != "" && got != want.text(key) {
				t.Errorf("%q: %s is %q", data, key, got)
			}
		}
		if m.Room != "" && m.Room != want.text("room") && m.Room != want.text("boardId") {
			t.Errorf("%q: room is %q", data, m.Room)
		}
		if m.Data != nil && !bytes.Equal(m.Data, want["data"]) {
			t.Errorf("%q: data is %q", data, m.Data)
		}
		if m.Presence != nil && (m.Type != jsonws.TypeJoin || !bytes.Equal(m.Presence, want["presence"])) {
			t.Errorf("%q: presence is %q", data, m.Presence)
		}
		if m.Since != nil {
			var p holdfast.Position
			if err := json.Unmarshal(want["since"], &p); err != nil && !variants(want["since"]) || m.Since.Check() != nil {
				t.Errorf("%q: since is %v, %v", data, *m.Since, err)
			} else if err == nil && p != *m.Since && !variants(want["since"]) {
				t.Errorf("%q: since is %v, not %v", data, *m.Since, p)
			}
		}
	})
}

// twice reports whether an object in the next value has a key twice.
func twice(d *json.Decoder) (found bool) {
	token, _ := d.Token()
	keys := make(map[json.Token]bool)
	switch token {
	case json.Delim('{'):
		for d.More() {
			key, _ := d.Token()
			found = twice(d) || found || keys[key]
			keys[key] = true
		}
	case json.Delim('['):
		for d.More() {
			found = twice(d) || found
		}
	default:
		return false
	}
	_, _ = d.Token()
	return found
}

func (l loose) text(key string) (s string) {
	_ = json.Unmarshal(l[key], &s) // "" unless it is a string
	return s
}

// variants reports keys that encoding/json takes for others.
func variants(object []byte) bool {
	var keys map[string]json.RawMessage
	_ = json.Unmarshal(object, &keys)
	for key := range keys {
		for _, name := range []string{"epoch", "offset"} {
			if key != name && strings.EqualFold(key, name) {
				return true
			}
		}
	}
	return false
}

// refused checks a refusal.
func refused(t *testing.T, data []byte, m jsonws.Message, err error) {
	e, ok := errors.AsType[*holdfast.Error](err)
	if !ok || e.Code != holdfast.InvalidArgument {
		t.Fatalf("%q: %v", data, err)
	}
	if json.Valid(data) && jsonscan.Check(data, jsonscan.Limits{Depth: jsonws.MaxDepth, UniqueKeys: true}) == nil {
		if e.Message == "Invalid JSON" {
			t.Errorf("%q: %v", data, err)
		}
	} else if !json.Valid(data) && (e.Message != "Invalid JSON" || m.Ref != nil) {
		t.Errorf("%q: %v", data, err)
	}
}

// FuzzAppend makes messages of any text and reads them back.
func FuzzAppend(f *testing.F) {
	f.Add("board-7", "card:moved", []byte(`{"card":3}`), "k3Jx9a", uint64(42), "u1", []byte{1, 2})
	f.Add("\"\\\n\x00", "\xff\xfe", []byte(`{"a":{"_placeholder":true,"num":0}}`), "", uint64(0), "", []byte(nil))
	f.Add("r", "event", []byte(nil), "error", uint64(1), "u1", []byte(nil))
	f.Fuzz(func(t *testing.T, room, name string, data []byte, epoch string, offset uint64, from string, attachment []byte) {
		if !json.Valid(data) {
			data = nil
		}
		ev := &holdfast.Event{Room: room, Name: name, Data: data, Position: holdfast.Position{Epoch: epoch, Offset: offset}, ID: from, From: from}
		check(t, ev)
		if attachment != nil {
			ev.Attachments = [][]byte{attachment}
			check(t, ev)
		}
		valid := strings.ToValidUTF8
		for _, text := range [][]byte{
			jsonws.AppendError(nil, nil, &holdfast.Error{Code: holdfast.Conflict, Message: room, Details: data}),
			jsonws.AppendAuthClosing([]byte(nil), &holdfast.Error{Code: holdfast.Code(name), Message: room}),
			jsonws.AppendRoomLeft(nil, room, holdfast.Forbidden.New()),
			jsonws.AppendAuthExpiring(nil, int64(offset), int64(offset), name),
			jsonws.AppendAuthenticated(nil, holdfast.User{ID: room, Name: name}, 1, 1),
			jsonws.AppendUserJoined(nil, room, jsonws.Member{ID: name, Name: from, Data: data}, 1),
			jsonws.AppendPresenceUpdated(nil, room, jsonws.Member{ID: name, Name: from, Data: data}),
			jsonws.AppendSignal(nil, jsonws.Signal{Room: room, Event: name, Data: data, Key: epoch, From: from}),
			jsonws.AppendEmit(nil, name, data),
			jsonws.AppendTopicOK(nil, data, data),
			jsonws.AppendTopicError(nil, &jsonws.Message{Topic: name}, &holdfast.Error{Code: holdfast.Conflict, Message: room, Details: data}),
			jsonws.AppendTopicPong(nil, &jsonws.Message{Topic: name, Data: data}),
			jsonws.AppendTopicAuthenticated(nil, holdfast.User{ID: room, Name: name}, int64(offset), 1),
			jsonws.AppendTopicExpiring(nil, int64(offset), 1, name),
			jsonws.AppendTopicClosing(nil, &holdfast.Error{Code: holdfast.Code(name), Message: room}),
			jsonws.AppendTopicRoomLeft(nil, room, nil),
			jsonws.AppendTopicEmit(nil, name, data),
			jsonws.AppendTopicSignal(nil, jsonws.Signal{Room: room, Event: name, Data: data, Key: epoch, From: from}),
			jsonws.AppendTopicPresence(nil, "presence:join", room, jsonws.Member{ID: name, Name: from, Data: data}, int(offset)),
			jsonws.AppendPresencePaused(nil, room, int(offset)),
			jsonws.AppendTopicViewers(nil, "presence:paused", room, int(offset)),
		} {
			if !json.Valid(text) {
				t.Errorf("not JSON: %s", text)
			}
		}
		var back struct{ Room string }
		if err := json.Unmarshal(jsonws.AppendRoomLeft(nil, room, nil), &back); err != nil ||
			valid(back.Room, "") != back.Room || len(valid(room, "")) == len(room) && back.Room != room {
			t.Errorf("room %q became %q, %v", room, back.Room, err)
		}
	})
}

// check encodes an event and reads it back.
func check(t *testing.T, ev *holdfast.Event) {
	text, err := jsonws.AppendEvent([]byte("x"), ev)
	if err != nil {
		if len(ev.Attachments) == 0 || string(text) != "x" {
			t.Errorf("%q: %v", text, err)
		}
		return
	}
	var back struct {
		Type   string
		Offset uint64
		From   *string
	}
	if err := json.Unmarshal(text[1:], &back); err != nil || back.Type != "event" || back.Offset != ev.Position.Offset || (back.From != nil) != (ev.From != "") {
		t.Errorf("%q: %v", text, err)
	}
}
