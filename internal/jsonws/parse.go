package jsonws

import (
	"encoding/json"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// The types of a client's messages.
const (
	TypeAuth     = "auth"
	TypeJoin     = "join"
	TypeLeave    = "leave"
	TypePublish  = "publish"
	TypeEvent    = "event"
	TypeSignal   = "signal"
	TypeTyping   = "typing"
	TypePresence = "presence"
	TypePing     = "ping"
)

const (
	// MaxRef bounds a ref, in bytes of its text.
	MaxRef = 128
	// MaxDepth is how many arrays and objects of a message may be open at once,
	// the message itself among them.
	MaxDepth = 32
)

// Message is one message of a client. Only what its type has is filled in;
// what was absent or null is empty.
type Message struct {
	// Type is one of the constants; "" if it is not known.
	Type string
	// Topic is what ParseTopic made Type of.
	Topic string
	// Room, Event and ID are as they were sent: whether they are good names is
	// not checked. Room may have been sent as boardId.
	Room  string
	Event string
	ID    string
	// Key tells signals of one event apart.
	Key string
	// Token is a credential: do not log it.
	Token string
	// Data is the payload as it was sent; nil if there was none. It aliases
	// the text.
	Data json.RawMessage
	// Presence is presence data as it was sent; nil if there was none. It
	// aliases the text.
	Presence json.RawMessage
	// Since is checked to be a position.
	Since *holdfast.Position
	// Ref is to be given back by the answer: a JSON string or a safe integer as
	// it was sent, nil if there was none. It aliases the text.
	Ref json.RawMessage
}

// field is a key of a message that means something.
type field uint8

const (
	fieldType field = iota
	fieldRef
	fieldRoom
	fieldBoardID // after fieldRoom, with which it is compared
	fieldEvent
	fieldID
	fieldKey
	fieldToken
	fieldData
	fieldSince
	fieldTopic
	fieldPresence
	fields // how many there are
)

// fieldNames are the keys as they are written.
var fieldNames = [fields]string{"type", "ref", "room", "boardId", "event", "id", "key", "token", "data", "since", "topic", "presence"}

// kind is a type of messages and the fields it has, besides type and ref.
type kind struct {
	name string
	has  [fields]bool
}

var kinds = [...]kind{
	{TypeAuth, [fields]bool{fieldToken: true}},
	{TypeJoin, [fields]bool{fieldRoom: true, fieldBoardID: true, fieldSince: true, fieldPresence: true}},
	{TypeLeave, [fields]bool{fieldRoom: true, fieldBoardID: true}},
	{TypePublish, [fields]bool{fieldRoom: true, fieldBoardID: true, fieldEvent: true, fieldData: true, fieldID: true}},
	{TypeEvent, [fields]bool{fieldEvent: true, fieldData: true, fieldID: true}},
	{TypeSignal, [fields]bool{fieldRoom: true, fieldBoardID: true, fieldEvent: true, fieldData: true, fieldKey: true}},
	{TypeTyping, [fields]bool{fieldRoom: true, fieldBoardID: true}},
	{TypePresence, [fields]bool{fieldRoom: true, fieldBoardID: true, fieldData: true}},
	{TypePing, [fields]bool{}},
}

// Parse reads one message. Every error is a *holdfast.Error with code
// InvalidArgument whose message holds none of the text. What is no JSON in
// UTF-8, nests too deeply, or has an object in which two keys are the same
// (for keys of the message itself: also if they differ in case alone) is
// "Invalid JSON", with the place in the cause.
//
// Of a message that is JSON but wrong otherwise, Type and Ref are returned
// beside the error, as far as they are good: the answer carries Ref back.
// Keys that the message's type does not have are ignored.
func Parse(data []byte) (Message, error) {
	m, err := parseObject(data)
	if err != nil {
		return Message{}, err
	}
	return m.message()
}

// parseObject finds the members of a message.
func parseObject(data []byte) (members, error) {
	if err := jsonscan.Check(data, jsonscan.Limits{Depth: MaxDepth}); err != nil {
		return members{}, invalidJSON(err)
	}
	i := space(data, 0)
	if data[i] != '{' {
		return members{}, invalid("a message must be a JSON object")
	}
	m := members{data: data}
	if !m.find(i) {
		return members{}, invalidJSON(errTwice)
	}
	return m, nil
}

func invalid(message string) *holdfast.Error {
	return &holdfast.Error{Code: holdfast.InvalidArgument, Message: message}
}

// invalidJSON is the one error whose text clients may know.
func invalidJSON(cause error) *holdfast.Error {
	return &holdfast.Error{Code: holdfast.InvalidArgument, Message: "Invalid JSON", Err: cause}
}

// message makes a Message of the members that were found.
func (in *members) message() (Message, error) {
	m, err := in.ref()
	if err != nil {
		return m, err
	}
	name := in.get(fieldType)
	switch {
	case name == nil:
		return m, invalid("type is missing")
	case name[0] != '"':
		return m, invalid("type must be a string")
	}
	for _, k := range kinds {
		if jsonscan.KeyIs(name, k.name) {
			m.Type = k.name
			if err := in.fill(&m, k.has); err != nil {
				return Message{Type: m.Type, Ref: m.Ref}, err
			}
			return m, nil
		}
	}
	return m, invalid("unknown type")
}

// ref makes a Message of nothing but the ref.
func (in *members) ref() (Message, error) {
	ref := in.get(fieldRef)
	if ref != nil && !validRef(ref) {
		return Message{}, invalid("ref must be a string of at most 128 bytes or a safe integer")
	}
	return Message{Ref: ref}, nil
}

// fill reads the fields that the message's type has.
func (in *members) fill(m *Message, has [fields]bool) error {
	for f := range fields {
		value := in.get(f)
		if value == nil || !has[f] {
			continue
		}
		if f == fieldSince {
			p, err := position(value)
			if err != nil {
				return err
			}
			m.Since = p
			continue
		}
		into := m.text(f)
		if into == nil {
			continue
		}
		if value[0] != '"' {
			return invalid(fieldNames[f] + " must be a string")
		}
		text := jsonscan.Unquote(value)
		if f == fieldBoardID && in.get(fieldRoom) != nil {
			if string(text) != m.Room {
				return invalid("room and boardId differ")
			}
			continue
		}
		*into = string(text)
	}
	if has[fieldData] {
		m.Data = in.values[fieldData] // null is data, too
	}
	if has[fieldPresence] {
		m.Presence = in.get(fieldPresence)
	}
	return nil
}

// text returns where a field goes that is a string; nil for others.
func (m *Message) text(f field) *string {
	switch f {
	case fieldRoom, fieldBoardID:
		return &m.Room
	case fieldEvent:
		return &m.Event
	case fieldID:
		return &m.ID
	case fieldKey:
		return &m.Key
	case fieldToken:
		return &m.Token
	}
	return nil
}

// position reads a since.
func position(value json.RawMessage) (*holdfast.Position, error) {
	if value[0] != '{' {
		return nil, invalid("since must be an object")
	}
	var epoch, offset json.RawMessage
	for i := first(value, 0); i >= 0; {
		key, at := member(value, i)
		end := jsonscan.Skip(value, at)
		switch {
		case jsonscan.KeyIs(key, "epoch"):
			epoch = value[at:end]
		case jsonscan.KeyIs(key, "offset"):
			offset = value[at:end]
		}
		i = next(value, end)
	}
	if epoch == nil || epoch[0] != '"' {
		return nil, invalid("since.epoch must be a string")
	}
	n, err := strconv.ParseUint(string(offset), 10, 64)
	if err != nil {
		return nil, invalid("since.offset must be an integer that is not negative")
	}
	p := &holdfast.Position{Epoch: string(jsonscan.Unquote(epoch)), Offset: n}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

// validRef reports whether a JSON value can be a ref.
func validRef(value []byte) bool {
	if value[0] == '"' {
		// An escape makes at most six bytes of one.
		return len(value) <= 6*MaxRef+2 && len(jsonscan.Unquote(value)) <= MaxRef
	}
	if len(value) > len("-9007199254740991") {
		return false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return err == nil && n >= -holdfast.MaxOffset && n <= holdfast.MaxOffset
}
