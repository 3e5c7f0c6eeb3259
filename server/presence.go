package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

var (
	_ hub.NoticeEncoder = roomEncoder{}
	_ hub.NoticeEncoder = plainEncoder{}
)

// EncodeNotice makes ["presence:join", {room,user}] and its like of a notice,
// and [event, data, {room,from,key}] of a signal: what has no position in the
// room has neither epoch nor offset.
func (e roomEncoder) EncodeNotice(n *hub.Notice) *hub.Frame {
	text := make([]byte, 0, len(n.Data)+len(n.User.Data)+len(n.Room)+len(e.namespace)+192)
	text = append(text, '4', '2')
	if e.namespace != "/" {
		text = append(text, e.namespace...)
		text = append(text, ',')
	}
	text = append(text, '[')
	if n.Kind == hub.NoticeSignal {
		text = appendSignal(text, n)
		return transport.NewFrame(append(text, '}', ']'))
	}
	text = append(text, noticeEvent(n.Kind)...)
	text = append(text, `,{"room":`...)
	text = jsonscan.AppendString(text, n.Room)
	if n.Kind == hub.NoticePaused || n.Kind == hub.NoticeResumed {
		text = strconv.AppendInt(append(text, `,"viewers":`...), int64(n.Viewers), 10)
		return transport.NewFrame(append(text, '}', ']'))
	}
	text = append(text, `,"user":{"id":`...)
	text = jsonscan.AppendString(text, n.User.ID)
	if n.User.Name != "" {
		text = append(text, `,"name":`...)
		text = jsonscan.AppendString(text, n.User.Name)
	}
	if len(n.User.Data) > 0 {
		text = append(text, `,"data":`...)
		text = append(text, n.User.Data...)
	}
	return transport.NewFrame(append(text, '}', '}', ']'))
}

// noticeEvent is the name, quoted, of the event that a notice is but for
// signals.
func noticeEvent(kind hub.NoticeKind) string {
	switch kind {
	case hub.NoticeJoin:
		return `"presence:join"`
	case hub.NoticeLeave:
		return `"presence:leave"`
	case hub.NoticeUpdate:
		return `"presence:update"`
	case hub.NoticePaused:
		return `"presence:paused"`
	case hub.NoticeResumed:
		return `"presence:resumed"`
	}
	return `"user_typing"`
}

func appendSignal(text []byte, n *hub.Notice) []byte {
	text = jsonscan.AppendString(text, n.Event)
	text = append(text, ',')
	if len(n.Data) == 0 {
		text = append(text, "null"...)
	} else {
		text = append(text, n.Data...)
	}
	text = append(text, `,{"room":`...)
	text = jsonscan.AppendString(text, n.Room)
	if n.User.ID != "" {
		text = append(text, `,"from":`...)
		text = jsonscan.AppendString(text, n.User.ID)
	}
	if n.Key != "" {
		text = append(text, `,"key":`...)
		text = jsonscan.AppendString(text, n.Key)
	}
	return text
}

// EncodeNotice makes a message of a notice.
func (plainEncoder) EncodeNotice(n *hub.Notice) *hub.Frame {
	user := jsonws.Member{ID: n.User.ID, Name: n.User.Name, Data: n.User.Data}
	text := make([]byte, 0, len(n.Data)+len(user.Data)+len(n.Room)+192)
	switch n.Kind {
	case hub.NoticeJoin:
		text = jsonws.AppendUserJoined(text, n.Room, user, n.Viewers)
	case hub.NoticeLeave:
		text = jsonws.AppendUserLeft(text, n.Room, user, n.Viewers)
	case hub.NoticeUpdate:
		text = jsonws.AppendPresenceUpdated(text, n.Room, user)
	case hub.NoticePaused:
		text = jsonws.AppendPresencePaused(text, n.Room, n.Viewers)
	case hub.NoticeResumed:
		text = jsonws.AppendPresenceResumed(text, n.Room, n.Viewers)
	case hub.NoticeTyping:
		text = jsonws.AppendUserTyping(text, n.Room, user)
	default:
		text = jsonws.AppendSignal(text, signalOf(n))
	}
	return transport.NewTextFrame(text)
}

// signalOf is the signal of which a notice tells.
func signalOf(n *hub.Notice) jsonws.Signal {
	return jsonws.Signal{Room: n.Room, Event: n.Event, Data: n.Data, Key: n.Key, From: n.User.ID}
}

func (c *Conn) signal(ctx context.Context, cmd command) error {
	if err := cmd.noBinary(); err != nil {
		return err
	}
	return c.session.Signal(ctx, hub.Signal{Room: cmd.Room, Event: cmd.Event, Data: cmd.Data, Key: cmd.Key})
}

// noBinary refuses the binary parts of a command that takes none.
func (cmd command) noBinary() error {
	if len(cmd.attachments) > 0 {
		return holdfast.Errorf(holdfast.InvalidArgument, "%s takes no binary parts", cmd.name)
	}
	return nil
}

// presenceHTTP tells who is in a room: GET /api/rooms/{room}/presence, by an
// API key with the scope "read" for the room, or by the credential of a user
// with the right to presence there. Where they are too many, the list has the
// first of them.
func (s *Server) presenceHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD", "Only GET does anything here")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	room := r.PathValue("room")
	err := s.maySeePresence(r, room)
	var out struct {
		Members []hub.Member `json:"members"`
		Viewers int          `json:"viewers"`
	}
	if err == nil {
		out.Members, out.Viewers, err = s.hub.FirstMembers(r.Context(), room)
	}
	s.answer(w, r, out, err)
}

// maySeePresence reports why a request may not see who is in a room.
func (s *Server) maySeePresence(r *http.Request, room string) error {
	if err := holdfast.CheckRoom(room); err != nil {
		return err
	}
	identity, err := s.caller(r, auth.ScopeRead, room)
	if err != nil || identity == nil {
		return err
	}
	if !identity.Permissions.Room(room).Has(holdfast.VerbPresence) {
		return holdfast.Errorf(holdfast.Forbidden, "Not allowed to see who is in this room")
	}
	// Whom the application keeps out of the room is not told who is in it.
	return s.askJoin(r.Context(), s.hooks.load(), &Join{Identity: identity, Room: room})
}
