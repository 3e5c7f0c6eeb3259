package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
)

// withAccounts reports whether there are accounts: as --accounts says, and
// where it says nothing, with --dev.
func (s *serveFlags) withAccounts(e *environment) bool {
	if e.flags.of("accounts") == "" {
		return s.Dev
	}
	return s.Accounts
}

// accountsConfig is the configuration of the accounts. rooms is what
// --default-rooms says, nil for nothing.
func (s *serveFlags) accountsConfig(p plan, rooms *holdfast.RoomPermissions) (*identity.Config, error) {
	var wrong problems
	cfg := &identity.Config{
		Dir: s.Data, Database: s.Database, AccessTokenLifetime: s.AccessTokenLifetime,
		SignUp: identity.SignUpPolicy(s.SignUp), DefaultRooms: rooms, PublicURL: s.PublicURL,
	}
	if cfg.SignUp == "" && s.Dev {
		cfg.SignUp = identity.SignUpOpen
	}
	// The flags are about tokens from elsewhere, if there are any.
	if len(s.Audience) > 0 {
		cfg.Audience = s.Audience[0]
	}
	if !p.elsewhere() {
		cfg.Issuer = s.Issuer
	} else if own := ownIssuer(s.PublicURL); s.Issuer == own {
		wrong.add(usagef("issuer %q is that of the accounts' own tokens: tokens from elsewhere need another", own))
	}
	wrong.add(s.checkDatabase())
	switch {
	case s.MailWebhook != "":
		mailer, err := s.mailer()
		wrong.add(err)
		cfg.Mailer = mailer
	case s.MailWebhookSecretFile != "":
		wrong.add(usagef("mail-webhook-secret-file is of no use without mail-webhook"))
	}
	return cfg, wrong.err()
}

// ownIssuer is the issuer that the accounts have by default.
func ownIssuer(publicURL string) string {
	if publicURL != "" {
		return publicURL
	}
	return "holdfast"
}

func (s *serveFlags) mailer() (identity.Mailer, error) {
	if s.MailWebhookSecretFile == "" {
		return nil, usagef("mail-webhook needs mail-webhook-secret-file: whoever gets the mails must know who sent them")
	}
	secret, err := readSecret(s.MailWebhookSecretFile)
	if err != nil {
		return nil, usagef("mail-webhook-secret-file %s: %w", s.MailWebhookSecretFile, err)
	}
	mailer, err := identity.NewWebhookMailer(identity.WebhookMailer{URL: s.MailWebhook, Secret: secret})
	if err != nil {
		return nil, usagef("mail-webhook: %w", err)
	}
	return mailer, nil
}

// checkDatabase looks at --database, and quotes nothing of it.
func (d *databaseFlags) checkDatabase() error {
	if d.Database == "" {
		return nil
	}
	u, err := url.Parse(d.Database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return usagef("database must be a postgres:// URL; without it, accounts are kept in a file in --data")
	}
	return nil
}

// storeFlags say which accounts a command works on: those of a server that may
// be running.
type storeFlags struct {
	dataFlags
	databaseFlags
}

// withProvider opens the accounts for a command. A running server learns what
// was revoked or changed from the database, within half a second.
func (s *storeFlags) withProvider(e *environment, do func(*identity.Provider) error) (err error) {
	if err := s.checkDatabase(); err != nil {
		return err
	}
	if err := makeDataDir(s.Data); err != nil {
		return err
	}
	p, err := identity.Open(e.ctx, identity.Config{
		Dir: s.Data, Database: s.Database, WatchInterval: -1, CleanInterval: -1,
		SignUp: identity.SignUpInvite, // the server says what comes of an invitation
		Logger: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		err = do(p)
		err = errors.Join(err, p.Close())
	}
	if err != nil && e.ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// grantFlags say what a user may do.
type grantFlags struct {
	Role   []string `placeholder:"ROLE" group:"claims" help:"A role, shown to others. Repeatable."`
	Room   []string `sep:"none" placeholder:"PATTERN[=VERB,...]" group:"claims" help:"A room pattern, with the verbs join, publish and presence or with all of them; a leading ! denies. Repeatable. Without any, the server's --default-rooms hold."`
	Action []string `placeholder:"ACTION" group:"claims" help:"A permission such as todo.write or admin.*. Repeatable."`
}

func (g *grantFlags) grants() (identity.Grants, error) {
	rooms, err := roomFlags(g.Room)
	return identity.Grants{Roles: g.Role, Rooms: rooms, Actions: g.Action}, err
}

// roomFlags makes permissions of --room flags; nil for none.
func roomFlags(flags []string) (*holdfast.RoomPermissions, error) {
	if len(flags) == 0 {
		return nil, nil
	}
	all := holdfast.AllVerbs.Names()
	patterns, verbs := make(map[string][]string, len(flags)), false
	for _, room := range flags {
		pattern, list := room, all
		if i := strings.LastIndexByte(room, '='); i >= 0 {
			pattern, list, verbs = room[:i], strings.Split(room[i+1:], ","), true
		}
		if _, twice := patterns[pattern]; twice {
			return nil, usagef("--room %q is there twice", pattern)
		}
		patterns[pattern] = list
	}
	rooms, err := holdfast.RoomList(flags...)
	if verbs {
		rooms, err = holdfast.RoomMap(patterns)
	}
	if err != nil {
		return nil, usagef("--room: %s", holdfast.AsError(err).Message)
	}
	return &rooms, nil
}

// userID finds a user by id or e-mail address.
func userID(e *environment, p *identity.Provider, user string) (string, error) {
	var found identity.User
	var err error
	if strings.Contains(user, "@") {
		found, err = p.UserByEmail(e.ctx, user)
	} else {
		found, err = p.User(e.ctx, user)
	}
	if holdfast.CodeOf(err) == holdfast.NotFound {
		err = fmt.Errorf("user %s: %w", user, err)
	}
	return found.ID, err
}

// scopes reads --scope flags.
func scopes(names []string) (auth.Scope, error) {
	s, err := auth.ParseScopes(names...)
	if err != nil {
		return 0, usagef("--scope: %s", strings.TrimPrefix(err.Error(), "auth: "))
	}
	return s, nil
}
