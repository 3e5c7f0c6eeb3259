package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// maxForwardedCookies bounds what is passed on of a Cookie header, in bytes.
const maxForwardedCookies = 16 << 10

// BetterAuthConfig says where Better Auth is. URL and DefaultRooms must be set.
type BetterAuthConfig struct {
	// URL is Better Auth's baseURL as this process reaches it, such as
	// "https://app.example.com" or "http://10.0.0.7:3000".
	URL string
	// BasePath is where its API is mounted: "/api/auth".
	BasePath string
	// CookiePrefixes say which of the caller's cookies are Better Auth's, and
	// passed on to it: those whose name, without __Secure- or __Host-, begins
	// with one of them. Default: "better-auth", which is its own default
	// (advanced.cookiePrefix). Other cookies stay here.
	CookiePrefixes []string
	// DefaultRooms are the rooms of a session. It must be set, since Better
	// Auth does not know of rooms: nil is an error.
	DefaultRooms *holdfast.RoomPermissions
	// Extend adds what is to be known of the user besides: roles, actions,
	// other rooms. It may change the Identity, which nobody has seen yet. An
	// error refuses the session: INTERNAL, unless it is a *holdfast.Error.
	// Nil: nothing is added.
	Extend func(ctx context.Context, id *holdfast.Identity, s BetterAuthSession) error
	// TrustedProxies are the networks (10.0.0.0/8) and addresses whose
	// X-Forwarded-For counts, as in server.Config. The caller's address that
	// comes of it is all that Better Auth gets in X-Forwarded-For: it limits
	// rates by it.
	TrustedProxies []string

	// Timeout bounds one question, waiting for its turn included; default
	// DefaultUpstreamTimeout.
	Timeout time.Duration
	// Parallel is how many questions are asked at once; default
	// DefaultUpstreamParallel. Sixteen times as many may wait.
	Parallel int
	// HTTPClient asks; nil: one of its own. Its cookie jar is not used, and
	// redirects are followed within URL's origin only, whatever it says.
	HTTPClient *http.Client
	// Logger is told when Better Auth gives no answer, at most every 10
	// seconds; nil: nobody is.
	Logger *slog.Logger
}

// BetterAuthSession is a session as Better Auth tells it, with the fields of
// its plugins. Session holds the session's secret token, too.
type BetterAuthSession struct {
	User    json.RawMessage `json:"-"`
	Session json.RawMessage `json:"-"`
}

// Format prints the type's name: inside is the session's token.
func (s BetterAuthSession) Format(f fmt.State, _ rune) {
	printRedacted(f, "auth.BetterAuthSession"+redacted)
}

// BetterAuth is an Authenticator of Better Auth's cookie sessions. Each call
// asks Better Auth (GET get-session, past its cookie cache and without
// prolonging the session), so that a session which was ended there is at once
// no good here. It is safe for concurrent use.
type BetterAuth struct {
	// Static after construction.
	url      string
	prefixes []string
	rooms    holdfast.RoomPermissions
	extend   func(context.Context, *holdfast.Identity, BetterAuthSession) error
	proxies  guard.Proxies
	upstream *upstream
}

// NewBetterAuth checks the configuration. It asks nothing yet.
func NewBetterAuth(cfg BetterAuthConfig) (*BetterAuth, error) {
	u, err := upstreamURL(cfg.URL, "BetterAuthConfig.URL")
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" {
		return nil, errors.New("auth: BetterAuthConfig.URL must not have a query")
	}
	if cfg.DefaultRooms == nil {
		return nil, errors.New(`auth: BetterAuthConfig.DefaultRooms is not set: say what a session may do, for example ["**"] for all rooms or [] for none`)
	}
	if cfg.BasePath == "" {
		cfg.BasePath = "/api/auth"
	}
	prefixes := slices.Clone(cfg.CookiePrefixes)
	if len(prefixes) == 0 {
		prefixes = []string{"better-auth"}
	}
	if slices.Contains(prefixes, "") {
		return nil, errors.New("auth: an empty cookie prefix would pass on every cookie")
	}
	proxies, err := guard.ParseProxies(cfg.TrustedProxies...)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath(cfg.BasePath, "get-session")
	u.RawQuery = url.Values{"disableCookieCache": {"true"}, "disableRefresh": {"true"}}.Encode()
	return &BetterAuth{
		url: u.String(), prefixes: prefixes, rooms: *cfg.DefaultRooms, extend: cfg.Extend, proxies: proxies,
		upstream: newUpstream(u, upstreamConfig{client: cfg.HTTPClient, timeout: cfg.Timeout, parallel: cfg.Parallel, logger: cfg.Logger}),
	}, nil
}

// Authenticate asks Better Auth whose session the credential's cookie is. The
// Identity has the user's id, name and email, the session's id, when it was
// made as IssuedAt, and when it ends as Expires.
//
// The error is UNAUTHENTICATED where there is no session, and where there is
// a bearer token: that one would decide, and it is not for Better Auth (see
// BearerOrCookie). It is CSRF_MISMATCH for the call of another method than
// GET, HEAD and OPTIONS, since a browser sends the cookie with any page's
// call, and Better Auth's sessions have no CSRF token here: an Exchange makes
// access tokens of them for that. If Better Auth gives no usable answer in time, whatever
// the reason, the error is GOING_AWAY with RetryAfter, which is 503 over HTTP:
// the session may be good, and nobody is signed out.
func (b *BetterAuth) Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	if token, err := c.BearerToken(); token != "" || err != nil {
		return nil, refuse("this takes a session, not a token", err)
	}
	switch c.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		return nil, holdfast.Errorf(holdfast.CSRFMismatch, "A session's cookie changes nothing by itself: exchange it for an access token")
	}
	cookies, err := b.cookies(c.Header)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodGet, b.url, nil)
	if err != nil {
		return nil, fmt.Errorf("auth: bad URL of Better Auth: %w", err) // NewBetterAuth has looked at it
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Cookie", cookies)
	if ip := b.proxies.ClientIP(&http.Request{RemoteAddr: c.RemoteAddr, Header: c.Header}); ip.IsValid() {
		// Never the caller's own header: anybody can write one, and of more
		// than one address Better Auth believes none.
		r.Header.Set("X-Forwarded-For", ip.String())
	}
	body, refusal := b.upstream.ask(ctx, r)
	if refusal != nil {
		return nil, refusal
	}
	id, session, err := b.read(body)
	switch {
	case err != nil:
		return nil, b.upstream.unavailable(ctx, err, 0)
	case id == nil || !time.Now().Before(id.Expires):
		return nil, refuse("no session", nil)
	}
	if b.extend != nil {
		if err := b.extend(ctx, id, session); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// HasSession reports whether a request has a cookie of Better Auth's, good or
// bad.
func (b *BetterAuth) HasSession(h http.Header) bool {
	cookies, _ := b.ownCookies(h)
	return cookies != ""
}

// cookies returns those of a request that are Better Auth's; an error if
// there are none.
func (b *BetterAuth) cookies(h http.Header) (string, error) {
	all, size := b.ownCookies(h)
	switch {
	case all == "":
		return "", refuse("", nil)
	case size > maxForwardedCookies || strings.ContainsFunc(all, unicode.IsControl):
		return "", refuse("malformed cookie", nil)
	}
	return all, nil
}

// ownCookies returns them as they are, and their size in bytes.
func (b *BetterAuth) ownCookies(h http.Header) (all string, size int) {
	var own []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.TrimSpace(pair)
			name, _, _ := strings.Cut(pair, "=")
			name = strings.TrimPrefix(strings.TrimPrefix(name, "__Secure-"), "__Host-")
			if slices.ContainsFunc(b.prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				own = append(own, pair)
				size += len(pair) + 2
			}
		}
	}
	return strings.Join(own, "; "), size
}

// read reads an answer: nil and no error for null, which is no session. An
// answer that can't be understood is an error.
func (b *BetterAuth) read(body []byte) (*holdfast.Identity, BetterAuthSession, error) {
	var raw BetterAuthSession
	if err := jsonscan.Check(body, jsonscan.Limits{UniqueKeys: true}); err != nil {
		return nil, raw, errors.New("the answer is not JSON")
	}
	var answer *struct {
		User    json.RawMessage `json:"user"`
		Session json.RawMessage `json:"session"`
	}
	var user struct {
		ID    betterAuthID    `json:"id"`
		Name  json.RawMessage `json:"name"`
		Email json.RawMessage `json:"email"`
	}
	var session struct {
		ID        betterAuthID `json:"id"`
		UserID    betterAuthID `json:"userId"`
		CreatedAt time.Time    `json:"createdAt"`
		ExpiresAt time.Time    `json:"expiresAt"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, raw, errors.New("the answer is no session")
	}
	if answer == nil {
		return nil, raw, nil
	}
	if json.Unmarshal(answer.User, &user) != nil || json.Unmarshal(answer.Session, &session) != nil {
		return nil, raw, errors.New("the answer is no session")
	}
	switch {
	case checkUser(string(user.ID)) != nil || session.UserID != user.ID:
		return nil, raw, errors.New("the session has no usable user")
	case checkUser(string(session.ID)) != nil:
		return nil, raw, errors.New("the session has no usable id")
	case session.ExpiresAt.IsZero():
		return nil, raw, errors.New("the session has no expiry")
	}
	id := &holdfast.Identity{
		User: string(user.ID), Session: string(session.ID),
		IssuedAt: session.CreatedAt, PermissionsAsOf: time.Now(), Expires: session.ExpiresAt,
		Permissions: holdfast.Permissions{Rooms: b.rooms},
	}
	for _, shown := range []struct {
		value json.RawMessage
		to    *string
	}{{user.Name, &id.Name}, {user.Email, &id.Email}} {
		if len(shown.value) > 0 {
			readString(shown.value, shown.to) // an application's own kind of name is left out
		}
	}
	return id, BetterAuthSession{User: answer.User, Session: answer.Session}, nil
}

// Close ends the connections to Better Auth that are idle.
func (b *BetterAuth) Close() error {
	b.upstream.close()
	return nil
}

// betterAuthID is an id: a string, or a whole number where the database
// counts.
type betterAuthID string

// UnmarshalJSON reads either.
func (i *betterAuthID) UnmarshalJSON(value []byte) error {
	if !readUser(value, "id", (*string)(i)) {
		return errors.New("auth: an id is neither text nor a whole number")
	}
	return nil
}
