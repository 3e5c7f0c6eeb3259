package jsonws

import (
	"encoding/json"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// The topics of servers that no event has, so that what a room says can't be
// taken for what the server says. Names that begin with auth:, room: and
// presence: are no events anyway.
const (
	topicAuthenticated = "authenticated"
	topicOK            = "ok"
	topicError         = "error"
	topicEvent         = "event"
	topicHeartbeat     = "heartbeat"
	topicPong          = "pong"
)

// TypePresenceGet asks who is in a room. Only topics have it.
const TypePresenceGet = "presence:get"

// topicType returns the type of messages that a topic stands for: the short
// name, or that of the Socket.IO event; "" for an event of the application.
func topicType(topic string) string {
	switch topic {
	case TypeAuth, "auth:refresh":
		return TypeAuth
	case TypeJoin, "room:join":
		return TypeJoin
	case TypeLeave, "room:leave":
		return TypeLeave
	case TypePublish, "room:publish":
		return TypePublish
	case TypeSignal, "room:signal":
		return TypeSignal
	case TypePresence, "presence:update":
		return TypePresence
	case TypeTyping, TypePresenceGet, TypePing:
		return topic
	case topicHeartbeat:
		return TypePing
	}
	return ""
}

// ParseTopic reads one message {"topic":"…","data":…,"id":…,"ref":…} as Parse
// reads the others, and with the same errors. A topic that is no command is an
// event of the application (TypeEvent), with its data and id. The fields of a
// command are members of data, which may have ref as well. Topic is filled in
// beside Type.
func ParseTopic(data []byte) (Message, error) {
	in, err := parseObject(data)
	if err != nil {
		return Message{}, err
	}
	m, err := in.ref()
	if err != nil {
		return m, err
	}
	topic := in.get(fieldTopic)
	switch {
	case topic == nil:
		return m, invalid("topic is missing")
	case topic[0] != '"':
		return m, invalid("topic must be a string")
	}
	m.Topic = string(jsonscan.Unquote(topic))
	m.Type = topicType(m.Topic)
	switch m.Type {
	case "":
		m.Type, m.Event = TypeEvent, m.Topic
		bare := Message{Type: m.Type, Topic: m.Topic, Ref: m.Ref}
		if err := in.fill(&m, [fields]bool{fieldData: true, fieldID: true}); err != nil {
			return bare, err
		}
		return m, nil
	case TypePing:
		m.Data = in.values[fieldData]
		return m, nil
	}
	return in.command(m)
}

// command reads the fields of a command, which are in the message's data.
func (in *members) command(m Message) (Message, error) {
	payload := in.get(fieldData)
	if payload == nil {
		return m, nil
	}
	if payload[0] != '{' {
		return m, invalid("data must be an object")
	}
	inner := members{data: payload}
	if !inner.find(0) {
		return m, invalidJSON(errTwice)
	}
	if m.Ref == nil {
		own, err := inner.ref()
		if err != nil {
			return m, err
		}
		m.Ref = own.Ref
	}
	bare := m
	if err := inner.fill(&m, fieldsOf(m.Type)); err != nil {
		return bare, err
	}
	return m, nil
}

func fieldsOf(kind string) [fields]bool {
	for _, k := range kinds {
		if k.name == kind {
			return k.has
		}
	}
	return [fields]bool{fieldRoom: true, fieldBoardID: true} // TypePresenceGet
}

// AppendTopicOK answers a message: {"topic":"ok","data":…,"ref":…}.
func AppendTopicOK(dst []byte, ref, data json.RawMessage) []byte {
	dst = appendRaw(appendTopic(dst, topicOK), data)
	return append(appendRef(dst, ref), '}')
}

// AppendTopicError refuses a message, or a credential where m is nil:
//
//	{"topic":"error","data":{"error":"…","code":"…","retryAfter":…,"details":…,"topic":"…"},"ref":…}
//
// The members of data are those of AppendError, and the topic that was
// refused, as far as there is one.
func AppendTopicError(dst []byte, m *Message, err *holdfast.Error) []byte {
	if m == nil {
		m = new(Message)
	}
	dst = appendTopic(dst, topicError)
	dst = appendErrorFields(append(dst, '{'), m.Ref == nil, err)
	if m.Topic != "" {
		dst = appendString(dst, `,"topic":`, m.Topic)
	}
	return append(appendRef(append(dst, '}'), m.Ref), '}')
}

// AppendTopicPong answers a heartbeat by its own topic and data, and a ping by
// the topic pong.
func AppendTopicPong(dst []byte, m *Message) []byte {
	topic := topicPong
	if m.Topic == topicHeartbeat {
		topic = topicHeartbeat
	}
	dst = appendRaw(appendTopic(dst, topic), m.Data)
	return append(appendRef(dst, m.Ref), '}')
}

// AppendTopicAuthenticated is AppendAuthenticated as a topic:
// {"topic":"authenticated","data":{"user":{…},"expiresAt":…,"expiresIn":…}}.
func AppendTopicAuthenticated(dst []byte, user holdfast.User, expiresAt, expiresIn int64) []byte {
	dst = append(appendTopic(dst, topicAuthenticated), '{')
	dst = appendMember(dst, Member{ID: user.ID, Name: user.Name})
	return append(appendExpiry(dst, expiresAt, expiresIn), '}', '}')
}

// AppendTopicExpiring is AppendAuthExpiring as the topic auth:expiring.
func AppendTopicExpiring(dst []byte, expiresAt, expiresIn int64, reason string) []byte {
	dst = appendString(append(appendTopic(dst, "auth:expiring"), '{'), `"reason":`, reason)
	return append(appendExpiry(dst, expiresAt, expiresIn), '}', '}')
}

// AppendTopicClosing is AppendAuthClosing as the topic auth:closing.
func AppendTopicClosing(dst []byte, err *holdfast.Error) []byte {
	if err == nil {
		err = holdfast.Internal.New()
	}
	dst = appendString(append(appendTopic(dst, "auth:closing"), '{'), `"code":`, string(codeOf(err)))
	dst = appendString(dst, `,"message":`, err.PublicMessage())
	return append(appendRetryAfter(dst, err), '}', '}')
}

// AppendTopicRoomLeft is AppendRoomLeft as the topic room:left.
func AppendTopicRoomLeft(dst []byte, room string, err *holdfast.Error) []byte {
	if err == nil {
		err = holdfast.Internal.New()
	}
	dst = appendString(append(appendTopic(dst, "room:left"), '{'), `"room":`, room)
	return append(appendRefusal(dst, err), '}', '}')
}

// AppendTopicEvent is an event of a room:
//
//	{"topic":"card:moved","data":…,"meta":{"room":"…","epoch":"…","offset":…,"id":"…","from":"…"}}
//
// An event whose name is a topic of the server's own comes as
// {"topic":"event","data":…} with the whole of AppendEvent as data. Else as
// AppendEvent.
func AppendTopicEvent(dst []byte, ev *holdfast.Event) ([]byte, error) {
	if taken(ev.Name) {
		out, err := AppendEvent(appendTopic(dst, topicEvent), ev)
		if err != nil {
			return dst, err
		}
		return append(out, '}'), nil
	}
	data, err := portable(ev)
	if err != nil {
		return dst, err
	}
	dst = appendRaw(appendTopic(dst, ev.Name), data)
	dst = appendString(append(dst, `,"meta":{`...), `"room":`, ev.Room)
	return append(appendPosition(dst, ev), '}', '}'), nil
}

// AppendTopicEmit is an event that the application sends to one connection:
// {"topic":"…","data":…}. Names that are taken are treated as
// AppendTopicEvent does.
func AppendTopicEmit(dst []byte, event string, data json.RawMessage) []byte {
	if taken(event) {
		return append(AppendEmit(appendTopic(dst, topicEvent), event, data), '}')
	}
	return append(appendRaw(appendTopic(dst, event), data), '}')
}

// AppendTopicSignal is a signal in a room:
// {"topic":"…","data":…,"meta":{"room":"…","from":"…","key":"…"}}. A signal
// whose name is a topic of the server's own comes as {"topic":"event","data":…}
// with the whole of AppendSignal as data.
func AppendTopicSignal(dst []byte, s Signal) []byte {
	if taken(s.Event) {
		return append(AppendSignal(appendTopic(dst, topicEvent), s), '}')
	}
	dst = append(appendRaw(appendTopic(dst, s.Event), s.Data), `,"meta":{`...)
	dst = appendString(dst, `"room":`, s.Room)
	if s.From != "" {
		dst = appendString(dst, `,"from":`, s.From)
	}
	if s.Key != "" {
		dst = appendString(dst, `,"key":`, s.Key)
	}
	return append(dst, '}', '}')
}

// AppendTopicPresence tells what happened to a user in a room, by the topic
// presence:join, presence:leave, presence:update or user_typing:
// {"topic":"…","data":{"room":"…","user":{…},"viewers":…}}. viewers is left out
// if it is negative.
func AppendTopicPresence(dst []byte, topic, room string, user Member, viewers int) []byte {
	dst = appendString(append(appendTopic(dst, topic), '{'), `"room":`, room)
	dst = appendUser(dst, user)
	if viewers >= 0 {
		dst = strconv.AppendInt(append(dst, `,"viewers":`...), int64(viewers), 10)
	}
	return append(dst, '}', '}')
}

// AppendTopicViewers tells, by the topic presence:paused or presence:resumed,
// whether the members of a room are told of each user:
// {"topic":"…","data":{"room":"…","viewers":…}}.
func AppendTopicViewers(dst []byte, topic, room string, viewers int) []byte {
	dst = appendString(append(appendTopic(dst, topic), '{'), `"room":`, room)
	return append(strconv.AppendInt(append(dst, `,"viewers":`...), int64(viewers), 10), '}', '}')
}

// taken reports whether a topic is the server's own.
func taken(name string) bool {
	switch name {
	case topicAuthenticated, topicOK, topicError, topicEvent, topicHeartbeat, topicPong:
		return true
	}
	return false
}

func appendTopic(dst []byte, topic string) []byte {
	return append(appendString(append(dst, '{'), `"topic":`, topic), `,"data":`...)
}
