package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// found is a secret and where it was found.
type found struct {
	secret auth.Secret
	origin string
}

// configured returns the secret that flags, variables or the config file
// give; the zero value if none does. JWT_SECRET and TEST_JWT_SECRET, which are
// there for other programs too, count only if no other key is configured.
func (k *keyFlags) configured(e *environment, otherKeys bool) (found, error) {
	file, value := e.flags.of("jwt-secret-file"), e.flags.of("jwt-secret")
	switch {
	case k.JWTSecretFile != "" && k.JWTSecret != "":
		return found{}, usagef("there are two secrets, from %s and from %s: keep one", file, value)
	case k.JWTSecretFile != "":
		secret, err := readSecret(k.JWTSecretFile)
		if err != nil {
			return found{}, usagef("jwt-secret-file %s: %w", k.JWTSecretFile, err)
		}
		return found{secret, k.JWTSecretFile}, nil
	case k.JWTSecret != "":
		return found{auth.Secret(k.JWTSecret), value}, nil
	case otherKeys:
		return found{}, nil
	}
	secret, err := auth.SecretFromEnv(e.getenv)
	if err != nil {
		return found{}, usageError{err: err}
	}
	if secret == nil {
		return found{}, nil
	}
	origin := "$JWT_SECRET"
	if e.getenv("JWT_SECRET") == "" {
		origin = "$TEST_JWT_SECRET"
	}
	return found{secret, origin}, nil
}

// standardNames fills in what the variables say that other programs share.
func (k *keyFlags) standardNames(e *environment) {
	if k.Issuer == "" {
		k.Issuer = e.getenv("JWT_ISSUER")
	}
	if aud := e.getenv("JWT_AUDIENCE"); len(k.Audience) == 0 && aud != "" {
		k.Audience = []string{aud}
	}
}

// devSecretPath is where "serve --dev" keeps its secret.
func (k *keyFlags) devSecretPath() string { return filepath.Join(k.Data, "jwt-secret") }

// madeByServe returns the secret that "serve --dev" has made.
func (k *keyFlags) madeByServe() (found, error) {
	path := k.devSecretPath()
	secret, err := readDevSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, usagef("there is no secret: start \"holdfast serve --dev\" in this folder (it makes %s), or give --jwt-secret-file or HOLDFAST_JWT_SECRET", path)
	}
	return found{secret, path}, err
}

// readSecret reads a secret from a file, without the line end that editors
// and echo put there.
func readSecret(path string) (auth.Secret, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, reason(err)
	}
	data = bytes.TrimRight(data, "\r\n")
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	return auth.Secret(data), nil
}

// readDevSecret reads the secret that "serve --dev" keeps. The error is
// fs.ErrNotExist if there is none yet.
func readDevSecret(path string) (auth.Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fs.ErrNotExist
		}
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others, who could make tokens: run \"chmod 600 %s\", or delete it to get a new one", path, path)
	}
	secret, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; delete it to get a new one", path, err)
	}
	return secret, nil
}

// devSecret returns the secret in path, and makes one at the first call. Of
// several programs that do so at once one wins, and all return the same.
func devSecret(path string) (auth.Secret, error) {
	secret, err := readDevSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	dir := filepath.Dir(path)
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	random := make([]byte, 48) // 64 characters: enough for HS512
	_, _ = rand.Read(random)   // never fails
	if err := writeOnce(path, base64.RawURLEncoding.AppendEncode(nil, random)); err != nil {
		return nil, fmt.Errorf("can't keep a secret in %s: %w", dir, err)
	}
	return readDevSecret(path)
}

// makeDataDir makes the folder of --data, for its owner alone. Git is told to
// leave a new one alone, since it holds secrets.
func makeDataDir(dir string) error {
	_, err := os.Stat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("can't make the folder %s (--data): %w", dir, reason(err))
	}
	if fresh {
		return writeOnce(filepath.Join(dir, ".gitignore"), []byte("*\n"))
	}
	return nil
}

// writeOnce makes a file that only its owner can read, whole or not at all.
// A file that is there already stays as it is.
func writeOnce(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(temp.Name(), path) // unlike a rename it replaces nothing
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// rooms returns what --default-rooms says; nil if it does not say anything.
func (v *verifyFlags) rooms(e *environment) (*holdfast.RoomPermissions, error) {
	if e.flags.of("default-rooms") == "" {
		return nil, nil
	}
	rooms, err := holdfast.RoomList(v.DefaultRooms...)
	if err != nil {
		return nil, usagef("default-rooms from %s: %w", e.flags.of("default-rooms"), err)
	}
	return &rooms, nil
}

// everyRoom is default-rooms in dev mode.
func everyRoom() *holdfast.RoomPermissions {
	rooms := holdfast.MustRoomList("**")
	return &rooms
}
