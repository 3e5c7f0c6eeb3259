package jsonws_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

const (
	transcripts      = "../../testdata/wire/jsonws"
	topicTranscripts = "../../testdata/wire/topic"
)

// TestGolden runs every case of the transcripts.
func TestGolden(t *testing.T) { golden(t, transcripts, jsonws.Parse, encode) }

// TestGoldenTopic runs every case of the transcripts of topics.
func TestGoldenTopic(t *testing.T) { golden(t, topicTranscripts, jsonws.ParseTopic, encodeTopic) }

func golden(t *testing.T, dir string, parse func([]byte) (jsonws.Message, error), encode func(fieldsOf) ([]byte, error)) {
	for _, c := range wiretest.Load(t, dir) {
		t.Run(c.Name, func(t *testing.T) {
			if wire, ok := c.Get("client"); ok {
				parsed(t, c, wire, parse)
				return
			}
			got, err := encode(fieldsOf{t, c})
			if code, ok := c.Get("error"); ok {
				if err == nil || holdfast.CodeOf(err) != holdfast.Code(code) {
					t.Errorf("%s: error is %v, want %s", c.Place, err, code)
				}
				return
			}
			if want, _ := c.Get("server"); err != nil || string(got) != want {
				t.Errorf("%s: %s, %v, want %s", c.Place, got, err, want)
			}
			if !json.Valid(got) {
				t.Errorf("%s: not JSON: %s", c.Place, got)
			}
		})
	}
}

// parsed compares what Parse says of a client's message with the case.
func parsed(t *testing.T, c wiretest.Case, wire string, parse func([]byte) (jsonws.Message, error)) {
	m, err := parse([]byte(wire))
	if code, ok := c.Get("error"); ok {
		if err == nil || holdfast.CodeOf(err) != holdfast.Code(code) {
			t.Fatalf("%s: error is %v, want %s", c.Place, err, code)
		}
		if message, ok := c.Get("message"); ok && holdfast.AsError(err).Message != message {
			t.Errorf("%s: %q, want %q", c.Place, holdfast.AsError(err).Message, message)
		}
	} else if err != nil {
		t.Fatalf("%s: %v", c.Place, err)
	}
	var since string
	if m.Since != nil {
		since = fmt.Sprintf("%s:%d", m.Since.Epoch, m.Since.Offset)
	}
	for key, got := range map[string]string{
		"type": m.Type, "topic": m.Topic, "room": m.Room, "event": m.Event, "id": m.ID, "key": m.Key, "token": m.Token,
		"data": string(m.Data), "presence": string(m.Presence), "since": since, "ref": string(m.Ref),
	} {
		if want, _ := c.Get(key); got != want {
			t.Errorf("%s: %s is %q, want %q", c.Place, key, got, want)
		}
	}
}

// fieldsOf reads the fields of a case that say what a server sends.
type fieldsOf struct {
	t *testing.T
	c wiretest.Case
}

func (f fieldsOf) text(key string) string { v, _ := f.c.Get(key); return v }

func (f fieldsOf) raw(key string) json.RawMessage {
	if v, ok := f.c.Get(key); ok {
		return json.RawMessage(v)
	}
	return nil
}

func (f fieldsOf) number(key string) int64 {
	v, ok := f.c.Get(key)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		f.t.Fatalf("%s: %v", f.c.Place, err)
	}
	return n
}

func (f fieldsOf) refusal() *holdfast.Error {
	refusal := holdfast.Code(f.text("code")).New()
	if message, ok := f.c.Get("message"); ok {
		refusal.Message = message
	}
	refusal.Details = f.raw("details")
	if wait, ok := f.c.Get("retry-after"); ok {
		var err error
		if refusal.RetryAfter, err = time.ParseDuration(wait); err != nil {
			f.t.Fatalf("%s: %v", f.c.Place, err)
		}
	}
	return refusal
}

func (f fieldsOf) member() jsonws.Member {
	return jsonws.Member{ID: f.text("user-id"), Name: f.text("user-name"), Data: f.raw("user-data")}
}

func (f fieldsOf) user() holdfast.User {
	return holdfast.User{ID: f.text("user-id"), Name: f.text("user-name"), Email: "canary@example.org", Roles: []string{"canary"}}
}

func (f fieldsOf) event() *holdfast.Event {
	ev := &holdfast.Event{
		Room: f.text("room"), Name: f.text("event"), Data: f.raw("data"), ID: f.text("id"), From: f.text("from"),
		Position: holdfast.Position{Epoch: f.text("epoch"), Offset: uint64(f.number("offset"))},
	}
	for _, a := range f.c.All("attachment") {
		ev.Attachments = append(ev.Attachments, []byte(a))
	}
	return ev
}

func (f fieldsOf) signal() jsonws.Signal {
	return jsonws.Signal{Room: f.text("room"), Event: f.text("event"), Data: f.raw("data"), Key: f.text("key"), From: f.text("from")}
}

// encode makes a server's message of what the case says.
func encode(f fieldsOf) ([]byte, error) {
	text, raw, number, member := f.text, f.raw, f.number, f.member()
	switch frame := text("frame"); frame {
	case "ok":
		return jsonws.AppendOK(nil, raw("ref"), raw("data")), nil
	case "error":
		return jsonws.AppendError(nil, raw("ref"), f.refusal()), nil
	case "authenticated":
		return jsonws.AppendAuthenticated(nil, f.user(), number("expires-at"), number("expires-in")), nil
	case "event":
		return jsonws.AppendEvent(nil, f.event())
	case "emit":
		return jsonws.AppendEmit(nil, text("event"), raw("data")), nil
	case "auth_expiring":
		return jsonws.AppendAuthExpiring(nil, number("expires-at"), number("expires-in"), text("reason")), nil
	case "auth_closing":
		return jsonws.AppendAuthClosing(nil, f.refusal()), nil
	case "room_left":
		return jsonws.AppendRoomLeft(nil, text("room"), f.refusal()), nil
	case "pong":
		return jsonws.AppendPong(nil, raw("ref")), nil
	case "user_joined":
		return jsonws.AppendUserJoined(nil, text("room"), member, int(number("viewers"))), nil
	case "user_left":
		return jsonws.AppendUserLeft(nil, text("room"), member, int(number("viewers"))), nil
	case "user_typing":
		return jsonws.AppendUserTyping(nil, text("room"), member), nil
	case "presence_updated":
		return jsonws.AppendPresenceUpdated(nil, text("room"), member), nil
	case "presence_paused":
		return jsonws.AppendPresencePaused(nil, text("room"), int(number("viewers"))), nil
	case "presence_resumed":
		return jsonws.AppendPresenceResumed(nil, text("room"), int(number("viewers"))), nil
	case "signal":
		return jsonws.AppendSignal(nil, f.signal()), nil
	default:
		f.t.Fatalf("%s: unknown frame %q", f.c.Place, frame)
		return nil, nil
	}
}

// encodeTopic is encode for topics.
func encodeTopic(f fieldsOf) ([]byte, error) {
	text, raw, number := f.text, f.raw, f.number
	switch frame := text("frame"); frame {
	case "ok":
		return jsonws.AppendTopicOK(nil, raw("ref"), raw("data")), nil
	case "error":
		if text("topic") == "" {
			return jsonws.AppendTopicError(nil, nil, f.refusal()), nil
		}
		return jsonws.AppendTopicError(nil, &jsonws.Message{Topic: text("topic"), Ref: raw("ref")}, f.refusal()), nil
	case "authenticated":
		return jsonws.AppendTopicAuthenticated(nil, f.user(), number("expires-at"), number("expires-in")), nil
	case "event":
		return jsonws.AppendTopicEvent(nil, f.event())
	case "emit":
		return jsonws.AppendTopicEmit(nil, text("event"), raw("data")), nil
	case "auth_expiring":
		return jsonws.AppendTopicExpiring(nil, number("expires-at"), number("expires-in"), text("reason")), nil
	case "auth_closing":
		return jsonws.AppendTopicClosing(nil, f.refusal()), nil
	case "room_left":
		return jsonws.AppendTopicRoomLeft(nil, text("room"), f.refusal()), nil
	case "pong":
		return jsonws.AppendTopicPong(nil, &jsonws.Message{Topic: text("topic"), Data: raw("data"), Ref: raw("ref")}), nil
	case "presence":
		return jsonws.AppendTopicPresence(nil, text("topic"), text("room"), f.member(), int(number("viewers"))), nil
	case "viewers":
		return jsonws.AppendTopicViewers(nil, text("topic"), text("room"), int(number("viewers"))), nil
	case "signal":
		return jsonws.AppendTopicSignal(nil, f.signal()), nil
	default:
		f.t.Fatalf("%s: unknown frame %q", f.c.Place, frame)
		return nil, nil
	}
}
