package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// store keeps the boards in a SQLite file of their own. It is safe for
// concurrent use.
type store struct {
	// write has one connection, so that writers queue here; read has several,
	// which see the state of the last commit.
	write, read *sql.DB
	// wake tells the outbox that there is something to send. It holds one
	// token: more would say nothing new.
	wake chan struct{}
	told told
}

// openStore opens, or makes, taskboard.db in a folder that is there.
func openStore(ctx context.Context, dir string) (*store, error) {
	path, err := filepath.Abs(filepath.Join(dir, "taskboard.db"))
	if err != nil {
		return nil, err
	}
	// SQLite gives its other files the mode of this one.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s := &store{wake: make(chan struct{}, 1), told: told{changed: make(chan struct{})}}
	if s.write, err = openSQLite(path, 1, "_txlock", "immediate"); err != nil {
		return nil, err
	}
	if s.read, err = openSQLite(path, max(4, runtime.GOMAXPROCS(0)), "_pragma", "query_only(1)"); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func openSQLite(path string, connections int, option, value string) (*sql.DB, error) {
	query := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)"}}
	query.Add(option, value)
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// migrate brings the schema up to date.
func (s *store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("taskboard_migrations"))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func (s *store) close() error { return errors.Join(s.write.Close(), s.read.Close()) }

// queries is what *sql.DB and *sql.Tx have in common.
type queries interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// scanner is what *sql.Row and *sql.Rows have in common.
type scanner interface{ Scan(to ...any) error }

// one returns the single row of a query, and whether there is one.
func one[T any](ctx context.Context, q queries, scan func(scanner) (T, error), query string, args ...any) (T, bool, error) {
	item, err := scan(q.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return item, false, nil
	}
	return item, err == nil, err
}

// all returns every row of a query, and never nil: in JSON that is a list.
func all[T any](ctx context.Context, q queries, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has it
	list := []T{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, rows.Err()
}

func scanInt(s scanner) (n int64, err error) {
	err = s.Scan(&n)
	return n, err
}
