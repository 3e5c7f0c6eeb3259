package server

import (
	"context"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// Require protects an application's own routes: a request without a valid
// credential is answered 401, with the code that tells the client whether to
// refresh; any other goes on to next with the identity in its context
// (holdfast.IdentityFrom). What the identity may do is next's to check.
func (s *Server) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.origins.Check(r); err != nil {
			s.metrics.refused(atHTTP, err)
			httpjson.WriteError(w, r, err)
			return
		}
		identity, err := s.identify(r)
		if err != nil {
			s.metrics.refused(atHTTP, err)
			httpjson.WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(holdfast.WithIdentity(r.Context(), identity)))
	})
}

// WriteError refuses a request of an application's own routes in the form of the
// server's own calls (docs/protocol.md §2), so that clients know by the code what
// to do: its status, its headers and a JSON body. An error that is no
// *holdfast.Error is INTERNAL, and of an INTERNAL error a client is shown the
// standard sentence and the request's id alone; that id is then in w's header
// X-Request-Id, for a line in the log. It writes the whole answer: call it
// before anything else is written, once. It is safe for concurrent use with
// different requests.
func WriteError(w http.ResponseWriter, r *http.Request, err error) { httpjson.WriteError(w, r, err) }

// identify makes the credential of a request an identity.
func (s *Server) identify(r *http.Request) (*holdfast.Identity, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.AuthTimeout)
	defer cancel()
	credential := auth.FromRequest(r)
	credential.Header = s.credentialHeader(r.Header)
	identity, err := s.cfg.Authenticator.Authenticate(ctx, credential)
	if err != nil {
		return nil, err
	}
	return s.valid(identity)
}

// valid returns identity, which a credential has proved, unless it was taken
// back since.
func (s *Server) valid(identity *holdfast.Identity) (*holdfast.Identity, error) {
	if identity == nil {
		return nil, holdfast.Unauthenticated.New()
	}
	if err := s.ledger.check(identity); err != nil {
		return nil, err
	}
	return identity, nil
}
