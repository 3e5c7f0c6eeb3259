package holdfasttest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/tokens"
)

const (
	// maxLifetime is the longest lifetime of a token, for tests of very long ones.
	maxLifetime = 200 * 365 * 24 * time.Hour
	// grace is how long a used refresh token is forgiven (docs/protocol.md §3).
	grace = 30 * time.Second
)

// issuer signs users in and renews their sessions, as docs/protocol.md §3 says.
// It lives over restarts of the server, and is the server's RevocationStore and
// BumpStore.
type issuer struct {
	cfg Config

	mu          sync.Mutex // guards what follows
	skew        time.Duration
	csrf        string
	sessions    map[string]*session // by their id
	refreshes   map[string]*session // by each refresh token that was ever theirs
	access      map[string]*issued  // by the text
	fresh       int                 // tokens of refreshes that will be refused; negative: all
	refusals    int                 // credentials that will be refused; negative: all
	refusal     holdfast.Code       // with this code
	bumps       map[string]auth.Bump
	revocations []auth.Revocation
}

// session is one login.
type session struct {
	id, user  string
	over      holdfast.Code // why it has ended; "" while it goes on
	refresh   string        // the one to be used next
	previous  string        // the one before, forgiven for some time
	rotated   time.Time
	confirmed bool // the present one has been used
}

// issued is an access token.
type issued struct {
	serial  int
	inner   string // the same token by this process's clock
	session *session
	refused holdfast.Code // "" while it is good
}

func newIssuer(cfg Config) *issuer {
	return &issuer{
		cfg: cfg, sessions: make(map[string]*session), refreshes: make(map[string]*session),
		access: make(map[string]*issued), bumps: make(map[string]auth.Bump), csrf: rand.Text(),
	}
}

// makeKeys makes the key that signs, and who verifies.
func (s *Server) makeKeys() error {
	rooms := holdfast.MustRoomList("**")
	cfg := auth.JWTConfig{DefaultRooms: &rooms, MaxLifetime: maxLifetime}
	if s.cfg.PublicKey {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		s.key = auth.SigningKey{ID: "test", Private: private}
		cfg.Keys = []auth.Key{{ID: "test", Algorithms: []auth.Algorithm{auth.EdDSA}, Public: public}}
	} else {
		s.Secret = []byte(rand.Text() + rand.Text())
		s.key = auth.SigningKey{Secret: s.Secret}
		cfg.Secret = s.Secret
	}
	var err error
	s.verifier, err = auth.NewJWT(cfg)
	return err
}

// SignIn makes a session of a user, whom nobody has to know before, without a
// call: what a sign-in form would get.
func (s *Server) SignIn(user string) tokens.Session {
	reply, err := s.signIn(user)
	if err != nil {
		panic(err) // a user without a name, or claims that can't be signed
	}
	out := tokens.Session{
		Access: reply.AccessToken, Refresh: reply.RefreshToken, User: *reply.User, SessionID: reply.SessionID,
		Lifetime: time.Duration(reply.ExpiresIn) * time.Second,
	}
	if reply.ExpiresAt > 0 {
		out.Expires = time.UnixMilli(reply.ExpiresAt)
	}
	return out
}

// Issue makes an access token of any claims that belongs to no session. User is
// required; what is zero is as with auth.Mint. It panics on claims that can't
// be signed.
func (s *Server) Issue(c auth.Claims) string {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	text, err := s.mintLocked(c, nil)
	if err != nil {
		panic(err)
	}
	return text
}

// Serial returns which token a text is, counted from 1 in the order in which
// they were made; 0 for none of this server's.
func (s *Server) Serial(access string) int {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	if t := s.issuer.access[access]; t != nil {
		return t.serial
	}
	return 0
}

// reply is the answer to a sign-in or a refresh.
type reply struct {
	User         *holdfast.User `json:"user,omitempty"`
	AccessToken  string         `json:"accessToken"`
	RefreshToken string         `json:"refreshToken,omitempty"`
	SessionID    string         `json:"sessionId"`
	ExpiresIn    int64          `json:"expiresIn,omitempty"`
	ExpiresAt    int64          `json:"expiresAt,omitempty"`
}

func (s *Server) signIn(user string) (*reply, error) {
	i := s.issuer
	i.mu.Lock()
	defer i.mu.Unlock()
	n := &session{id: "s_" + rand.Text(), user: user, refresh: rand.Text()}
	out, err := s.replyLocked(n)
	if err != nil {
		return nil, err
	}
	i.sessions[n.id], i.refreshes[n.refresh] = n, n
	out.RefreshToken = n.refresh
	c := s.claims(user)
	out.User = &holdfast.User{ID: user, Name: c.Name, Email: c.Email, Roles: c.Roles}
	return out, nil
}

func (s *Server) claims(user string) auth.Claims {
	if s.cfg.Claims == nil {
		return auth.Claims{}
	}
	return s.cfg.Claims(user)
}

// replyLocked makes a token of a session, and says all about it but its refresh
// token.
func (s *Server) replyLocked(n *session) (*reply, error) {
	c := s.claims(n.user)
	now := time.Now()
	c.User, c.Session, c.IssuedAt, c.Expires = n.user, n.id, now, now.Add(s.cfg.Lifetime)
	if b, ok := s.issuer.bumps[n.user]; ok {
		c.PermissionVersion = &b.Version
	}
	text, err := s.mintLocked(c, n)
	if err != nil {
		return nil, err
	}
	out := &reply{AccessToken: text, SessionID: n.id}
	if !s.cfg.NoExpiry {
		out.ExpiresIn = int64(s.cfg.Lifetime / time.Second)
		out.ExpiresAt = c.Expires.Add(s.issuer.skew).UnixMilli()
	}
	return out, nil
}

// mintLocked signs a token and remembers it. The server's clock may be wrong;
// inner is the token as it would be if it weren't, which is what is verified.
func (s *Server) mintLocked(c auth.Claims, n *session) (string, error) {
	i := s.issuer
	if c.IssuedAt.IsZero() {
		c.IssuedAt = time.Now()
	}
	if c.Expires.IsZero() {
		c.Expires = c.IssuedAt.Add(s.cfg.Lifetime)
	}
	inner, err := auth.Mint(s.key, c)
	if err != nil {
		return "", fmt.Errorf("holdfasttest: %w", err)
	}
	text := inner
	switch {
	case s.cfg.Opaque:
		text = "opaque-" + rand.Text()
	case i.skew != 0:
		c.IssuedAt, c.Expires = c.IssuedAt.Add(i.skew), c.Expires.Add(i.skew)
		if text, err = auth.Mint(s.key, c); err != nil {
			return "", fmt.Errorf("holdfasttest: %w", err)
		}
	}
	i.access[text] = &issued{serial: len(i.access) + 1, inner: inner, session: n}
	return text, nil
}

// authenticate is the real server's Authenticator: what the issuer has made,
// unless it is to be refused, is verified as a real token.
func (s *Server) authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	text, err := c.BearerToken()
	if err != nil {
		return nil, err
	}
	i := s.issuer
	i.mu.Lock()
	t := i.access[text]
	var refused holdfast.Code
	switch {
	case i.refusals != 0:
		refused = i.refusal
		i.refusals--
	case text == "":
		refused = holdfast.Unauthenticated
	case t != nil:
		refused, text = t.refused, t.inner
	}
	i.mu.Unlock()
	if refused != "" {
		return nil, refused.New()
	}
	return s.verifier.Verify(ctx, text)
}

// renew is what a refresh does with a refresh token. died is the id of a session
// that has just ended because of it.
func (s *Server) renew(refresh string) (out *reply, died string, err error) {
	i := s.issuer
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.refreshes[refresh]
	switch {
	case n == nil:
		return nil, "", holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: unknown refresh token")
	case n.over != "":
		return nil, "", n.over.New()
	case refresh == n.refresh:
		if !s.cfg.KeepRefresh {
			n.previous, n.refresh, n.rotated = refresh, rand.Text(), time.Now()
			i.refreshes[n.refresh] = n
		}
		n.confirmed = false
	case refresh == n.previous && !n.confirmed && time.Since(n.rotated) <= grace:
		// The answer was lost, or two tabs were at it: the same successor.
	default:
		n.over = holdfast.RefreshReused
		return nil, n.id, n.over.New()
	}
	if out, err = s.replyLocked(n); err != nil {
		return nil, "", err
	}
	if i.fresh != 0 {
		i.fresh--
		i.access[out.AccessToken].refused = holdfast.Unauthenticated
	}
	if !s.cfg.KeepRefresh {
		out.RefreshToken = n.refresh
	}
	return out, "", nil
}

// end ends sessions: those of a user, or one by its id, or the one that a
// refresh or access token belongs to. It returns the ids of those it found.
func (i *issuer) end(code holdfast.Code, match func(*session) bool) (ids []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range i.sessions {
		if n.over == "" && match(n) {
			n.over = code
			ids = append(ids, n.id)
		}
	}
	return ids
}

// SaveRevocation implements auth.RevocationStore.
func (i *issuer) SaveRevocation(_ context.Context, r auth.Revocation) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revocations = append(i.revocations, r)
	return nil
}

// Revocations implements auth.RevocationStore.
func (i *issuer) Revocations(context.Context) ([]auth.Revocation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]auth.Revocation(nil), i.revocations...), nil
}

// BumpPermissions implements auth.BumpStore.
func (i *issuer) BumpPermissions(_ context.Context, user string) (auth.Bump, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	b := auth.Bump{User: user, Version: i.bumps[user].Version + 1, At: time.Now()}
	i.bumps[user] = b
	return b, nil
}

// Bumps implements auth.BumpStore.
func (i *issuer) Bumps(_ context.Context, since time.Time) (all []auth.Bump, _ error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, b := range i.bumps {
		if !b.At.Before(since) {
			all = append(all, b)
		}
	}
	return all, nil
}

var errNoUser = errors.New("holdfasttest: there is no session of that user")

// Revoke ends all sessions of a user, as an administrator would: refreshes and
// tokens are answered SESSION_REVOKED, and open connections are closed with it.
// The error is the real server's, or that the user has no session.
func (s *Server) Revoke(user string) error {
	return s.over(holdfast.SessionRevoked, func(n *session) bool { return n.user == user })
}

// RevokeSession is Revoke for one session, by its public id.
func (s *Server) RevokeSession(id string) error {
	return s.over(holdfast.SessionRevoked, func(n *session) bool { return n.id == id })
}

func (s *Server) over(code holdfast.Code, match func(*session) bool) error {
	ids := s.issuer.end(code, match)
	if len(ids) == 0 {
		return errNoUser
	}
	var err error
	for _, id := range ids {
		err = errors.Join(err, s.Server().Revoke(context.Background(), auth.Revocation{Session: id}))
	}
	return err
}

// Bump says that a user's permissions have changed: his tokens are answered
// PERMISSION_VERSION_STALE, and open connections have 30 s for a refresh.
func (s *Server) Bump(user string) error {
	_, err := s.Server().BumpPermissions(context.Background(), user)
	return err
}
