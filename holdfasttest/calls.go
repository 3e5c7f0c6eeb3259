package holdfasttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/tokens"
)

// Paths of the issuer's calls, and of the endpoints for connections. Any is
// none of them: in the methods that take a path it stands for all.
const (
	Any     = ""
	SignIn  = "/api/auth/sign-in"
	SignOut = "/api/auth/sign-out"
	Refresh = "/api/auth/refresh"
	CSRF    = "/api/auth/csrf"
	JWKS    = "/.well-known/jwks.json"
	Sockets = "/socket.io/"
)

// maxBody bounds the bodies of the issuer's calls.
const maxBody = 16 << 10

// routes lays out the issuer's calls; what the application adds goes beside
// them, and all else to the real server.
func (s *Server) routes() {
	s.mux.HandleFunc("POST "+SignIn, s.signInHTTP)
	s.mux.HandleFunc("POST "+Refresh, s.refreshHTTP)
	s.mux.HandleFunc("POST "+SignOut, s.signOutHTTP)
	s.mux.HandleFunc("GET "+CSRF, s.csrfHTTP)
	if s.cfg.PublicKey {
		s.mux.HandleFunc("GET "+JWKS, s.jwksHTTP)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.Server().ServeHTTP(w, r) })
}

// Endpoint renews sessions here, and ends them: what a tokens.Manager needs.
//
//	m, err := tokens.NewManager(tokens.Config{Refresh: e.Refresh, SignOut: e.SignOut})
func (s *Server) Endpoint() *tokens.Endpoint {
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{
		URL: s.URL + Refresh, SignOutURL: s.URL + SignOut, HTTPClient: s.Client(),
	})
	if err != nil {
		panic(err) // both URLs are this package's own
	}
	return e
}

// signInHTTP takes {email, password}: the email is the user's id.
func (s *Server) signInHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	err := httpjson.Decode(w, r, maxBody, &in)
	if err == nil && (in.Email == "" || s.cfg.Password != "" && in.Password != s.cfg.Password) {
		err = holdfast.InvalidCredentials.New()
	}
	var out *reply
	if err == nil {
		out, err = s.signIn(in.Email)
	}
	answer(w, r, out, err)
}

func (s *Server) refreshHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	if err := httpjson.Decode(w, r, maxBody, &in); err != nil {
		answer(w, r, nil, holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: there is no refresh token: %w", err))
		return
	}
	out, died, err := s.renew(in.RefreshToken)
	if died != "" {
		err = errors.Join(err, s.Server().Revoke(r.Context(), auth.Revocation{Session: died}))
	}
	answer(w, r, out, err)
}

// signOutHTTP ends the session of the access token, or of the refresh token in
// the body.
func (s *Server) signOutHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	_ = httpjson.Decode(w, r, maxBody, &in) // the body may be missing
	access, _ := auth.FromRequest(r).BearerToken()
	i := s.issuer
	i.mu.Lock()
	n := i.refreshes[in.RefreshToken]
	if t := i.access[access]; t != nil && n == nil {
		n = t.session
	}
	i.mu.Unlock()
	if n == nil {
		answer(w, r, nil, holdfast.Unauthenticated.New())
		return
	}
	err := s.over(holdfast.SessionRevoked, func(other *session) bool { return other == n })
	if errors.Is(err, errNoUser) {
		err = nil // it had ended already
	}
	answer(w, r, nil, err)
}

// answer writes a reply, {} for none, or an error.
func answer(w http.ResponseWriter, r *http.Request, out *reply, err error) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case err != nil:
		httpjson.WriteError(w, r, err)
	case out == nil:
		_ = httpjson.Write(w, http.StatusOK, struct{}{})
	default:
		_ = httpjson.Write(w, http.StatusOK, out)
	}
}

func (s *Server) jwksHTTP(w http.ResponseWriter, _ *http.Request) {
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		Kid string `json:"kid"`
		Alg string `json:"alg"`
		Use string `json:"use"`
		X   string `json:"x"`
	}
	public, _ := s.key.Private.Public().(ed25519.PublicKey)
	_ = httpjson.Write(w, http.StatusOK, struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{{"OKP", "Ed25519", s.key.ID, "EdDSA", "sig", base64.RawURLEncoding.EncodeToString(public)}}})
}

// csrfHTTP gives the CSRF token, by the ways of Config.CSRF.
func (s *Server) csrfHTTP(w http.ResponseWriter, _ *http.Request) {
	s.issuer.mu.Lock()
	token := s.issuer.csrf
	s.issuer.mu.Unlock()
	by := func(way string) bool { return s.cfg.CSRF == "" || s.cfg.CSRF == way }
	if by("header") {
		w.Header().Set("X-CSRF-Token", token)
	}
	if by("cookie") {
		http.SetCookie(w, &http.Cookie{Name: "csrf-token", Value: token, Path: "/", SameSite: http.SameSiteLaxMode})
	}
	w.Header().Set("Cache-Control", "no-store")
	out := map[string]string{}
	if by("body") {
		out["csrfToken"] = token
	}
	_ = httpjson.Write(w, http.StatusOK, out)
}

// ForgetCSRF makes a new CSRF token: the old one is answered CSRF_MISMATCH.
func (s *Server) ForgetCSRF() {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.csrf = rand.Text()
}

// guarded reports whether a request lacks the CSRF token that it needs, as those
// do whose credential the browser sends by itself.
func (s *Server) guarded(r *http.Request) bool {
	if s.cfg.CSRF == "" || r.Header.Get("Authorization") != "" || r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions ||
		strings.HasPrefix(r.URL.Path, "/api/auth/") || s.handshake(r) || r.URL.Query().Has("sid") {
		return false
	}
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return r.Header.Get("X-CSRF-Token") != s.issuer.csrf
}
