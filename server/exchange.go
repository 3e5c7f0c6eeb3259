package server

import (
	"context"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// exchangeHTTP is POST /api/realtime/token: a cookie session for an access
// token. It takes no CSRF token, and so no page of another origin.
func (s *Server) exchangeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !s.onlyPOST(w, r) {
		return
	}
	token, err := s.exchange(r)
	s.answer(w, r, token, err)
}

func (s *Server) exchange(r *http.Request) (auth.AccessToken, error) {
	if err := s.origins.Check(r); err != nil {
		return auth.AccessToken{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.AuthTimeout)
	defer cancel()
	credential := auth.FromRequest(r)
	credential.Header = s.credentialHeader(r.Header)
	identity, err := s.cfg.Exchange.Identify(ctx, credential)
	if err == nil {
		identity, err = s.valid(identity)
	}
	if err != nil {
		return auth.AccessToken{}, err
	}
	return s.cfg.Exchange.Mint(identity)
}

// onlyPOST answers every other method.
func (s *Server) onlyPOST(w http.ResponseWriter, r *http.Request) bool {
	return s.only(http.MethodPost, w, r)
}

// only answers requests of another method.
func (s *Server) only(method string, w http.ResponseWriter, r *http.Request) bool {
	if r.Method == method {
		return true
	}
	notAllowed(w, method, "Only "+method+" does anything here")
	return false
}

// notAllowed answers a call by another method than it has.
func notAllowed(w http.ResponseWriter, allow, message string) {
	w.Header().Set("Allow", allow)
	_ = httpjson.Write(w, http.StatusMethodNotAllowed, struct {
		Error string        `json:"error"`
		Code  holdfast.Code `json:"code"`
	}{message, holdfast.InvalidArgument})
}
