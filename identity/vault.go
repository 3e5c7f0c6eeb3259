package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/auth"
)

const (
	keyFile      = "identity.key"
	minMasterKey = 32
)

// vault seals what has to be stored and must not be read by whoever gets at
// the database alone. Each purpose has its own key, derived from the master
// key. It is safe for concurrent use.
type vault struct{ master []byte }

// key derives 32 bytes.
func (v *vault) key(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, v.master, nil, "holdfast identity "+purpose, 32)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	return key
}

// mac returns a keyed hash, for what could be guessed from a plain one.
func (v *vault) mac(purpose, text string) []byte {
	h := hmac.New(sha256.New, v.key(purpose))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// seal encrypts; what belongs to owner can't be taken for another's.
func (v *vault) seal(purpose, owner string, plain []byte) []byte {
	return seal(v.key(purpose), owner, plain)
}

func (v *vault) open(purpose, owner string, sealed []byte) ([]byte, error) {
	return unseal(v.key(purpose), owner, sealed)
}

// seal encrypts by AES-256-GCM; the nonce comes first.
func seal(key []byte, owner string, plain []byte) []byte {
	return newAEAD(key).Seal(nil, nil, plain, []byte(owner))
}

func unseal(key []byte, owner string, sealed []byte) ([]byte, error) {
	plain, err := newAEAD(key).Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return nil, errors.New("identity: a sealed value can't be opened: it was changed, or sealed under another key")
	}
	return plain, nil
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // 32 bytes are the right size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES it is
	}
	return aead
}

// openVault finds or makes the master key, and sees to it that it is the one
// that the database was set up with.
func openVault(ctx context.Context, cfg Config, db *database) (*vault, error) {
	want, err := db.meta(ctx, "key_check")
	if err != nil {
		return nil, err
	}
	v, made := &vault{master: cfg.Key}, false
	path := filepath.Join(cfg.Dir, keyFile)
	if len(cfg.Key) == 0 {
		if v.master, err = readKey(path); errors.Is(err, fs.ErrNotExist) {
			if want != "" {
				return nil, fmt.Errorf("identity: %s is missing, and the database was set up with one: bring it back from a backup or from another node, or set Key", path)
			}
			v.master, err = makeKey(path)
			made = true
		}
		if err != nil {
			return nil, err
		}
	}
	check := hex.EncodeToString(v.key("check"))
	if want == "" {
		if want, err = db.setMeta(ctx, "key_check", check); err != nil {
			return nil, err
		}
	}
	if subtle.ConstantTimeCompare([]byte(check), []byte(want)) == 1 {
		return v, nil
	}
	if made { // another node was first; its key belongs here
		_ = os.Remove(path)
	}
	return nil, errors.New("identity: the key is not the one that the database was set up with: all nodes need the same " + keyFile + ", or the same Key")
}

// meta returns a value, "" if there is none.
func (d *database) meta(ctx context.Context, name string) (value string, err error) {
	_, err = one(d.write.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = $1`, name), &value)
	return value, err
}

// setMeta sets a value unless there is one, and returns the one there is.
func (d *database) setMeta(ctx context.Context, name, value string) (string, error) {
	if _, err := execute(ctx, d.write, `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, value); err != nil {
		return "", err
	}
	return d.meta(ctx, name)
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	// The group may read it: that is how secrets are mounted in containers.
	if info.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("identity: %s can be read or changed by others (mode %04o): run chmod 600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) < minMasterKey {
		return nil, fmt.Errorf("identity: %s does not hold a key (base64 of at least %d bytes)", path, minMasterKey)
	}
	return key, nil
}

// makeKey writes a new key so that it is there whole or not at all. If another
// process was quicker, it returns that one's.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)                                    // never fails
	f, err := os.CreateTemp(filepath.Dir(path), "."+keyFile) // mode 0600
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	// A link, unlike a rename, replaces nothing.
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return readKey(path)
		}
		return nil, fmt.Errorf("identity: %w", err)
	}
	return key, syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = d.Close() }() // it was only read
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("identity: %w", err)
	}
	return nil
}

// DeriveKey returns 32 secret bytes for a purpose outside this package, such
// as signing CSRF tokens: the same on every node and after every restart, and
// different for each purpose.
func (p *Provider) DeriveKey(purpose string) auth.Secret { return p.vault.key("for " + purpose) }
