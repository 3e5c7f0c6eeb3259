package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// mux lays out the server's routes.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(s.cfg.Path, s.origins.CORS(s.engine))
	if bare := strings.TrimSuffix(s.cfg.Path, "/"); bare != "" {
		// Some clients leave the slash out; a redirect would lose a POST.
		mux.Handle(bare, s.origins.CORS(s.engine))
	}
	mux.Handle(s.cfg.PlainPath, s.plain)
	mux.Handle(s.cfg.EventsPath, s.origins.CORS(s.streams, "Last-Event-ID"))
	mux.Handle(s.cfg.PollPath, s.origins.CORS(http.HandlerFunc(s.pollHTTP), "If-None-Match"))
	mux.Handle(s.cfg.TopicPath, s.topic)
	api := s.cfg.Prefix
	mux.Handle(api+"/rooms/{room}/events", s.origins.CORS(http.HandlerFunc(s.publishHTTP)))
	mux.Handle(api+"/rooms/{room}/history", s.origins.CORS(http.HandlerFunc(s.historyHTTP)))
	mux.Handle(api+"/rooms/{room}/presence", s.origins.CORS(http.HandlerFunc(s.presenceHTTP)))
	if s.cfg.Exchange != nil {
		mux.Handle(api+"/realtime/token", s.origins.CORS(http.HandlerFunc(s.exchangeHTTP)))
	}
	mux.HandleFunc(api+"/connections/close", s.closeHTTP)
	mux.HandleFunc(api+"/users/{id}/permissions/bump", s.bumpHTTP)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		httpjson.Write(w, http.StatusOK, health{Status: "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			httpjson.WriteError(w, r, holdfast.GoingAway.New())
			return
		}
		httpjson.Write(w, http.StatusOK, health{Status: "ready"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpjson.WriteError(w, r, holdfast.Errorf(holdfast.NotFound, "There is nothing at this path"))
	})
	return mux
}

type health struct {
	Status string `json:"status"`
}

// publishHTTP publishes from a backend: POST /api/rooms/{room}/events, by an
// API key with the scope "publish" for the room, or by a user's token with
// the right to publish there.
func (s *Server) publishHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.onlyPOST(w, r) {
		return
	}
	position, err := s.publishFrom(w, r)
	s.metrics.refused(atPublish, err)
	s.write(w, r, position, err)
}

func (s *Server) publishFrom(w http.ResponseWriter, r *http.Request) (holdfast.Position, error) {
	var none holdfast.Position
	if err := s.origins.Check(r); err != nil {
		return none, err
	}
	room := r.PathValue("room")
	if err := holdfast.CheckRoom(room); err != nil {
		return none, err
	}
	from, err := s.publisher(r, room)
	if err != nil {
		return none, err
	}
	var in struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
		ID    string          `json:"id"`
	}
	// The body may spell each byte of the data as \u0000, and has a little more.
	if err := httpjson.Decode(w, r, int64(6*s.cfg.MaxEventData+4096), &in); err != nil {
		return none, err
	}
	ctx := r.Context()
	if from == nil { // a backend
		ctx = s.callerTrace(r)
	}
	return s.publish(ctx, publication{
		event:    holdfast.Event{Room: room, Name: in.Event, Data: in.Data, ID: in.ID},
		identity: from,
	})
}

// publisher settles who publishes, with the right to: nil for a backend.
func (s *Server) publisher(r *http.Request, room string) (*holdfast.Identity, error) {
	identity, err := s.caller(r, auth.ScopePublish, room)
	if err != nil || identity == nil {
		return nil, err
	}
	return identity, mayPublish(identity, room)
}

// caller settles who calls about a room: nil for a backend, whose API key has
// the scope there. What a user may do there is still to be checked.
func (s *Server) caller(r *http.Request, scope auth.Scope, room string) (*holdfast.Identity, error) {
	key, err := s.apiKey(r)
	if err != nil {
		return nil, err
	}
	if key != nil {
		return nil, key.AllowRoom(scope, room)
	}
	return s.identify(r)
}

// apiKey returns the API key that a request carries; nil if it carries none.
func (s *Server) apiKey(r *http.Request) (*auth.APIKey, error) {
	token, err := auth.FromRequest(r).BearerToken()
	if err != nil {
		return nil, err
	}
	form := auth.IsAPIKey(token)
	if token == "" || s.cfg.APIKeys == nil && !form {
		return nil, nil
	}
	if s.cfg.APIKeys == nil {
		return nil, holdfast.Unauthenticated.New()
	}
	key, err := s.cfg.APIKeys.Verify(r.Context(), token)
	switch {
	case err == nil && r.Header.Get("Origin") != "":
		return nil, holdfast.Errorf(holdfast.OriginNotAllowed, "API keys are for backends: a page must not hold one")
	case !form && errors.Is(err, holdfast.Unauthenticated):
		return nil, nil // it may be a user's token
	}
	return key, err
}
