package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// features are what a client may count on after auth:session: in-place
// refresh, idempotent application events, and positions on room:join.
var features = [...]string{"refresh", "id", "since"}

// sessionInfo is the payload of auth:session.
type sessionInfo struct {
	User       holdfast.User `json:"user"`
	Connection string        `json:"connection"`
	expiry
	Features []string `json:"features"`
}

// connect admits the connection to a namespace, or refuses it.
func (s socketIO) connect(l *link, p socketio.Packet) {
	l.mu.Lock()
	l.life.pause()
	l.mu.Unlock()
	ns, ok := l.srv.lookup(p.Namespace)
	if !ok {
		l.wasRefused()
		l.eio.Send(packetFrame(socketio.Packet{Type: socketio.ConnectError, Namespace: p.Namespace, Data: json.RawMessage(`{"message":"Invalid namespace"}`)}))
		return
	}
	if l.conn(ns.name) != nil {
		return // the official client repeats its CONNECT when connect() is called twice
	}
	identity, err := l.authenticate(l.credential(p.Data))
	if err == nil {
		err = l.admit(ns, p.Data, identity, s.welcome)
	}
	if err != nil {
		s.refuse(l, ns.name, holdfast.AsError(err))
	}
}

// welcome is CONNECT's answer, and auth:session for somebody with a name.
func (s socketIO) welcome(c *Conn) []*hub.Frame {
	sid := append(append([]byte(`{"sid":"`), c.sid...), `"}`...) // ids need no escapes
	frames := []*hub.Frame{packetFrame(socketio.Packet{Type: socketio.Connect, Namespace: c.ns.name, Data: sid})}
	if id := c.Identity(); id.User != "" {
		frames = append(frames, s.notice(c, notice{name: "auth:session", expiry: expiryOf(id)}))
	}
	return frames
}

// refuse answers a CONNECT that can't be admitted. Official clients do not
// retry after a 44, so codes that mean "later" close the transport instead.
func (socketIO) refuse(l *link, namespace string, err *holdfast.Error) {
	switch err.Code {
	case holdfast.RateLimited, holdfast.ConnectionLimit, holdfast.GoingAway, holdfast.Internal:
		l.end(err)
		return
	}
	if !l.delayRefusal(err.Code) {
		return
	}
	l.wasRefused()
	body := struct {
		Message string `json:"message"`
		Data    struct {
			Code       holdfast.Code   `json:"code"`
			RetryAfter int64           `json:"retryAfter,omitempty"`
			Details    json.RawMessage `json:"details,omitempty"`
		} `json:"data"`
	}{Message: refusalMessage(err)}
	body.Data.Code, body.Data.RetryAfter, body.Data.Details = err.Code, err.RetryAfterSeconds(), err.Details
	data, merr := json.Marshal(body)
	if merr != nil { // Details that are no JSON
		body.Data.Details = nil
		data, _ = json.Marshal(body)
	}
	l.eio.Send(packetFrame(socketio.Packet{Type: socketio.ConnectError, Namespace: namespace, Data: data}))
	l.srv.log.Debug("connection refused", "connection", l.id, "code", err.Code)
}

// refusalMessage keeps to what clients read out of the text: one that speaks
// of a credential contains "Unauthorized", which makes them refresh, and no
// other contains a word that would.
func refusalMessage(err *holdfast.Error) string {
	message := err.PublicMessage()
	if err.Code.Info().HTTP == http.StatusUnauthorized {
		if !strings.Contains(message, "Unauthorized") {
			message = "Unauthorized: " + message
		}
		return message
	}
	lower := strings.ToLower(message)
	for _, word := range [...]string{"unauthorized", "jwt", "token"} {
		if strings.Contains(lower, word) {
			return err.Code.New().Message
		}
	}
	return message
}

// event makes an event packet.
func (socketIO) event(c *Conn, name string, args socketio.Args, ack *uint64) (*hub.Frame, error) {
	p := socketio.Packet{Type: socketio.Event, Namespace: c.ns.name, Attachments: args.Attachments}
	p.Data = args.AppendEvent(make([]byte, 0, 64), name)
	if ack != nil {
		p.ID, p.HasID = *ack, true
	}
	return packetFrame(p), nil
}

// notice makes an event packet of one of Holdfast's own events.
func (s socketIO) notice(c *Conn, n notice) *hub.Frame {
	var payload any // one of the structs below, which always marshal
	switch n.name {
	case "auth:session":
		payload = sessionInfo{User: c.Identity().AsUser(), Connection: c.link.id, expiry: n.expiry, Features: features[:]}
	case "auth:expiring":
		payload = expiring{expiry: n.expiry, Reason: n.reason}
	case "auth:closing":
		payload = ackError{Message: n.err.PublicMessage(), Code: n.err.Code, RetryAfter: n.err.RetryAfterSeconds()}
	default: // room:left, room:error
		payload = roomError{Room: n.room, Code: n.err.Code, Message: n.err.PublicMessage()}
	}
	data, err := json.Marshal(payload)
	if err != nil {
		panic(err) // of strings and numbers alone: can't be
	}
	frame, _ := s.event(c, n.name, socketio.Args{Values: []json.RawMessage{data}}, nil)
	return frame
}

// expiring is the payload of auth:expiring.
type expiring struct {
	expiry
	Reason string `json:"reason"`
}

// roomError is the payload of room:left and room:error.
type roomError struct {
	Room    string        `json:"room"`
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
}

// packetFrame encodes a packet for the wire: Engine.IO's message type first.
func packetFrame(p socketio.Packet) *hub.Frame {
	text := make([]byte, transport.HeaderSpace, transport.HeaderSpace+1+24+len(p.Namespace)+len(p.Data))
	text = append(text, '4')
	return transport.FrameIn(p.Append(text), p.Attachments...)
}
