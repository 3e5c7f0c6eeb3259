package server

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// What /events and /poll share: requests that name rooms and a cursor.

// roomsOf returns the rooms that a request names, each once, in the order in
// which it names them.
func (s *Server) roomsOf(query url.Values) ([]string, error) {
	limit := min(s.cfg.RoomsPerConnection, maxCursorRooms)
	var rooms []string
	seen := make(map[roomKey]string)
	for _, room := range query["room"] {
		key := keyOf(room)
		other, ok := seen[key]
		if ok && other == room {
			continue
		}
		if len(rooms) == limit {
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "a request may name %d rooms", limit)
		}
		if err := holdfast.CheckRoom(room); err != nil {
			return nil, err
		}
		if ok { // made for it, by somebody with much patience
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "two of the rooms can't be listened to at once")
		}
		seen[key] = room
		rooms = append(rooms, room)
	}
	if len(rooms) == 0 {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "the request names no room: ?room=…")
	}
	return rooms, nil
}

// places returns where a reader with a cursor stands in rooms, which have been
// checked. Where the cursor says nothing of a room, that is now.
func (s *Server) places(ctx context.Context, rooms []string, marks map[roomKey]mark) ([]place, error) {
	places := make([]place, len(rooms))
	for i, room := range rooms {
		p := place{room: room, key: keyOf(room)}
		m, ok := marks[p.key]
		if ok && m.epoch != "" {
			p.position = holdfast.Position{Epoch: m.epoch, Offset: m.offset}
			places[i] = p
			continue
		}
		now, err := s.hub.History(ctx, room, nil, 1)
		if err != nil {
			return nil, err
		}
		p.position = now.Position
		switch {
		case !ok:
			p.fresh = true
		case m.tag == tagOf(now.Position.Epoch):
			p.position.Offset = m.offset
		default:
			p.reset = true
		}
		places[i] = p
	}
	return places, nil
}

// identifyListener is identify for a request that only listens, which may
// carry its token in the query where that is allowed.
func (s *Server) identifyListener(r *http.Request) (*holdfast.Identity, error) {
	credential := auth.FromRequest(r)
	credential.Header = s.credentialHeader(r.Header)
	if s.cfg.AllowQueryToken && !s.hasSession(credential.Header) { // the cookie comes first
		credential = credential.WithQueryToken(r.URL.Query().Get("token"))
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.AuthTimeout)
	defer cancel()
	identity, err := s.cfg.Authenticator.Authenticate(ctx, credential)
	if err != nil {
		return nil, err
	}
	if identity, err = s.valid(identity); err != nil {
		return nil, err
	}
	if s.expired(identity) {
		return nil, holdfast.TokenExpired.New()
	}
	return identity, nil
}

// expired reports whether a connection can't be held by identity any more.
func (s *Server) expired(identity *holdfast.Identity) bool {
	return !identity.Expires.IsZero() && !time.Now().Before(identity.Expires.Add(s.cfg.Leeway))
}

// onlyGET answers every other method.
func (s *Server) onlyGET(w http.ResponseWriter, r *http.Request) bool {
	return s.only(http.MethodGet, w, r)
}
