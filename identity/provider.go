package identity

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/holdfast-dev/holdfast/auth"
)

// Provider is an embedded identity provider. It is safe for concurrent use,
// and several on one PostgreSQL database are one.
//
// Its errors are *holdfast.Error where the caller is to blame, or has to be
// told something; any other error is one of the database or of the Mailer,
// and counts as INTERNAL.
type Provider struct {
	// Static after Open.
	cfg      Config
	log      *slog.Logger
	db       *database
	vault    *vault
	hasher   *hasher
	webauthn *webauthn.WebAuthn // nil without a relying party
	outbox   outbox

	keys     atomic.Pointer[keyring]
	reload   chan struct{} // holds one; whoever has taken it may reload the keys
	mails    chan mailJob
	announce announcements
	events   eventSaver

	// Owned by Close.
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var (
	_ auth.Authenticator   = (*Provider)(nil)
	_ auth.RevocationStore = (*Provider)(nil)
	_ auth.BumpStore       = (*Provider)(nil)
)

// Open opens the database, brings its schema up to date, and makes the first
// signing key if there is none. ctx bounds that alone. Close ends what it has
// started.
func Open(ctx context.Context, cfg Config) (*Provider, error) { return open(ctx, cfg, nil) }

// open is Open with something in the way of the database: see openDatabase.
func open(ctx context.Context, cfg Config, wrap func(driver.Connector) driver.Connector) (_ *Provider, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	if cfg.Dir != "" {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
	}
	p := &Provider{
		cfg:    cfg,
		log:    cfg.Logger,
		hasher: newHasher(cfg.Argon2),
		reload: make(chan struct{}, 1),
		mails:  make(chan mailJob, mailQueue),
	}
	if p.webauthn, err = newWebAuthn(cfg); err != nil {
		return nil, err
	}
	if p.db, err = openDatabase(cfg, wrap); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.db.close())
		}
	}()
	p.outbox.db, p.outbox.most = p.db, outboxEntries
	if err := p.db.migrate(ctx); err != nil {
		return nil, err
	}
	if p.vault, err = openVault(ctx, cfg, p.db); err != nil {
		return nil, err
	}
	if err := p.openKeys(ctx); err != nil {
		return nil, err
	}
	p.start()
	return p, nil
}

// start begins what Close ends.
func (p *Provider) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.done.Go(func() { p.deliver(ctx) })
	if p.cfg.CleanInterval > 0 {
		p.done.Go(func() { p.clean(ctx) })
	}
	if p.cfg.WatchInterval > 0 {
		p.done.Go(func() { p.watch(ctx) })
		p.done.Go(func() { p.keepKeys(ctx) })
	}
}

// Close ends the goroutines, waits for them, and closes the database. Mails
// that were not handed to the Mailer yet are lost. It must be called once,
// when nothing else uses the Provider any more.
func (p *Provider) Close() error {
	p.cancel()
	p.events.close()
	p.done.Wait()
	return p.db.close()
}

// Ready returns an error while the database can't be reached.
func (p *Provider) Ready(ctx context.Context) error {
	var n int
	if _, err := one(p.db.read.QueryRowContext(ctx, `SELECT 1`), &n); err != nil {
		return fmt.Errorf("identity: the database can't be reached: %w", err)
	}
	return nil
}
