package server

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

// textForm is how the messages of a plain WebSocket look. What they do is the
// same in all forms, and is plainWS's.
type textForm interface {
	parse(data []byte) (jsonws.Message, error)
	// answer answers m with err, or if that is nil with result. A nil m stands
	// for the handshake.
	answer(m *jsonws.Message, result json.RawMessage, err *holdfast.Error) []byte
	emit(event string, data json.RawMessage) []byte
	notice(c *Conn, n notice) []byte
	encoder() hub.Encoder
}

// typedForm is the form of docs/protocol.md §5: {"type":"…",…}.
type typedForm struct{}

func (typedForm) parse(data []byte) (jsonws.Message, error) { return jsonws.Parse(data) }

func (typedForm) encoder() hub.Encoder { return plainEncoder{} }

func (typedForm) answer(m *jsonws.Message, result json.RawMessage, err *holdfast.Error) []byte {
	switch {
	case m == nil:
		return jsonws.AppendError(nil, nil, err)
	case err != nil:
		return jsonws.AppendError(nil, m.Ref, err)
	case m.Type == jsonws.TypePing:
		return jsonws.AppendPong(nil, m.Ref)
	}
	return jsonws.AppendOK(nil, m.Ref, result)
}

func (typedForm) emit(event string, data json.RawMessage) []byte {
	return jsonws.AppendEmit(nil, event, data)
}

func (typedForm) notice(c *Conn, n notice) []byte {
	switch n.name {
	case "auth:session":
		return jsonws.AppendAuthenticated(nil, c.Identity().AsUser(), n.expiry.ExpiresAt, n.expiry.ExpiresIn)
	case "auth:expiring":
		return jsonws.AppendAuthExpiring(nil, n.expiry.ExpiresAt, n.expiry.ExpiresIn, n.reason)
	case "auth:closing":
		return jsonws.AppendAuthClosing(nil, n.err)
	}
	return jsonws.AppendRoomLeft(nil, n.room, n.err) // room:left
}

// topicForm is the form of /ws/topic: {"topic":"…","data":…}, which is what
// clients of hyper-fetch send and listen to.
type topicForm struct{}

func (topicForm) parse(data []byte) (jsonws.Message, error) { return jsonws.ParseTopic(data) }

func (topicForm) encoder() hub.Encoder { return topicEncoder{} }

func (topicForm) answer(m *jsonws.Message, result json.RawMessage, err *holdfast.Error) []byte {
	switch {
	case m == nil || err != nil:
		return jsonws.AppendTopicError(nil, m, err)
	case m.Type == jsonws.TypePing:
		return jsonws.AppendTopicPong(nil, m)
	}
	return jsonws.AppendTopicOK(nil, m.Ref, result)
}

func (topicForm) emit(event string, data json.RawMessage) []byte {
	return jsonws.AppendTopicEmit(nil, event, data)
}

func (topicForm) notice(c *Conn, n notice) []byte {
	switch n.name {
	case "auth:session":
		return jsonws.AppendTopicAuthenticated(nil, c.Identity().AsUser(), n.expiry.ExpiresAt, n.expiry.ExpiresIn)
	case "auth:expiring":
		return jsonws.AppendTopicExpiring(nil, n.expiry.ExpiresAt, n.expiry.ExpiresIn, n.reason)
	case "auth:closing":
		return jsonws.AppendTopicClosing(nil, n.err)
	}
	return jsonws.AppendTopicRoomLeft(nil, n.room, n.err) // room:left
}

// topicEncoder encodes what is said in rooms as topics.
type topicEncoder struct{}

var _ hub.NoticeEncoder = topicEncoder{}

func (topicEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	text, err := jsonws.AppendTopicEvent(make([]byte, 0, len(ev.Data)+256), ev)
	if err != nil {
		return nil // attachments that don't fit: no publish path lets them in
	}
	return transport.NewTextFrame(text)
}

// EncodeNotice implements hub.NoticeEncoder.
func (topicEncoder) EncodeNotice(n *hub.Notice) *hub.Frame {
	user := jsonws.Member{ID: n.User.ID, Name: n.User.Name, Data: n.User.Data}
	var text []byte
	switch n.Kind {
	case hub.NoticeJoin:
		text = jsonws.AppendTopicPresence(nil, "presence:join", n.Room, user, n.Viewers)
	case hub.NoticeLeave:
		text = jsonws.AppendTopicPresence(nil, "presence:leave", n.Room, user, n.Viewers)
	case hub.NoticeUpdate:
		text = jsonws.AppendTopicPresence(nil, "presence:update", n.Room, user, -1)
	case hub.NoticePaused:
		text = jsonws.AppendTopicViewers(nil, "presence:paused", n.Room, n.Viewers)
	case hub.NoticeResumed:
		text = jsonws.AppendTopicViewers(nil, "presence:resumed", n.Room, n.Viewers)
	case hub.NoticeTyping:
		user.Data = nil
		text = jsonws.AppendTopicPresence(nil, "user_typing", n.Room, user, -1)
	case hub.NoticeSignal:
		text = jsonws.AppendTopicSignal(nil, signalOf(n))
	default:
		return nil
	}
	return transport.NewTextFrame(text)
}
