package identity

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// migrateTimeout bounds the wait for another node that is migrating.
const migrateTimeout = 2 * time.Minute

// migrate brings the schema up to date. Several processes may do so at once:
// with PostgreSQL an advisory lock lets one go first; with SQLite each
// migration is a transaction, and who comes second finds it done.
func (d *database) migrate(ctx context.Context) error {
	provider, err := d.migrator()
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil {
			return nil
		}
		if d.postgres || try == 9 {
			return fmt.Errorf("identity: migrate: %w", err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (d *database) migrator() (*goose.Provider, error) {
	dialect, dir := goose.DialectSQLite3, "migrations/sqlite"
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName("holdfast_migrations")}
	if d.postgres {
		dialect, dir = goose.DialectPostgres, "migrations/postgres"
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(migrateTimeout/time.Second)))
		if err != nil {
			return nil, fmt.Errorf("identity: migrate: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return nil, fmt.Errorf("identity: migrate: %w", err)
	}
	provider, err := goose.NewProvider(dialect, d.write, files, options...)
	if err != nil {
		return nil, fmt.Errorf("identity: migrate: %w", err)
	}
	return provider, nil
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(errors.New("identity: interrupted"), ctx.Err())
	case <-timer.C:
		return nil
	}
}
