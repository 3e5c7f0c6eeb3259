package hub

import "encoding/json"

// Notice is something said in a room beside its order: it has no position, is
// kept nowhere, and goes to who is there now.
type Notice struct {
	Kind NoticeKind
	Room string
	// User is whom it is about: who came or went, types, or sent the signal; of
	// NoticePaused and NoticeResumed nobody.
	User Member
	// Viewers is the number of users in the room, after NoticeJoin and
	// NoticeLeave, and with NoticePaused and NoticeResumed.
	Viewers int
	// Event, Data and Key are a signal's. Data is JSON; nil stands for null.
	Event string
	Data  json.RawMessage
	Key   string
}

// NoticeKind says what a Notice tells.
type NoticeKind uint8

const (
	NoticeJoin   NoticeKind = iota // a user's first connection came
	NoticeLeave                    // his last one went, some time ago
	NoticeUpdate                   // his presence data changed
	NoticeTyping                   // he types
	NoticeSignal                   // one of his connections sent a signal
	// NoticePaused says that the room has too many users for its members to be
	// told of each: what they know is old from here on.
	NoticePaused
	// NoticeResumed ends that. What had changed was told just before.
	NoticeResumed
)

// Member is a user in a room, as the others see him.
type Member struct {
	// ID is the user's id; Name is "" where it is not known.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Data is the user's presence data in the room, JSON of at most 4 KiB; nil
	// for none.
	Data json.RawMessage `json:"data,omitempty"`
	// Connections counts the connections by which he is in the room; 0 in
	// notices, and for who went a moment ago and may come back.
	Connections int `json:"connections"`
}

// NoticeEncoder is an Encoder that has a form for notices as well. Sessions
// whose Encoder is none get no notices.
type NoticeEncoder interface {
	Encoder
	// EncodeNotice is to a Notice what Encode is to an event. The result's
	// Overflow and Key are the hub's to set.
	EncodeNotice(n *Notice) *Frame
}
