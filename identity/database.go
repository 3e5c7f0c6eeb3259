package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

const (
	sqliteFile    = "holdfast.db"
	pgConnections = 20
)

// database is SQLite or PostgreSQL. Both understand the statements of this
// package; where they differ, there is a method here.
type database struct {
	postgres bool
	// write is for transactions and statements that change something: with
	// SQLite one connection, so that writers queue here instead of in busy
	// loops. read is for all else; with PostgreSQL it is the same.
	write, read *sql.DB
}

// openDatabase connects; the schema may not be there yet. wrap, if not nil,
// is put around each connector: tests put faults in the way with it.
func openDatabase(cfg Config, wrap func(driver.Connector) driver.Connector) (*database, error) {
	if wrap == nil {
		wrap = func(c driver.Connector) driver.Connector { return c }
	}
	if cfg.Database == "" {
		return openSQLite(cfg.Dir, wrap)
	}
	u, err := url.Parse(cfg.Database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("identity: Database must be a postgres:// URL, or empty for SQLite") // it may hold a password
	}
	pg, err := pgx.ParseConfig(cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("identity: Database: %w", err) // pgx leaves the password out
	}
	if pg.ConnectTimeout == 0 {
		pg.ConnectTimeout = 10 * time.Second
	}
	db := sql.OpenDB(wrap(stdlib.GetConnector(*pg)))
	db.SetMaxOpenConns(pgConnections)
	db.SetMaxIdleConns(pgConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &database{postgres: true, write: db, read: db}, nil
}

func openSQLite(dir string, wrap func(driver.Connector) driver.Connector) (*database, error) {
	path, err := filepath.Abs(filepath.Join(dir, sqliteFile))
	if err != nil {
		return nil, err
	}
	// SQLite gives its other files the mode of this one.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	pragmas := []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)"}
	open := func(more url.Values, connections int) (*sql.DB, error) {
		query := url.Values{"_pragma": pragmas}
		for name, values := range more {
			query[name] = append(query[name], values...)
		}
		connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		db := sql.OpenDB(wrap(connector))
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		return db, nil
	}
	write, err := open(url.Values{"_txlock": {"immediate"}}, 1)
	if err != nil {
		return nil, err
	}
	read, err := open(url.Values{"_pragma": {"query_only(1)"}}, max(4, runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &database{write: write, read: read}, nil
}

func (d *database) close() error {
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(err, d.read.Close())
	}
	return err
}

// txTries is how often a transaction is tried that PostgreSQL gave up, since
// it was in a deadlock with another. The pauses, of txPause more each time, let the
// other one have what it waits for: whoever begins again at once may be quicker.
const (
	txTries = 4
	txPause = 20 * time.Millisecond
)

// tx runs do in a transaction of isolation READ COMMITTED or better, and
// commits unless do returns an error. do must not keep the transaction, nor
// do anything that can't be taken back: it may be run again. Rows are locked in
// the order users, sessions, all else.
func (d *database) tx(ctx context.Context, do func(tx *sql.Tx) error) error {
	for try := 1; ; try++ {
		err := d.txOnce(ctx, do)
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || try == txTries || pg.Code != "40P01" && pg.Code != "40001" {
			return err
		}
		if paused := pause(ctx, time.Duration(try)*txPause); paused != nil {
			return errors.Join(err, paused)
		}
	}
}

func (d *database) txOnce(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("identity: commit: %w", err)
	}
	return nil
}

// forUpdate ends a SELECT whose row nobody else may change, or lock, until the
// transaction ends. SQLite has one writer at a time anyhow.
func (d *database) forUpdate() string {
	if d.postgres {
		return " FOR UPDATE"
	}
	return ""
}

// queries is what *sql.DB and *sql.Tx have in common.
type queries interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// execute runs a statement and returns how many rows it changed.
func execute(ctx context.Context, q queries, statement string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("identity: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("identity: %w", err)
	}
	return n, nil
}

// scanner is what *sql.Row and *sql.Rows have in common.
type scanner interface{ Scan(to ...any) error }

// one scans a single row, and reports whether there is one.
func one(row scanner, to ...any) (bool, error) {
	switch err := row.Scan(to...); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("identity: %w", err)
	}
	return true, nil
}

// all scans each row with scan.
func all[T any](ctx context.Context, q queries, scan func(scanner) (T, error), query string, args ...any) (list []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err has it
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		list = append(list, item)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return list, nil
}

func scanString(s scanner) (text string, err error) {
	err = s.Scan(&text)
	return text, err
}

// millis is a time as it is stored: epoch milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// timeNow is the present, as exact as it is stored.
func timeNow() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

// newSecret returns 256 random bits as text.
func newSecret() string {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(random)
}

// hashSecret is the form in which a secret of 256 random bits is stored: it
// needs no slow hash.
func hashSecret(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}

// newID returns a random public id.
func newID() string { return rand.Text() }
