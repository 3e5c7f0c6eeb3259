package jsonws

import (
	"encoding/json"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// AppendOK answers a message: {"type":"ok","ref":…,"data":…}. ref is left out
// if it is nil.
func AppendOK(dst []byte, ref, data json.RawMessage) []byte {
	dst = appendRef(append(dst, `{"type":"ok"`...), ref)
	dst = appendRaw(append(dst, `,"data":`...), data)
	return append(dst, '}')
}

// AppendError refuses a message:
//
//	{"type":"error","ref":…,"error":"…","code":"…","retryAfter":…,"details":…}
//
// retryAfter, in seconds, and details are left out where err has none; details
// also for INTERNAL, or if they are no JSON.
//
// If ref is nil, there is neither type nor ref: so are a bad credential at
// admission, text that is no JSON, and a message without ref refused. The
// sentence for UNAUTHENTICATED is then always "Unauthorized", and that for
// SESSION_REVOKED "Invalid session", on which clients rely.
func AppendError(dst []byte, ref json.RawMessage, err *holdfast.Error) []byte {
	bare := len(ref) == 0
	if dst = append(dst, '{'); !bare {
		dst = append(appendRef(append(dst, `"type":"error"`...), ref), ',')
	}
	return append(appendErrorFields(dst, bare, err), '}')
}

// appendErrorFields appends the members that tell of an error. bare: it answers
// no message of its own, but a credential, say.
func appendErrorFields(dst []byte, bare bool, err *holdfast.Error) []byte {
	if err == nil {
		err = holdfast.Internal.New()
	}
	code := codeOf(err)
	message := err.PublicMessage()
	switch {
	case bare && code == holdfast.Unauthenticated:
		message = "Unauthorized"
	case bare && code == holdfast.SessionRevoked:
		message = "Invalid session"
	}
	dst = appendString(dst, `"error":`, message)
	dst = appendString(dst, `,"code":`, string(code))
	dst = appendRetryAfter(dst, err)
	if len(err.Details) > 0 && code != holdfast.Internal && json.Valid(err.Details) {
		dst = append(append(dst, `,"details":`...), err.Details...)
	}
	return dst
}

// AppendAuthenticated tells a client that it was admitted:
//
//	{"type":"authenticated","user":{"id":"…","name":"…"},"expiresAt":…,"expiresIn":…}
//
// name is left out if it is empty. expiresAt is in epoch milliseconds and
// expiresIn in seconds from now; both are left out if expiresAt is 0, for a
// credential that does not expire.
func AppendAuthenticated(dst []byte, user holdfast.User, expiresAt, expiresIn int64) []byte {
	dst = append(dst, `{"type":"authenticated"`...)
	dst = appendUser(dst, Member{ID: user.ID, Name: user.Name})
	return append(appendExpiry(dst, expiresAt, expiresIn), '}')
}

// AppendEvent is an event of a room:
//
//	{"type":"event","room":"…","event":"…","data":…,"epoch":"…","offset":…,"id":"…","from":"…"}
//
// id and from are left out if they are empty. Binary parts show as
// {"$base64":"…"}; it is an error if data's placeholders don't go with the
// attachments.
func AppendEvent(dst []byte, ev *holdfast.Event) ([]byte, error) {
	data, err := portable(ev)
	if err != nil {
		return dst, err
	}
	dst = appendString(append(dst, `{"type":"event"`...), `,"room":`, ev.Room)
	dst = appendString(dst, `,"event":`, ev.Name)
	dst = appendRaw(append(dst, `,"data":`...), data)
	return append(appendPosition(dst, ev), '}'), nil
}

// portable returns an event's data with binary parts put in.
func portable(ev *holdfast.Event) (json.RawMessage, error) {
	if len(ev.Attachments) == 0 {
		return ev.Data, nil
	}
	args, err := socketio.Args{Values: []json.RawMessage{ev.Data}, Attachments: ev.Attachments}.Portable()
	if err != nil {
		return nil, err
	}
	return args.Values[0], nil
}

// appendPosition appends where an event stands, and who published it.
func appendPosition(dst []byte, ev *holdfast.Event) []byte {
	dst = appendString(dst, `,"epoch":`, ev.Position.Epoch)
	dst = strconv.AppendUint(append(dst, `,"offset":`...), ev.Position.Offset, 10)
	if ev.ID != "" {
		dst = appendString(dst, `,"id":`, ev.ID)
	}
	if ev.From != "" {
		dst = appendString(dst, `,"from":`, ev.From)
	}
	return dst
}

// AppendEmit is an event that the application sends to one connection:
// {"type":"event","event":"…","data":…}, without a room.
func AppendEmit(dst []byte, event string, data json.RawMessage) []byte {
	dst = appendString(append(dst, `{"type":"event"`...), `,"event":`, event)
	dst = appendRaw(append(dst, `,"data":`...), data)
	return append(dst, '}')
}

// AppendAuthExpiring warns that the credential ends:
// {"type":"auth_expiring","expiresAt":…,"expiresIn":…,"reason":"…"}, with the
// units of AppendAuthenticated.
func AppendAuthExpiring(dst []byte, expiresAt, expiresIn int64, reason string) []byte {
	dst = appendExpiry(append(dst, `{"type":"auth_expiring"`...), expiresAt, expiresIn)
	return append(appendString(dst, `,"reason":`, reason), '}')
}

// AppendAuthClosing goes before the close of a connection that was admitted:
// {"type":"auth_closing","code":"…","message":"…","retryAfter":…}, the last in
// seconds and left out where there is none.
func AppendAuthClosing(dst []byte, err *holdfast.Error) []byte {
	if err == nil {
		err = holdfast.Internal.New()
	}
	dst = appendRefusal(append(dst, `{"type":"auth_closing"`...), err)
	return append(appendRetryAfter(dst, err), '}')
}

// AppendRoomLeft tells that the right to a room was lost:
// {"type":"room_left","room":"…","code":"…","message":"…"}.
func AppendRoomLeft(dst []byte, room string, err *holdfast.Error) []byte {
	if err == nil {
		err = holdfast.Internal.New()
	}
	dst = appendString(append(dst, `{"type":"room_left"`...), `,"room":`, room)
	return append(appendRefusal(dst, err), '}')
}

// AppendPong answers a ping: {"type":"pong","ref":…}. ref is left out if it is
// nil.
func AppendPong(dst []byte, ref json.RawMessage) []byte {
	return append(appendRef(append(dst, `{"type":"pong"`...), ref), '}')
}

// Member is how a member of a room is shown to the others. Name and Data are
// left out if they are empty.
type Member struct {
	ID   string
	Name string
	Data json.RawMessage
}

// AppendUserJoined tells the other members of a room that a user came:
// {"type":"user_joined","room":"…","user":{"id":"…"},"viewers":…}. viewers
// counts users.
func AppendUserJoined(dst []byte, room string, user Member, viewers int) []byte {
	return appendPresence(append(dst, `{"type":"user_joined"`...), room, user, viewers)
}

// AppendUserLeft tells the other members of a room that a user went:
// {"type":"user_left","room":"…","user":{"id":"…"},"viewers":…}. viewers counts
// users.
func AppendUserLeft(dst []byte, room string, user Member, viewers int) []byte {
	return appendPresence(append(dst, `{"type":"user_left"`...), room, user, viewers)
}

// AppendUserTyping tells the other members of a room that a user types:
// {"type":"user_typing","room":"…","user":{"id":"…"}}.
func AppendUserTyping(dst []byte, room string, user Member) []byte {
	dst = appendString(append(dst, `{"type":"user_typing"`...), `,"room":`, room)
	return append(appendUser(dst, user), '}')
}

// AppendPresenceUpdated tells the other members of a room that what a user
// shows of himself changed:
// {"type":"presence_updated","room":"…","user":{"id":"…","data":…}}.
func AppendPresenceUpdated(dst []byte, room string, user Member) []byte {
	dst = appendString(append(dst, `{"type":"presence_updated"`...), `,"room":`, room)
	return append(appendUser(dst, user), '}')
}

// AppendPresencePaused tells the members of a room that it has too many users to
// tell of each: {"type":"presence_paused","room":"…","viewers":…}.
func AppendPresencePaused(dst []byte, room string, viewers int) []byte {
	return appendViewers(append(dst, `{"type":"presence_paused"`...), room, viewers)
}

// AppendPresenceResumed tells the members of a room that they know again of each
// user: {"type":"presence_resumed","room":"…","viewers":…}.
func AppendPresenceResumed(dst []byte, room string, viewers int) []byte {
	return appendViewers(append(dst, `{"type":"presence_resumed"`...), room, viewers)
}

func appendViewers(dst []byte, room string, viewers int) []byte {
	dst = append(appendString(dst, `,"room":`, room), `,"viewers":`...)
	return append(strconv.AppendInt(dst, int64(viewers), 10), '}')
}

// Signal is a signal as its receivers see it.
type Signal struct {
	Room  string
	Event string
	Data  json.RawMessage
	// Key and From are left out if they are empty.
	Key  string
	From string
}

// AppendSignal is a signal:
// {"type":"signal","room":"…","event":"…","data":…,"key":"…","from":"…"}.
func AppendSignal(dst []byte, s Signal) []byte {
	dst = appendString(append(dst, `{"type":"signal"`...), `,"room":`, s.Room)
	dst = appendString(dst, `,"event":`, s.Event)
	dst = appendRaw(append(dst, `,"data":`...), s.Data)
	if s.Key != "" {
		dst = appendString(dst, `,"key":`, s.Key)
	}
	if s.From != "" {
		dst = appendString(dst, `,"from":`, s.From)
	}
	return append(dst, '}')
}

func appendPresence(dst []byte, room string, user Member, viewers int) []byte {
	dst = appendUser(appendString(dst, `,"room":`, room), user)
	dst = strconv.AppendInt(append(dst, `,"viewers":`...), int64(viewers), 10)
	return append(dst, '}')
}

func appendUser(dst []byte, user Member) []byte {
	return appendMember(append(dst, ','), user)
}

func appendMember(dst []byte, user Member) []byte {
	dst = appendString(append(dst, `"user":{`...), `"id":`, user.ID)
	if user.Name != "" {
		dst = appendString(dst, `,"name":`, user.Name)
	}
	if len(user.Data) > 0 {
		dst = append(append(dst, `,"data":`...), user.Data...)
	}
	return append(dst, '}')
}

func appendExpiry(dst []byte, at, in int64) []byte {
	if at == 0 {
		return dst
	}
	dst = strconv.AppendInt(append(dst, `,"expiresAt":`...), at, 10)
	return strconv.AppendInt(append(dst, `,"expiresIn":`...), max(in, 0), 10)
}

func appendRefusal(dst []byte, err *holdfast.Error) []byte {
	dst = appendString(dst, `,"code":`, string(codeOf(err)))
	return appendString(dst, `,"message":`, err.PublicMessage())
}

// codeOf is the code to show: nothing but the codes of the table.
func codeOf(err *holdfast.Error) holdfast.Code {
	if err.Code.Known() {
		return err.Code
	}
	return holdfast.Internal
}

func appendRetryAfter(dst []byte, err *holdfast.Error) []byte {
	if seconds := err.RetryAfterSeconds(); seconds > 0 {
		dst = strconv.AppendInt(append(dst, `,"retryAfter":`...), seconds, 10)
	}
	return dst
}

func appendRef(dst []byte, ref json.RawMessage) []byte {
	if len(ref) == 0 {
		return dst
	}
	return append(append(dst, `,"ref":`...), ref...)
}

// appendString appends a member: its key, with what is before and behind it,
// and a string.
func appendString(dst []byte, key, value string) []byte {
	return jsonscan.AppendString(append(dst, key...), value)
}

func appendRaw(dst []byte, value json.RawMessage) []byte {
	if len(value) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, value...)
}
