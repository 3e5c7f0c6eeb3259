package server

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// plain reads a payload as most clients write it, without a second look at its
// JSON and without reflection: keys spelled as they are here, strings without
// escapes. What it reads is what encoding/json reads; ok is false for anything
// else, which is left to that. data was checked to be JSON; nothing of cmd
// aliases it but Data and Presence, as what came with a packet may.
func (cmd *command) plain(data []byte) (ok bool) {
	i := skipSpace(data, 1)
	if i < len(data) && data[i] == '}' {
		return true
	}
	for i < len(data) && data[i] == '"' {
		end := jsonscan.Skip(data, i)
		if end < 0 {
			return false
		}
		key := data[i+1 : end-1]
		if i = skipSpace(data, end); i >= len(data) || data[i] != ':' {
			return false
		}
		i = skipSpace(data, i+1)
		if end = jsonscan.Skip(data, i); end <= i || !cmd.field(key, cut(data, i, end)) {
			return false
		}
		if i = skipSpace(data, end); i >= len(data) {
			return false
		}
		if data[i] == '}' {
			return true
		}
		i = skipSpace(data, i+1) // past the comma
	}
	return false
}

// cut returns a part of data for keeping. A small part of something large is
// copied, or a presence of ten bytes could hold a message of a megabyte.
func cut(data []byte, i, end int) []byte {
	if n := end - i; len(data) > 2*n+512 {
		return bytes.Clone(data[i:end])
	}
	return data[i:end:end]
}

// field sets one field; false where that is not as simple as here.
func (cmd *command) field(key, value []byte) bool {
	switch string(key) {
	case "room":
		return plainString(value, &cmd.Room)
	case "event":
		return plainString(value, &cmd.Event)
	case "key":
		return plainString(value, &cmd.Key)
	case "id":
		return plainString(value, &cmd.ID)
	case "token":
		return plainString(value, &cmd.Token)
	case "data":
		cmd.Data = value
		return true
	case "presence":
		cmd.Presence = value
		return true
	}
	return false // another spelling of one of them, or one that is not known
}

// plainString reads a string whose bytes are its text.
func plainString(value []byte, to *string) bool {
	if len(value) < 2 || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 || !utf8.Valid(value) {
		return false
	}
	*to = string(value[1 : len(value)-1])
	return true
}

// readJSON reads a payload in any spelling.
func (cmd *command) readJSON(data []byte) error {
	var other command
	if cmd.plain(data) {
		return nil
	}
	other.attachments = cmd.attachments
	*cmd = other
	return json.Unmarshal(data, cmd)
}
