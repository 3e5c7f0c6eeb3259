package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

const apiKeyColumns = `id, hash, name, scopes, rooms, created, expires`

func scanAPIKey(s scanner) (APIKey, error) {
	var k APIKey
	var hash []byte
	var rooms string
	var scopes, created, expires int64
	if err := s.Scan(&k.ID, &hash, &k.Name, &scopes, &rooms, &created, &expires); err != nil {
		return k, err
	}
	if copy(k.Hash[:], hash) != len(k.Hash) {
		return k, fmt.Errorf("identity: the hash of API key %s is malformed", k.ID)
	}
	if err := json.Unmarshal([]byte(rooms), &k.Rooms); err != nil {
		return k, fmt.Errorf("identity: rooms of API key %s: %w", k.ID, err)
	}
	k.Scopes, k.Created, k.Expires = auth.Scope(scopes), fromMillis(created), fromMillis(expires)
	return k, nil
}

// CreateKey makes an API key. The key itself is returned this once, and only
// its hash is kept. The error is INVALID_ARGUMENT for a key that could do
// nothing, or has expired.
func (p *Provider) CreateKey(ctx context.Context, k NewAPIKey) (key string, made APIKey, err error) {
	switch now := time.Now(); {
	case k.Scopes == 0 || k.Scopes&^auth.AllScopes != 0:
		return "", APIKey{}, holdfast.Errorf(holdfast.InvalidArgument, "An API key needs scopes: publish, read, close, bump")
	case !k.Expires.IsZero() && !k.Expires.After(now):
		return "", APIKey{}, holdfast.Errorf(holdfast.InvalidArgument, "The API key has expired already")
	}
	rooms, err := json.Marshal(k.Rooms)
	if err != nil {
		return "", APIKey{}, fmt.Errorf("identity: %w", err)
	}
	key, made.APIKey = auth.NewAPIKey(k.Scopes, k.Rooms)
	made.Name, made.Created, made.Expires = cleanText(k.Name, maxName), timeNow(), fromMillis(millis(k.Expires))
	_, err = execute(ctx, p.db.write, `INSERT INTO api_keys (`+apiKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		made.ID, made.Hash[:], made.Name, int64(made.Scopes), string(rooms), millis(made.Created), millis(made.Expires))
	if err != nil {
		return "", APIKey{}, err
	}
	return key, made, nil
}

// Keys returns the API keys, the oldest first; of more than 1000 the newest
// are left out.
func (p *Provider) Keys(ctx context.Context) ([]APIKey, error) {
	return all(ctx, p.db.read, scanAPIKey, `SELECT `+apiKeyColumns+` FROM api_keys ORDER BY created, id LIMIT $1`, maxPage)
}

// RevokeKey removes an API key, here and on every node at once. The error is
// NOT_FOUND for an unknown id.
func (p *Provider) RevokeKey(ctx context.Context, id string) error {
	if !storable(id) {
		return errNoKey()
	}
	n, err := execute(ctx, p.db.write, `DELETE FROM api_keys WHERE id = $1`, id)
	if err == nil && n == 0 {
		err = errNoKey()
	}
	return err
}

func errNoKey() error { return holdfast.Errorf(holdfast.NotFound, "There is no such API key") }

// LookupKey returns the record of an API key; nil and no error for an unknown
// id. It is what auth.APIKeysConfig.Lookup wants.
func (p *Provider) LookupKey(ctx context.Context, id string) (*auth.APIKey, error) {
	if !storable(id) {
		return nil, nil
	}
	k, err := scanAPIKey(p.db.read.QueryRowContext(ctx, `SELECT `+apiKeyColumns+` FROM api_keys WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &k.APIKey, nil
}
