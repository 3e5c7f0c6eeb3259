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

const transcripts = "../../testdata/wire/jsonws"

// TestGolden runs every case of the transcripts.
func TestGolden(t *testing.T) {
	for _, c := range wiretest.Load(t, transcripts) {
		t.Run(c.Name, func(t *testing.T) {
			if wire, ok := c.Get("client"); ok {
				parsed(t, c, wire)
				return
			}
			got, err := encode(t, c)
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
func parsed(t *testing.T, c wiretest.Case, wire string) {
	m, err := jsonws.Parse([]byte(wire))
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
		"type": m.Type, "room": m.Room, "event": m.Event, "id": m.ID, "key": m.Key, "token": m.Token,
		"data": string(m.Data), "since": since, "ref": string(m.Ref),
	} {
		if want, _ := c.Get(key); got != want {
			t.Errorf("%s: %s is %q, want %q", c.Place, key, got, want)
		}
	}
}

// encode makes a server's message of what the case says.
func encode(t *testing.T, c wiretest.Case) ([]byte, error) {
	text := func(key string) string { v, _ := c.Get(key); return v }
	raw := func(key string) json.RawMessage {
		if v, ok := c.Get(key); ok {
			return json.RawMessage(v)
		}
		return nil
	}
	number := func(key string) int64 {
		v, ok := c.Get(key)
		if !ok {
			return 0
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", c.Place, err)
		}
		return n
	}
	refusal := holdfast.Code(text("code")).New()
	if message, ok := c.Get("message"); ok {
		refusal.Message = message
	}
	refusal.Details = raw("details")
	if wait, ok := c.Get("retry-after"); ok {
		var err error
		if refusal.RetryAfter, err = time.ParseDuration(wait); err != nil {
			t.Fatalf("%s: %v", c.Place, err)
		}
	}
	member := jsonws.Member{ID: text("user-id"), Name: text("user-name"), Data: raw("user-data")}

	switch frame := text("frame"); frame {
	case "ok":
		return jsonws.AppendOK(nil, raw("ref"), raw("data")), nil
	case "error":
		return jsonws.AppendError(nil, raw("ref"), refusal), nil
	case "authenticated":
		user := holdfast.User{ID: member.ID, Name: member.Name, Email: "canary@example.org", Roles: []string{"canary"}}
		return jsonws.AppendAuthenticated(nil, user, number("expires-at"), number("expires-in")), nil
	case "event":
		ev := &holdfast.Event{
			Room: text("room"), Name: text("event"), Data: raw("data"), ID: text("id"), From: text("from"),
			Position: holdfast.Position{Epoch: text("epoch"), Offset: uint64(number("offset"))},
		}
		for _, a := range c.All("attachment") {
			ev.Attachments = append(ev.Attachments, []byte(a))
		}
		return jsonws.AppendEvent(nil, ev)
	case "emit":
		return jsonws.AppendEmit(nil, text("event"), raw("data")), nil
	case "auth_expiring":
		return jsonws.AppendAuthExpiring(nil, number("expires-at"), number("expires-in"), text("reason")), nil
	case "auth_closing":
		return jsonws.AppendAuthClosing(nil, refusal), nil
	case "room_left":
		return jsonws.AppendRoomLeft(nil, text("room"), refusal), nil
	case "pong":
		return jsonws.AppendPong(nil, raw("ref")), nil
	case "user_joined":
		return jsonws.AppendUserJoined(nil, text("room"), member, int(number("viewers"))), nil
	case "user_left":
		return jsonws.AppendUserLeft(nil, text("room"), member, int(number("viewers"))), nil
	case "user_typing":
		return jsonws.AppendUserTyping(nil, text("room"), member), nil
	default:
		t.Fatalf("%s: unknown frame %q", c.Place, frame)
		return nil, nil
	}
}
