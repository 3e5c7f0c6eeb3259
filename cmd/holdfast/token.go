package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

type mintCmd struct {
	keyFlags
	Sub    string        `required:"" placeholder:"USER" group:"claims" help:"The user's id."`
	TTL    time.Duration `name:"ttl" default:"1h" placeholder:"TIME" group:"claims" help:"How long it is good (default 1h). Servers refuse more than 24h."`
	Name   string        `placeholder:"NAME" group:"claims" help:"The user's name, shown to others."`
	Email  string        `placeholder:"ADDRESS" group:"claims" help:"The user's e-mail address, shown to others."`
	Role   []string      `placeholder:"ROLE" group:"claims" help:"A role, shown to others. Repeatable."`
	Room   []string      `sep:"none" placeholder:"PATTERN[=VERB,...]" group:"claims" help:"A room pattern, with the verbs join, publish and presence or with all of them; a leading ! denies. Repeatable. Without any, the server's --default-rooms hold."`
	Action []string      `placeholder:"ACTION" group:"claims" help:"A permission such as todo.write or admin.*. Repeatable."`
	Claim  []string      `sep:"none" placeholder:"NAME=JSON" group:"claims" help:"Another claim. Repeatable."`
	Alg    string        `default:"HS256" enum:"HS256,HS384,HS512" placeholder:"ALG" group:"claims" help:"HS256, HS384 or HS512 (default HS256)."`
	Out    string        `placeholder:"FILE" help:"Write the token to this file, readable by its owner alone, instead of stdout."`
}

// Run makes a token.
func (m *mintCmd) Run(e *environment) error {
	if m.TTL <= 0 {
		return usagef("--ttl must be more than nothing")
	}
	m.standardNames(e)
	key, err := m.configured(e, false)
	if err == nil && key.secret == nil {
		key, err = m.madeByServe()
	}
	if err != nil {
		return err
	}
	now := time.Now()
	claims := auth.Claims{
		User: m.Sub, Name: m.Name, Email: m.Email, Roles: m.Role, Issuer: m.Issuer, Audience: m.Audience,
		IssuedAt: now, Expires: now.Add(m.TTL), Extra: make(map[string]json.RawMessage, len(m.Claim)),
	}
	if claims.Permissions, err = m.permissions(); err != nil {
		return err
	}
	for _, claim := range m.Claim {
		name, value, ok := strings.Cut(claim, "=")
		if !ok || name == "" || !json.Valid([]byte(value)) {
			return usagef("--claim %q must be NAME=JSON; text is written NAME='\"text\"'", claim)
		}
		claims.Extra[name] = json.RawMessage(value)
	}
	token, err := auth.Mint(auth.SigningKey{Secret: key.secret, Algorithm: auth.Algorithm(m.Alg)}, claims)
	if err != nil {
		return usageError{err: err}
	}
	if m.TTL > auth.DefaultMaxLifetime {
		e.note("servers refuse tokens that are good for more than %v", auth.DefaultMaxLifetime)
	}
	if m.Out != "" {
		return writeOwn(m.Out, token+"\n")
	}
	_, err = fmt.Fprintln(e.stdout, token)
	return err
}

// permissions makes the permissions claim of --room and --action; nil for none.
func (m *mintCmd) permissions() (*auth.ClaimedPermissions, error) {
	if len(m.Room) == 0 && len(m.Action) == 0 {
		return nil, nil
	}
	rooms, err := roomFlags(m.Room)
	if err != nil {
		return nil, err
	}
	return &auth.ClaimedPermissions{Rooms: rooms, Actions: m.Action}, nil
}

// writeOwn writes a file that only its owner can read.
func writeOwn(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("can't write %s: %w", path, reason(err))
	}
	err = f.Chmod(0o600) // it may have been there
	if err == nil {
		_, err = f.WriteString(text)
	}
	return errors.Join(err, f.Close())
}

type tokenGetCmd struct {
	connectFlags
	URL string `arg:"" optional:"" name:"url" help:"The server's address; without it, the only one there is a session with."`
}

// Run prints the session's access token, with some of its life left.
func (g *tokenGetCmd) Run(e *environment) error {
	session, err := g.session(e, g.URL)
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(e.ctx, g.Timeout)
	defer cancel()
	if now, ok := session.Session(); ok && now.Lifetime > 0 && time.Since(now.Received) >= now.Lifetime/5*4 {
		_ = session.Refresh(ctx) // Token says whether it matters
	}
	token, err := session.Token(ctx)
	if err != nil {
		return session.explain(failedCall(e, err, session.server))
	}
	_, err = fmt.Fprintln(e.stdout, token.Access)
	return err
}

// givenToken is a token to look at.
type givenToken struct {
	tokenFlags
	Text string `arg:"" optional:"" name:"token" help:"The token; without it and without the flags below, or with -, stdin is read."`
}

func (g *givenToken) read(e *environment) (string, error) {
	switch {
	case g.Text != "" && g.Text != "-":
		return strings.TrimSpace(g.Text), nil
	case g.Text == "-" || g.Token == "" && g.TokenFile == "":
		g.Token, g.TokenFile = "-", ""
	}
	source, err := g.source(e)
	if err != nil {
		return "", err
	}
	token, err := source.Token(e.ctx)
	return token.Access, err
}

type inspectCmd struct{ givenToken }

// inspection is what is printed about a token.
type inspection struct {
	Header   json.RawMessage `json:"header"`
	Claims   json.RawMessage `json:"claims"`
	Times    times           `json:"times"`
	Verified bool            `json:"verified"`
}

// times are the claims about time, for people.
type times struct {
	Issued    string `json:"issued,omitempty"`
	NotBefore string `json:"notBefore,omitempty"`
	Expires   string `json:"expires,omitempty"`
}

// Run shows a token's content.
func (i *inspectCmd) Run(e *environment) error {
	token, err := i.read(e)
	if err != nil {
		return err
	}
	header, claims, err := auth.Inspect(token)
	if err != nil {
		return usageError{err: err}
	}
	var at struct{ Iat, Nbf, Exp json.Number }
	_ = json.Unmarshal(claims, &at) // of another type: it can be seen in the claims
	now := time.Now()
	return printJSON(e, inspection{
		Header: header, Claims: claims,
		Times: times{Issued: moment(at.Iat, now), NotBefore: moment(at.Nbf, now), Expires: moment(at.Exp, now)},
	})
}

// moment tells a NumericDate to people: "2026-01-01T00:00:00Z (in 5m0s)".
func moment(seconds json.Number, now time.Time) string {
	n, err := seconds.Float64()
	if err != nil || n < 0 || n > 253402300799 { // the year 9999
		return ""
	}
	at := time.Unix(int64(n), 0).UTC()
	text := at.Format(time.RFC3339)
	if wait := at.Sub(now).Round(time.Second); wait > 0 {
		return text + " (in " + wait.String() + ")"
	} else if wait < 0 {
		return text + " (" + (-wait).String() + " ago)"
	}
	return text + " (now)"
}

type verifyCmd struct {
	givenToken
	keyFlags
	verifyFlags
}

// verified is what is printed about a good token.
type verified struct {
	User        holdfast.User        `json:"user"`
	Session     string               `json:"session,omitempty"`
	TokenID     string               `json:"tokenId,omitempty"`
	Issuer      string               `json:"issuer,omitempty"`
	IssuedAt    string               `json:"issuedAt,omitempty"`
	Expires     string               `json:"expires"`
	Permissions holdfast.Permissions `json:"permissions"`
}

// Run verifies a token.
func (v *verifyCmd) Run(e *environment) error {
	token, err := v.read(e)
	if err != nil {
		return err
	}
	cfg, err := v.jwt(e)
	if err != nil {
		return err
	}
	verifier, err := auth.NewJWT(cfg)
	if err != nil {
		return usageError{err: err}
	}
	defer verifier.Close()
	identity, err := verifier.Verify(e.ctx, token)
	switch {
	case e.ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, holdfast.Internal) && cfg.JWKSURL != "":
		return &unreachableError{cfg.JWKSURL, err}
	case err != nil:
		return withCause(err)
	}
	out := verified{
		User: identity.AsUser(), Session: identity.Session, TokenID: identity.TokenID, Issuer: identity.Issuer,
		Expires: identity.Expires.UTC().Format(time.RFC3339), Permissions: identity.Permissions,
	}
	if !identity.IssuedAt.IsZero() {
		out.IssuedAt = identity.IssuedAt.UTC().Format(time.RFC3339)
	}
	return printJSON(e, out)
}

// withCause adds what a server would only tell its log.
func withCause(err error) error {
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok && refusal.Err != nil {
		return fmt.Errorf("%w: %v", refusal, refusal.Err)
	}
	return err
}

// jwt is the configuration to verify with.
func (v *verifyCmd) jwt(e *environment) (auth.JWTConfig, error) {
	v.standardNames(e)
	key, err := v.configured(e, v.JWKSURL != "")
	if err == nil && key.secret == nil && v.JWKSURL == "" {
		key, err = v.madeByServe()
	}
	if err != nil {
		return auth.JWTConfig{}, err
	}
	rooms, err := v.rooms(e)
	if err != nil {
		return auth.JWTConfig{}, err
	}
	if rooms == nil {
		rooms = &holdfast.RoomPermissions{} // none are shown
		if key.origin == v.devSecretPath() {
			rooms = everyRoom()
		}
	}
	return auth.JWTConfig{
		Secret: key.secret, JWKSURL: v.JWKSURL, Issuer: v.Issuer, Audience: v.Audience, UserClaim: v.UserClaim, DefaultRooms: rooms,
	}, nil
}

func printJSON(e *environment, v any) error {
	out := json.NewEncoder(e.stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}
