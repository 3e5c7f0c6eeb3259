package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Defaults of introspection.
const (
	// DefaultIntrospectionCache is how long an answer is kept.
	DefaultIntrospectionCache = 10 * time.Second
	// maxIntrospectionCache bounds that: a revoked token is good so long.
	maxIntrospectionCache = time.Minute
	// cachedTokens bounds the answers that are kept of good tokens, and apart
	// of bad ones, so that a flood of the latter drives out none of the former.
	cachedTokens = 10_000
	// evictionTries is how many answers are looked at for one that is over,
	// where there is no room.
	evictionTries = 8
)

// IntrospectionConfig says which service knows of the tokens (RFC 7662). URL,
// ClientID and DefaultRooms must be set.
type IntrospectionConfig struct {
	// URL is the introspection endpoint.
	URL string
	// ClientID and ClientSecret are what this server shows there, by HTTP
	// Basic (RFC 6749 §2.3.1).
	ClientID     string
	ClientSecret Secret

	// Issuer and Audience are what the answer's iss and aud must be or
	// include, as in JWTConfig; empty: any, or none.
	Issuer   string
	Audience []string
	// UserClaim is the member that holds the user's id; default "sub".
	UserClaim string
	// DefaultRooms are the rooms of a token whose answer does not have
	// permissions.rooms. It must be set: nil is an error.
	DefaultRooms *holdfast.RoomPermissions
	// MaxLifetime is how long a token counts before it has to be shown again;
	// default DefaultMaxLifetime. An answer without exp counts for
	// DefaultTokenLifetime.
	MaxLifetime time.Duration
	// Leeway is the clock skew allowed for exp, nbf and iat; 0:
	// DefaultLeeway, negative: none.
	Leeway time.Duration
	// CacheFor is how long an answer is kept, under the token's hash: for so
	// long a token that was revoked there is good here. 0:
	// DefaultIntrospectionCache; negative: not at all; at most a minute.
	CacheFor time.Duration

	// Timeout, Parallel, HTTPClient and Logger are those of BetterAuthConfig.
	Timeout    time.Duration
	Parallel   int
	HTTPClient *http.Client
	Logger     *slog.Logger
}

// Introspection is an Authenticator of bearer tokens that mean something to
// another service only, which is asked about each. It is safe for concurrent
// use.
type Introspection struct {
	// Static after construction.
	url         string
	user, pass  string
	claims      *JWT // what it takes of the answers; it has no keys
	maxLifetime time.Duration
	cacheFor    time.Duration // 0: no cache
	upstream    *upstream

	good, bad answerCache
}

// NewIntrospection checks the configuration. It asks nothing yet.
func NewIntrospection(cfg IntrospectionConfig) (*Introspection, error) {
	u, err := upstreamURL(cfg.URL, "IntrospectionConfig.URL")
	switch {
	case err != nil:
		return nil, err
	case cfg.ClientID == "":
		return nil, errors.New("auth: IntrospectionConfig.ClientID is not set")
	case cfg.DefaultRooms == nil:
		return nil, errors.New("auth: IntrospectionConfig.DefaultRooms is not set: say what a token may do whose answer has no permissions.rooms")
	case cfg.MaxLifetime < 0:
		return nil, errors.New("auth: IntrospectionConfig.MaxLifetime is negative")
	case cfg.CacheFor > maxIntrospectionCache:
		return nil, errors.New("auth: IntrospectionConfig.CacheFor is more than a minute")
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = DefaultMaxLifetime
	}
	if cfg.CacheFor == 0 {
		cfg.CacheFor = DefaultIntrospectionCache
	}
	claims := &JWT{
		issuer: cfg.Issuer, audience: slices.Clone(cfg.Audience), userClaim: cfg.UserClaim,
		leeway:       cfg.Leeway,
		maxLifetime:  math.MaxInt64 / 2, // the service knows; MaxLifetime cuts
		defaultRooms: *cfg.DefaultRooms,
	}
	if claims.userClaim == "" {
		claims.userClaim = "sub"
	}
	if err := checkUserClaim(claims.userClaim); err != nil {
		return nil, err
	}
	if claims.leeway == 0 {
		claims.leeway = DefaultLeeway
	}
	claims.leeway = max(claims.leeway, 0)
	return &Introspection{
		url: u.String(), user: url.QueryEscape(cfg.ClientID), pass: url.QueryEscape(string(cfg.ClientSecret)),
		claims: claims, maxLifetime: cfg.MaxLifetime, cacheFor: max(cfg.CacheFor, 0),
		upstream: newUpstream(u, upstreamConfig{client: cfg.HTTPClient, timeout: cfg.Timeout, parallel: cfg.Parallel, logger: cfg.Logger}),
		good:     answerCache{limit: cachedTokens}, bad: answerCache{limit: cachedTokens},
	}, nil
}

// Authenticate asks about the credential's bearer token: see
// Credential.BearerToken for which one. The error is UNAUTHENTICATED for none
// and for one that is not active, or of a token_type other than Bearer, or
// whose answer names no user; and GOING_AWAY with RetryAfter, 503 over HTTP,
// if there is no usable answer in time.
func (i *Introspection) Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	token, err := c.BearerToken()
	switch {
	case err != nil:
		return nil, err
	case token == "":
		return nil, refuse("", nil)
	case len(token) > MaxToken:
		return nil, refuse("invalid token", errors.New("auth: the token is too large"))
	}
	now := time.Now()
	key := sha256.Sum256([]byte(token))
	for _, cache := range []*answerCache{&i.good, &i.bad} {
		if a, ok := cache.get(key, now); ok {
			return a.result()
		}
	}
	a, err := i.ask(ctx, token)
	if err != nil {
		return nil, err
	}
	if i.cacheFor > 0 {
		a.until = time.Now().Add(i.cacheFor)
		if a.refusal != nil {
			i.bad.put(key, a)
		} else {
			if end := a.id.Expires; end.Before(a.until) {
				a.until = end
			}
			i.good.put(key, a)
		}
	}
	return a.result()
}

// ask asks the service. An error is no word about the token.
func (i *Introspection) ask(ctx context.Context, token string) (answer, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequest(http.MethodPost, i.url, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err // NewIntrospection has looked at the URL
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.SetBasicAuth(i.user, i.pass)
	body, refusal := i.upstream.ask(ctx, r)
	if refusal != nil {
		return answer{}, refusal
	}
	id, err := i.read(body, time.Now())
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok {
		return answer{refusal: refusal}, nil
	}
	if err != nil {
		return answer{}, i.upstream.unavailable(ctx, err, 0)
	}
	return answer{id: id}, nil
}

// read reads an answer (RFC 7662 §2.2). The error is a *holdfast.Error if the
// token is refused; any other if the answer can't be understood.
func (i *Introspection) read(body []byte, now time.Time) (*holdfast.Identity, error) {
	if err := jsonscan.Check(body, jsonscan.Limits{UniqueKeys: true}); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	var head struct {
		Active    *bool           `json:"active"`
		TokenType json.RawMessage `json:"token_type"`
	}
	if err := json.Unmarshal(body, &head); err != nil || head.Active == nil {
		return nil, errors.New("the answer does not say whether the token is active")
	}
	if !*head.Active {
		return nil, refuse("invalid token", nil)
	}
	var kind string
	if len(head.TokenType) > 0 && readString(head.TokenType, &kind) && !strings.EqualFold(kind, "Bearer") {
		// A refresh token, or one that is bound to a key of its holder.
		return nil, refuse("invalid token", errors.New("auth: the token is not a bearer token"))
	}
	c, err := readClaims(body, i.claims.userClaim)
	if err != nil {
		return nil, err
	}
	if c.expires.IsZero() {
		c.expires = now.Add(DefaultTokenLifetime)
	}
	id, err := i.claims.check(c, now)
	if err != nil {
		return nil, err
	}
	if end := now.Add(i.maxLifetime); id.Expires.After(end) {
		id.Expires = end
	}
	return id, nil
}

// Format prints the type's name: inside is the client's secret.
func (i *Introspection) Format(f fmt.State, _ rune) {
	printRedacted(f, "auth.Introspection"+redacted)
}

// Close ends the connections to the service that are idle.
func (i *Introspection) Close() error {
	i.upstream.close()
	return nil
}

// answer is what the service said about a token.
type answer struct {
	id      *holdfast.Identity // not changed by anybody
	refusal *holdfast.Error    // set if id is not
	until   time.Time          // when it has to be asked again
}

func (a answer) result() (*holdfast.Identity, error) {
	if a.refusal != nil {
		return nil, a.refusal
	}
	return a.id, nil
}

// answerCache keeps answers under the hashes of their tokens, at most limit.
// Where there is no room it drops one that is over, or else any.
type answerCache struct {
	limit int

	mu      sync.Mutex // guards what follows
	answers map[[sha256.Size]byte]answer
}

func (c *answerCache) get(key [sha256.Size]byte, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[key]
	if ok && !now.Before(a.until) {
		delete(c.answers, key)
		return answer{}, false
	}
	return a, ok
}

func (c *answerCache) put(key [sha256.Size]byte, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = make(map[[sha256.Size]byte]answer)
	}
	if len(c.answers) >= c.limit {
		c.evict()
	}
	c.answers[key] = a
}

// evict makes room; c.mu is held. Go begins to range anywhere.
func (c *answerCache) evict() {
	now, tries := time.Now(), 0
	var victim [sha256.Size]byte
	for key, a := range c.answers {
		victim = key
		if tries++; tries >= evictionTries || !now.Before(a.until) {
			break
		}
	}
	delete(c.answers, victim)
}
