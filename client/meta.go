package client

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// read takes the meta of an event's arguments, and is false if it is none of a
// room. They were checked to be JSON. last is the meta of an event before:
// strings that are the same are not made again.
func (m *meta) read(args socketio.Args, last *meta) bool {
	if args.Len() != 2 || len(args.Values[1]) == 0 || args.Values[1][0] != '{' {
		return false
	}
	if !m.plain(args.Values[1], last) {
		*m = meta{}
		if json.Unmarshal(args.Values[1], m) != nil {
			return false
		}
	}
	return m.Room != "" && m.Epoch != "" && m.Offset != nil
}

// again returns text as a string, which is last if that is the same.
func again(last string, text []byte) string {
	if string(text) == last {
		return last
	}
	return string(text)
}

// plain reads a meta in the form in which Holdfast writes it: no white space,
// no escapes, no other keys. It is read for each event, and reflection took an
// eighth of a client's time. ok is false for any other form, which is left to
// encoding/json.
func (m *meta) plain(data []byte, last *meta) (ok bool) {
	i := 1
	for i < len(data) && data[i] == '"' {
		end := jsonscan.Skip(data, i)
		if end < 0 || end >= len(data) || data[end] != ':' {
			return false
		}
		key := data[i+1 : end-1]
		i = end + 1
		if end = jsonscan.Skip(data, i); end <= i || end >= len(data) || !m.field(key, data[i:end], last) {
			return false
		}
		if data[end] == '}' {
			return true
		}
		i = end + 1 // past the comma
	}
	return false
}

func (m *meta) field(key, value []byte, last *meta) bool {
	if string(key) == "offset" {
		if len(value) > 19 { // more than fits is encoding/json's business
			return false
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		m.offset = n
		m.Offset = &m.offset
		return err == nil && (value[0] != '0' || len(value) == 1)
	}
	if value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return false
	}
	text := value[1 : len(value)-1]
	switch string(key) {
	case "room":
		m.Room = again(last.Room, text)
	case "epoch":
		m.Epoch = again(last.Epoch, text)
	case "id":
		m.ID = string(text)
	case "from":
		m.From = again(last.From, text)
	default:
		return false
	}
	return true
}
