package server

import (
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// maxAdminBody bounds the body of the calls below, in bytes.
const maxAdminBody = 4096

// closeHTTP is POST /api/connections/close {user | session | connection | jti, code?}.
func (s *Server) closeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.onlyPOST(w, r) {
		return
	}
	var in struct {
		User       string        `json:"user"`
		Session    string        `json:"session"`
		Connection string        `json:"connection"`
		TokenID    string        `json:"jti"`
		Code       holdfast.Code `json:"code"`
	}
	err := s.backend(r, auth.ScopeClose)
	if err == nil {
		err = httpjson.Decode(w, r, maxAdminBody, &in)
	}
	switch {
	case err != nil:
	case in.Connection == "":
		err = s.Revoke(r.Context(), auth.Revocation{User: in.User, Session: in.Session, TokenID: in.TokenID, Code: in.Code})
	case in.User+in.Session+in.TokenID != "":
		err = holdfast.Errorf(holdfast.InvalidArgument, "exactly one of user, session, connection and jti says what is closed")
	default:
		err = s.CloseConnection(in.Connection, in.Code)
	}
	s.answer(w, r, struct{}{}, err)
}

// bumpHTTP is POST /api/users/{id}/permissions/bump.
func (s *Server) bumpHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.onlyPOST(w, r) {
		return
	}
	err := s.backend(r, auth.ScopeBump)
	var b auth.Bump
	if err == nil {
		b, err = s.BumpPermissions(r.Context(), r.PathValue("id"))
	}
	s.answer(w, r, struct {
		Version int64 `json:"version"`
	}{b.Version}, err)
}

// backend demands an API key with a scope: these calls take nothing else.
func (s *Server) backend(r *http.Request, scope auth.Scope) error {
	if err := s.origins.Check(r); err != nil {
		return err
	}
	key, err := s.apiKey(r)
	if err != nil {
		return err
	}
	if key == nil {
		return holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: this call needs an API key")
	}
	return key.Allow(scope)
}

// answer answers a call and counts a refusal.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	s.metrics.refused(atHTTP, err)
	s.write(w, r, v, err)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		s.failed(r, err)
		httpjson.WriteError(w, r, err)
		return
	}
	_ = httpjson.Write(w, http.StatusOK, v) // a client that has gone
}

// failed logs a fault of the server's own.
func (s *Server) failed(r *http.Request, err error) {
	if e := holdfast.AsError(err); e.Code == holdfast.Internal {
		s.log.Error("request failed", "path", r.URL.Path, "requestId", httpjson.RequestID(r), "err", e.Err)
	}
}
