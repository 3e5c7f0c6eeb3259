package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

const (
	// keyPoll is how often the keys are read anew.
	keyPoll = 30 * time.Second
	// keyLead is how long a new key is shown before it signs: every process
	// has read it by then.
	keyLead = 2 * keyPoll
	// keyRetire is how long a key verifies after its successor signs.
	keyRetire = auth.DefaultMaxLifetime + keyLead
	// keyReload is how much time is between reads for an unknown kid.
	keyReload = time.Second
	// maxKeys bounds the keys that are good at a time.
	maxKeys = 16
)

// keyring is the signing keys at one moment. It is immutable.
type keyring struct {
	keys   []keyPair // the one that signs the earliest first
	jwt    *auth.JWT
	jwks   json.RawMessage
	loaded time.Time
}

type keyPair struct {
	SigningKey
	private *ecdsa.PrivateKey
}

// openKeys loads the keys, and makes the first one.
func (p *Provider) openKeys(ctx context.Context) error {
	if err := p.loadKeys(ctx); err != nil {
		return err
	}
	if len(p.keys.Load().keys) > 0 {
		return nil
	}
	err := p.db.tx(ctx, func(tx *sql.Tx) error {
		// Of several nodes that start at once one gets to insert this row, and
		// the others wait until it has made the key as well.
		id, now := newID(), timeNow()
		n, err := execute(ctx, tx, `INSERT INTO meta (name, value) VALUES ('newest_key', $1) ON CONFLICT DO NOTHING`, id)
		if err != nil || n == 0 {
			return err
		}
		return p.insertKey(ctx, tx, id, now, now)
	})
	if err != nil {
		return err
	}
	if err := p.loadKeys(ctx); err != nil {
		return err
	}
	if len(p.keys.Load().keys) == 0 {
		return errors.New("identity: the signing keys are gone from the database")
	}
	return nil
}

// insertKey makes a key that signs from then on. ES256 is what every library
// for tokens knows.
func (p *Provider) insertKey(ctx context.Context, tx *sql.Tx, id string, now, signs time.Time) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	_, err = execute(ctx, tx, `INSERT INTO signing_keys (id, algorithm, private, created, signs, expires) VALUES ($1, $2, $3, $4, $5, 0)`,
		id, string(auth.ES256), p.vault.seal("signing key", id, der), millis(now), millis(signs))
	return err
}

// loadKeys reads the keys that are good.
func (p *Provider) loadKeys(ctx context.Context) error {
	now := timeNow()
	keys, err := all(ctx, p.db.read, p.scanKey, `SELECT id, algorithm, private, created, signs, expires FROM signing_keys
		WHERE expires = 0 OR expires > $1 ORDER BY signs, id`, millis(now))
	if err != nil {
		return err
	}
	ring := &keyring{keys: keys, loaded: now, jwks: json.RawMessage(`{"keys":[]}`)}
	if len(keys) > 0 {
		if err := ring.build(p.cfg); err != nil {
			return err
		}
	}
	p.keys.Store(ring)
	return nil
}

func (p *Provider) scanKey(s scanner) (keyPair, error) {
	var k keyPair
	var sealed []byte
	var created, signs, expires int64
	if err := s.Scan(&k.ID, &k.Algorithm, &sealed, &created, &signs, &expires); err != nil {
		return k, err
	}
	k.Created, k.Signs, k.Expires = fromMillis(created), fromMillis(signs), fromMillis(expires)
	der, err := p.vault.open("signing key", k.ID, sealed)
	if err != nil {
		return k, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return k, fmt.Errorf("identity: signing key %s is malformed", k.ID)
	}
	k.private = private
	return k, nil
}

// build makes what is made of the keys.
func (r *keyring) build(cfg Config) error {
	config := auth.JWTConfig{Issuer: cfg.Issuer, DefaultRooms: cfg.DefaultRooms}
	if cfg.Audience != "" {
		config.Audience = []string{cfg.Audience}
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range r.keys {
		config.Keys = append(config.Keys, auth.Key{ID: k.ID, Algorithms: []auth.Algorithm{k.Algorithm}, Public: k.private.Public()})
		public, err := k.public()
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, public)
	}
	var err error
	if r.jwt, err = auth.NewJWT(config); err != nil {
		return err
	}
	if r.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// jwk is a public key on P-256 as RFC 7517 and RFC 7518 §6.2 have it.
type jwk struct {
	Kty string         `json:"kty"`
	Crv string         `json:"crv"`
	X   string         `json:"x"`
	Y   string         `json:"y"`
	Kid string         `json:"kid"`
	Alg auth.Algorithm `json:"alg"`
	Use string         `json:"use"`
}

func (k keyPair) public() (jwk, error) {
	point, err := k.private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return jwk{}, fmt.Errorf("identity: %w", err)
	}
	x, y := point[1:33], point[33:]
	return jwk{"EC", "P-256", base64.RawURLEncoding.EncodeToString(x), base64.RawURLEncoding.EncodeToString(y), k.ID, k.Algorithm, "sig"}, nil
}

func (r *keyring) has(id string) bool {
	return slices.ContainsFunc(r.keys, func(k keyPair) bool { return k.ID == id })
}

// active returns the index of the key that signs; -1 if there are no keys. Where
// none should sign yet, since the clock is behind that of the node that made
// the first, it is the first.
func (r *keyring) active(now time.Time) int {
	for i, k := range slices.Backward(r.keys) {
		if !k.Signs.After(now) {
			return i
		}
	}
	return min(len(r.keys), 1) - 1
}

func (r *keyring) signing(now time.Time) (auth.SigningKey, error) {
	i := r.active(now)
	if i < 0 {
		return auth.SigningKey{}, errors.New("identity: there is no signing key")
	}
	return auth.SigningKey{ID: r.keys[i].ID, Algorithm: r.keys[i].Algorithm, Private: r.keys[i].private}, nil
}

// keepKeys reads the keys from time to time, until ctx ends.
func (p *Provider) keepKeys(ctx context.Context) {
	tick := time.NewTicker(keyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := p.loadKeys(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "signing keys can't be read; the last ones are used", "error", err)
		}
	}
}

// reloadKeys reads the keys if known are still the last ones, and old enough.
// One caller at a time reads; the others wait for him.
func (p *Provider) reloadKeys(ctx context.Context, known *keyring) (*keyring, error) {
	select {
	case p.reload <- struct{}{}:
		defer func() { <-p.reload }()
	case <-ctx.Done():
		return nil, fmt.Errorf("identity: %w", ctx.Err())
	}
	if now := p.keys.Load(); now != known || time.Since(now.loaded) < keyReload {
		return now, nil
	}
	if err := p.loadKeys(ctx); err != nil {
		return nil, err
	}
	return p.keys.Load(), nil
}

// RotateSigningKeys makes a new signing key. It is in the JWKS at once and
// signs a minute later, when every process on the database has read it. The
// keys before it verify for a day more, so that nobody is signed out. The
// error is CONFLICT while an earlier new key does not sign yet.
func (p *Provider) RotateSigningKeys(ctx context.Context) (SigningKey, error) {
	id := newID()
	now := timeNow()
	err := p.db.tx(ctx, func(tx *sql.Tx) error {
		// Two rotations at once would each see none that waits: the row is
		// there to be locked.
		if _, err := execute(ctx, tx, `UPDATE meta SET value = $1 WHERE name = 'newest_key'`, id); err != nil {
			return err
		}
		var waiting, good int
		if _, err := one(tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(CASE WHEN signs > $1 THEN 1 ELSE 0 END), 0), COUNT(*) FROM signing_keys
			WHERE expires = 0 OR expires > $1`, millis(now)), &waiting, &good); err != nil {
			return err
		}
		if waiting > 0 {
			return holdfast.Errorf(holdfast.Conflict, "A new signing key waits for its turn already")
		}
		if good >= maxKeys {
			return holdfast.Errorf(holdfast.Conflict, "There are %d signing keys already; the old ones go a day after they were replaced", good)
		}
		signs := now.Add(keyLead)
		if _, err := execute(ctx, tx, `UPDATE signing_keys SET expires = $1 WHERE expires = 0`, millis(signs.Add(keyRetire))); err != nil {
			return err
		}
		return p.insertKey(ctx, tx, id, now, signs)
	})
	if err != nil {
		return SigningKey{}, err
	}
	if err := p.loadKeys(ctx); err != nil {
		return SigningKey{}, err
	}
	ring := p.keys.Load()
	i := slices.IndexFunc(ring.keys, func(k keyPair) bool { return k.ID == id })
	if i < 0 {
		return SigningKey{}, errors.New("identity: the new signing key is gone")
	}
	return ring.keys[i].SigningKey, nil
}

// DropSigningKey makes a key worthless, as when it has leaked: its tokens are
// refused, here at once and in other processes within half a minute, and their
// holders have to refresh. The error is NOT_FOUND for an unknown key, CONFLICT
// for the one that signs: rotate first, and wait until the new one does.
func (p *Provider) DropSigningKey(ctx context.Context, id string) error {
	keys, err := p.SigningKeys(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(keys, func(k SigningKey) bool { return k.ID == id })
	switch {
	case i < 0:
		return holdfast.Errorf(holdfast.NotFound, "There is no such signing key")
	case keys[i].Expires.IsZero() || keys[i].Active:
		return holdfast.Errorf(holdfast.Conflict, "This signing key is in use: rotate the keys, and drop it a minute later")
	}
	if _, err := execute(ctx, p.db.write, `DELETE FROM signing_keys WHERE id = $1 AND expires > 0`, id); err != nil {
		return err
	}
	return p.loadKeys(ctx)
}

// SigningKeys returns the keys whose tokens are taken, the oldest first.
func (p *Provider) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	if err := p.loadKeys(ctx); err != nil {
		return nil, err
	}
	ring := p.keys.Load()
	active := ring.active(time.Now())
	keys := make([]SigningKey, len(ring.keys))
	for i, k := range ring.keys {
		keys[i] = k.SigningKey
		keys[i].Active = i == active
	}
	return keys, nil
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517 §5), which must
// not be changed.
func (p *Provider) JWKS() json.RawMessage { return p.keys.Load().jwks }
