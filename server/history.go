package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// readTimeout bounds what one request reads of histories.
const readTimeout = 10 * time.Second

// Limits of one reading of history over HTTP.
const (
	defaultHistory = 100
	maxHistory     = 1000
	historyBytes   = 4 << 20 // of events; the rest comes with the next reading
)

// historyHTTP is GET /api/rooms/{room}/history?since=EPOCH:OFFSET&limit=N, by
// an API key with the scope "read" for the room, or by a user's token or
// cookie with the right to hear what is said there.
func (s *Server) historyHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !s.onlyGET(w, r) {
		return
	}
	body, err := s.readHistory(r)
	if err != nil {
		s.answer(w, r, nil, err)
		return
	}
	httpjson.WriteEncoded(w, http.StatusOK, body)
}

func (s *Server) readHistory(r *http.Request) ([]byte, error) {
	room := r.PathValue("room")
	if err := holdfast.CheckRoom(room); err != nil {
		return nil, err
	}
	if err := s.mayRead(r, room); err != nil {
		return nil, err
	}
	since, limit, err := parseHistoryQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	history, err := s.hub.History(ctx, room, since, limit)
	if err != nil {
		return nil, err
	}
	return appendHistory(nil, history, since == nil, limit), nil
}

// mayRead settles whether the caller may read what was said in a room.
func (s *Server) mayRead(r *http.Request, room string) error {
	identity, err := s.caller(r, auth.ScopeRead, room)
	if err != nil || identity == nil {
		return err
	}
	return s.mayJoin(r.Context(), &Join{Identity: identity, Room: room})
}

func parseHistoryQuery(raw string) (since *holdfast.Position, limit int, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, 0, holdfast.Errorf(holdfast.InvalidArgument, "the query can't be read")
	}
	if text := query.Get("since"); text != "" {
		position, err := parsePosition(text)
		if err != nil {
			return nil, 0, err
		}
		since = &position
	}
	limit = defaultHistory
	if text := query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if n == 0 || err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, 0, holdfast.Errorf(holdfast.InvalidArgument, "limit is a number, 1 or more")
		}
		limit = int(min(n, maxHistory))
	}
	return since, limit, nil
}

// parsePosition reads EPOCH:OFFSET, with the offset in its shortest form.
func parsePosition(text string) (holdfast.Position, error) {
	epoch, digits, ok := strings.Cut(text, ":")
	offset, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || strconv.FormatUint(offset, 10) != digits {
		return holdfast.Position{}, holdfast.Errorf(holdfast.InvalidArgument, "since is EPOCH:OFFSET")
	}
	position := holdfast.Position{Epoch: epoch, Offset: offset}
	return position, position.Check()
}

// appendHistory appends {"events":[…],"epoch":"…","offset":…,"recovered":…}. The
// position is that of the last event if there may be more after it.
func appendHistory(dst []byte, h hub.History, newest bool, limit int) []byte {
	var frames []*hub.Frame
	events, bytes := h.Events, 0
	position := h.Position
	if !newest && len(events) >= limit {
		position = events[len(events)-1].Position
	}
	for i := range events {
		ev := events[i]
		if newest { // those that don't fit are the oldest
			ev = events[len(events)-1-i]
		}
		f := pollEncoder{}.Encode(ev)
		if f == nil {
			continue
		}
		if bytes += len(f.Text); bytes > historyBytes && len(frames) > 0 {
			if !newest {
				position = events[i-1].Position
			}
			break
		}
		frames = append(frames, f)
	}
	dst = append(dst, `{"events":[`...)
	for i := range frames {
		f := frames[i]
		if newest {
			f = frames[len(frames)-1-i]
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.Text...)
	}
	dst = append(dst, `],"epoch":`...)
	dst = jsonscan.AppendString(dst, position.Epoch)
	dst = strconv.AppendUint(append(dst, `,"offset":`...), position.Offset, 10)
	dst = strconv.AppendBool(append(dst, `,"recovered":`...), h.Recovered)
	return append(dst, '}')
}
