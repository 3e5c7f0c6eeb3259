package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/redact"
)

// SignUpPolicy says who may make an account for himself.
type SignUpPolicy string

// The sign-up policies. CreateUser works with each of them.
const (
	// SignUpClosed: nobody.
	SignUpClosed SignUpPolicy = "closed"
	// SignUpInvite: whoever has a code made by Invite.
	SignUpInvite SignUpPolicy = "invite"
	// SignUpOpen: everybody.
	SignUpOpen SignUpPolicy = "open"
)

// Defaults of Config.
const (
	DefaultAccessTokenLifetime = 15 * time.Minute
	DefaultRefreshIdle         = 14 * 24 * time.Hour
	DefaultRefreshTotal        = 30 * 24 * time.Hour
	DefaultRefreshGrace        = 30 * time.Second
)

// Config says how an identity provider works. The zero value needs only Dir.
type Config struct {
	// Dir is the data directory. It is made, with mode 0700, if it is missing.
	// The SQLite file holdfast.db and the key file identity.key are in it,
	// both with mode 0600. It may be empty if Database and Key are set.
	Dir string
	// Database is where everything is kept: "" for SQLite in Dir, or the
	// postgres:// URL of a PostgreSQL database, which several nodes may share.
	Database string
	// Key encrypts what must be kept and not be read: signing keys and TOTP
	// secrets. At least 32 bytes; all nodes of one database need the same.
	// Empty: Dir's file identity.key, which is made at the first start.
	Key auth.Secret

	// Issuer is the iss of the tokens made, and required of those verified.
	// Default: PublicURL, else "holdfast".
	Issuer string
	// Audience is the aud of the tokens made, and required of those verified;
	// empty: none, and any.
	Audience string
	// AccessTokenLifetime is how long a token is good; default
	// DefaultAccessTokenLifetime, at most auth.DefaultMaxLifetime. A token
	// never outlives its session.
	AccessTokenLifetime time.Duration
	// RefreshIdle is how long a session lives without being used; default
	// DefaultRefreshIdle.
	RefreshIdle time.Duration
	// RefreshTotal is how long a session lives at most; default
	// DefaultRefreshTotal.
	RefreshTotal time.Duration
	// RefreshGrace is how long a used refresh token may be presented again, as
	// long as its successor has not been used; default DefaultRefreshGrace.
	// Negative: never.
	RefreshGrace time.Duration

	// SignUp says who may make an account; default SignUpClosed.
	SignUp SignUpPolicy
	// VerifyEmail lets nobody in whose e-mail address is not verified. SignUp
	// then answers the same for an address that has an account already, and
	// one that hasn't: a mail tells. It needs a Mailer.
	VerifyEmail bool
	// DefaultRooms are those of users that were not granted any; nil: all
	// ("**").
	DefaultRooms *holdfast.RoomPermissions
	// CheckPassword may refuse a new password by an error, whose text is
	// shown: a list of leaked ones, for example. nil: none is refused beyond
	// the policy of length.
	CheckPassword func(ctx context.Context, password string) error
	// Argon2 says how passwords are hashed.
	Argon2 Argon2

	// Mailer delivers codes to users; nil: no mail is sent, and each one that
	// would have been is logged without its code.
	Mailer Mailer

	// PublicURL is where browsers see this server, for example
	// https://example.com.
	PublicURL string
	// RelyingParty is the domain that passkeys are bound to; default the host
	// of PublicURL. Without either there are no passkeys.
	RelyingParty string
	// RelyingPartyName is shown when a passkey is made; default RelyingParty.
	RelyingPartyName string
	// RelyingPartyOrigins are the origins whose pages may use passkeys;
	// default that of PublicURL.
	RelyingPartyOrigins []string

	// OnRevoke is told, after it was stored, that something was taken back
	// here: a session ended, a user disabled or deleted. OnBump is told when a
	// user's permissions changed. They are called by the goroutine that
	// did it, or by one of the Provider's own if another process on the same
	// database did; by several at once, perhaps twice for the same thing, and
	// without locks. They must not wait long. nil: nobody is told.
	OnRevoke func(auth.Revocation)
	OnBump   func(auth.Bump)

	// WatchInterval is how often the database is looked at for what other
	// processes have revoked or bumped; default 500 ms. Negative: never, nor
	// for new signing keys, which is for a database that no other process uses.
	WatchInterval time.Duration
	// CleanInterval is how often expired rows are deleted; default one
	// minute, negative: never.
	CleanInterval time.Duration

	// Logger; nil: nothing is logged.
	Logger *slog.Logger
}

// Argon2 are the parameters of argon2id. The zero value is OWASP's choice of
// 19 MiB, 2 passes, 1 lane. A password hashed with others is hashed anew at
// its next use.
type Argon2 struct {
	Memory  uint32 // KiB; default 19456
	Time    uint32 // passes; default 2
	Threads uint8  // lanes; default 1
	// Parallel is how many hashes are worked out at once, each with Memory;
	// default GOMAXPROCS. Up to 64 times as many wait for their turn; over
	// that they are refused with RATE_LIMITED.
	Parallel int
}

// withDefaults fills in and checks a configuration.
func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"AccessTokenLifetime", &c.AccessTokenLifetime, DefaultAccessTokenLifetime},
		{"RefreshIdle", &c.RefreshIdle, DefaultRefreshIdle},
		{"RefreshTotal", &c.RefreshTotal, DefaultRefreshTotal},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < time.Second {
			return c, fmt.Errorf("identity: %s is shorter than a second", d.name)
		}
	}
	if c.AccessTokenLifetime > auth.DefaultMaxLifetime {
		return c, fmt.Errorf("identity: AccessTokenLifetime is over %s, after which a revocation is forgotten", auth.DefaultMaxLifetime)
	}
	switch {
	case c.RefreshGrace == 0:
		c.RefreshGrace = DefaultRefreshGrace
	case c.RefreshGrace < 0:
		c.RefreshGrace = 0
	case c.RefreshGrace > 10*time.Minute:
		return c, errors.New("identity: RefreshGrace is over 10 minutes")
	}
	if c.WatchInterval == 0 {
		c.WatchInterval = 500 * time.Millisecond
	}
	if c.CleanInterval == 0 {
		c.CleanInterval = time.Minute
	}
	switch c.SignUp {
	case "":
		c.SignUp = SignUpClosed
	case SignUpClosed, SignUpInvite, SignUpOpen:
	default:
		return c, fmt.Errorf("identity: unknown sign-up policy %.20q: it is closed, invite or open", string(c.SignUp))
	}
	if c.VerifyEmail && c.Mailer == nil {
		return c, errors.New("identity: VerifyEmail needs a Mailer")
	}
	if c.DefaultRooms == nil {
		all := holdfast.MustRoomList("**")
		c.DefaultRooms = &all
	}
	if len(c.Key) > 0 && len(c.Key) < minMasterKey {
		return c, fmt.Errorf("identity: Key has less than %d bytes (try: openssl rand -base64 32)", minMasterKey)
	}
	if c.Dir == "" && (c.Database == "" || len(c.Key) == 0) {
		return c, errors.New("identity: Dir is not set: say where the database and the key file are kept")
	}
	if err := c.publicDefaults(); err != nil {
		return c, err
	}
	if c.Issuer == "" {
		if c.Issuer = c.PublicURL; c.Issuer == "" {
			c.Issuer = "holdfast"
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = slog.New(redact.New(c.Logger.Handler()))
	c.Argon2 = c.Argon2.withDefaults()
	return c, nil
}

// publicDefaults derives from PublicURL what passkeys need.
func (c *Config) publicDefaults() error {
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return errors.New("identity: PublicURL must be an absolute https or http URL")
		}
		if c.RelyingParty == "" {
			c.RelyingParty = u.Hostname()
			if _, err := netip.ParseAddr(c.RelyingParty); err == nil {
				c.RelyingParty = "" // WebAuthn has no passkeys for addresses
			}
		}
		if len(c.RelyingPartyOrigins) == 0 {
			c.RelyingPartyOrigins = []string{u.Scheme + "://" + u.Host}
		}
	}
	if c.RelyingParty != "" && len(c.RelyingPartyOrigins) == 0 {
		return errors.New("identity: RelyingParty needs RelyingPartyOrigins or PublicURL")
	}
	if c.RelyingPartyName == "" {
		c.RelyingPartyName = c.RelyingParty
	}
	return nil
}

func (a Argon2) withDefaults() Argon2 {
	if a.Memory == 0 {
		a.Memory = 19 << 10
	}
	if a.Time == 0 {
		a.Time = 2
	}
	if a.Threads == 0 {
		a.Threads = 1
	}
	if a.Parallel <= 0 {
		a.Parallel = runtime.GOMAXPROCS(0)
	}
	return a
}

// Client is the caller of something, for the list of devices and for the
// throttle of sign-ins.
type Client struct {
	UserAgent string // cut at 256 bytes
	// Addr is the client's address, behind trusted proxies the one that they
	// name; a port is dropped.
	Addr string
}

func (c Client) clean() Client {
	if host, _, err := net.SplitHostPort(c.Addr); err == nil {
		c.Addr = host
	}
	if addr, err := netip.ParseAddr(c.Addr); err == nil {
		c.Addr = addr.Unmap().WithZone("").String()
	} else {
		c.Addr = ""
	}
	c.UserAgent = cleanText(c.UserAgent, 256)
	return c
}
