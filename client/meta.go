package client

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// metaOf returns the meta of an event's arguments, nil if it is none of a room.
// They were checked to be JSON.
func metaOf(args socketio.Args) *meta {
	if args.Len() != 2 || len(args.Values[1]) == 0 || args.Values[1][0] != '{' {
		return nil
	}
	m := new(meta)
	if !m.plain(args.Values[1]) {
		*m = meta{}
		if json.Unmarshal(args.Values[1], m) != nil {
			return nil
		}
	}
	if m.Room == "" || m.Epoch == "" || m.Offset == nil {
		return nil
	}
	return m
}

// plain reads a meta in the form in which Holdfast writes it: no white space,
// no escapes, no other keys. It is read for each event, and reflection took an
// eighth of a client's time. ok is false for any other form, which is left to
// encoding/json.
func (m *meta) plain(data []byte) (ok bool) {
	i := 1
	for i < len(data) && data[i] == '"' {
		end := jsonscan.Skip(data, i)
		if end < 0 || end >= len(data) || data[end] != ':' {
			return false
		}
		key := data[i+1 : end-1]
		i = end + 1
		if end = jsonscan.Skip(data, i); end <= i || end >= len(data) || !m.field(key, data[i:end]) {
			return false
		}
		if data[end] == '}' {
			return true
		}
		i = end + 1 // past the comma
	}
	return false
}

func (m *meta) field(key, value []byte) bool {
	if string(key) == "offset" {
		if len(value) > 19 { // more than fits is encoding/json's business
			return false
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		m.Offset = &n
		return err == nil && (value[0] != '0' || len(value) == 1)
	}
	if value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return false
	}
	text := value[1 : len(value)-1]
	switch string(key) {
	case "room":
		m.Room = string(text)
	case "epoch":
		m.Epoch = string(text)
	case "id":
		m.ID = string(text)
	case "from":
		m.From = string(text)
	default:
		return false
	}
	return true
}
