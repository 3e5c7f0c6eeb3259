package webhook

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Type names what happened, or what is asked.
type Type string

// What happens, for Target.Events.
const (
	// TypeConnected: a connection was admitted. Data: Connection.
	TypeConnected Type = "connected"
	// TypeDisconnected: it is gone. Data: Connection.
	TypeDisconnected Type = "disconnected"
	// TypeJoined: a connection has joined a room. Data: Membership.
	TypeJoined Type = "joined"
	// TypeLeft: it has left, or was taken out, or is gone. Data: Membership.
	TypeLeft Type = "left"
	// TypePublished: an event is in a room's order. Data: Publication.
	TypePublished Type = "published"
)

// What is asked, for Target.Decide.
const (
	// TypeJoin: may somebody join a room? Data: Proposal.
	TypeJoin Type = "join"
	// TypePublish: may somebody publish this? Data: Proposal.
	TypePublish Type = "publish"
)

// Peer is who something is about.
type Peer struct {
	// User is who it is; nil where nobody is known, as with anonymous
	// connections.
	User *holdfast.User `json:"user,omitempty"`
	// Session is the public id of the login session, if there is one.
	Session string `json:"session,omitempty"`
	// Connection is the public id of the connection; empty for HTTP.
	Connection string `json:"connection,omitempty"`
	// Transport is how it is connected, such as "websocket", if it is.
	Transport string `json:"transport,omitempty"`
	// Namespace is that of Socket.IO, where it is not "/".
	Namespace string `json:"namespace,omitempty"`
}

// NewPeer is the Peer of an identity, which may be nil, without a connection.
func NewPeer(id *holdfast.Identity) Peer {
	if id == nil || id.User == "" {
		return Peer{}
	}
	user := id.AsUser()
	return Peer{User: &user, Session: id.Session}
}

// Connection is the data of connected and disconnected.
type Connection struct {
	Peer
	// Code is why it ended, if there was a reason: a code of docs/protocol.md.
	Code holdfast.Code `json:"code,omitempty"`
}

// Membership is the data of joined and left.
type Membership struct {
	Peer
	Room string `json:"room"`
	// Code is why it was taken out of the room, if it was.
	Code holdfast.Code `json:"code,omitempty"`
}

// Publication is the data of published.
type Publication struct {
	Room  string          `json:"room"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	// Epoch and Offset are its place in the room's order.
	Epoch  string `json:"epoch"`
	Offset uint64 `json:"offset"`
	// ID is the publisher's own id of it, if it has one.
	ID string `json:"id,omitempty"`
	// From is the publisher's user id; empty for backends.
	From string `json:"from,omitempty"`
}

// Proposal is the data of join and of publish: what somebody wants to do.
type Proposal struct {
	Peer
	Room string `json:"room"`
	// Event, Data and ID are there for publish.
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
	ID    string          `json:"id,omitempty"`
}

// newID returns the id of a message. It has no dot, which the signature needs
// in order to be of one text only.
func newID() string { return "msg_" + rand.Text() }

// encode makes the body of a message. data is one of this package's, whose
// raw JSON was checked where it came in.
func encode(id string, t Type, at time.Time, data any) ([]byte, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, len(raw)+128)
	body = append(body, `{"id":`...)
	body = jsonscan.AppendString(body, id)
	body = append(body, `,"type":`...)
	body = jsonscan.AppendString(body, string(t))
	body = append(body, `,"timestamp":"`...)
	body = at.UTC().AppendFormat(body, "2006-01-02T15:04:05.000Z07:00")
	body = append(body, `","data":`...)
	body = append(body, raw...)
	return append(body, '}'), nil
}

// portable returns an event's data as JSON, with bytes in the form that they
// have on every transport that carries JSON alone.
func portable(data json.RawMessage, attachments [][]byte) (json.RawMessage, error) {
	if data == nil {
		return json.RawMessage("null"), nil
	}
	if len(attachments) == 0 {
		return data, nil
	}
	args, err := socketio.Args{Values: []json.RawMessage{data}, Attachments: attachments}.Portable()
	if err != nil {
		return nil, err
	}
	return args.Values[0], nil
}
