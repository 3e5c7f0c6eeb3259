package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// benchTokens say which tokens the connections of "bench" show.
type benchTokens struct {
	keyFlags
	TokenFile    string        `placeholder:"FILE" group:"client" help:"Show the tokens in this file, one a line, over and over."`
	TokenCommand string        `placeholder:"COMMAND" group:"client" help:"Run this for each token, which it prints. HOLDFAST_BENCH_INDEX is the token's number, from 0 on."`
	PerToken     int           `default:"1" placeholder:"N" group:"client" help:"How many connections show the same token (default 1)."`
	TTL          time.Duration `name:"ttl" default:"12h" placeholder:"TIME" group:"client" help:"How long minted tokens are good (default 12h)."`
}

// source returns what makes the token of a connection; nil for no tokens.
func (b *benchTokens) source(e *environment, rooms string) (func(i int) (string, error), error) {
	if b.PerToken < 1 {
		return nil, usagef("--per-token must be at least 1")
	}
	if b.TokenFile != "" && b.TokenCommand != "" {
		return nil, usagef("there are two sources of tokens, --token-file and --token-command: keep one")
	}
	var one func(n int) (string, error)
	switch {
	case b.TokenFile != "":
		list, err := tokenLines(b.TokenFile)
		if err != nil {
			return nil, err
		}
		one = func(n int) (string, error) { return list[n%len(list)], nil }
	case b.TokenCommand != "":
		words, err := splitWords(b.TokenCommand)
		if err != nil {
			return nil, usagef("--token-command: %w", err)
		}
		one = func(n int) (string, error) { return runTokenCommand(e.ctx, words, n) }
	default:
		var err error
		if one, err = b.minter(e, rooms); err != nil || one == nil {
			return nil, err
		}
	}
	last, token := -1, ""
	return func(i int) (string, error) { // asked in the order of the connections
		n := i / b.PerToken
		if n == last {
			return token, nil
		}
		var err error
		last = n
		token, err = one(n)
		return token, err
	}, nil
}

// minter makes tokens with the secret that is configured, or that "serve --dev"
// has made in this folder; nil where there is none: connections then show no
// token. Users may join and publish, and are not present, so that the presence
// of so many is not part of what is measured.
func (b *benchTokens) minter(e *environment, prefix string) (func(n int) (string, error), error) {
	b.standardNames(e)
	key, err := b.configured(e, false)
	if err == nil && key.secret == nil {
		if key.secret, err = readDevSecret(b.devSecretPath()); errors.Is(err, fs.ErrNotExist) {
			e.note("no secret to make tokens with (--jwt-secret-file): connections show none")
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	rooms, err := holdfast.RoomMap(map[string][]string{prefix + "**": {"join", "publish"}})
	if err != nil {
		return nil, usagef("--room-prefix %q: %w", prefix, err)
	}
	signing := auth.SigningKey{Secret: key.secret}
	now := time.Now()
	return func(n int) (string, error) {
		return auth.Mint(signing, auth.Claims{
			User: fmt.Sprintf("bench-%d", n), Issuer: b.Issuer, Audience: b.Audience, IssuedAt: now, Expires: now.Add(b.TTL),
			Permissions: &auth.ClaimedPermissions{Rooms: &rooms},
		})
	}, nil
}

// tokenLines reads a file of tokens.
func tokenLines(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("token-file %s: %w", path, reason(err))
	}
	list := strings.Fields(string(data))
	if len(list) == 0 {
		return nil, usagef("token-file %s: there is no token in it", path)
	}
	return list, nil
}

// runTokenCommand runs the command that prints token n.
func runTokenCommand(ctx context.Context, words []string, n int) (string, error) {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("HOLDFAST_BENCH_INDEX=%d", n))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("--token-command: %s: %w %s", words[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	token := strings.TrimSpace(string(out))
	if token == "" {
		return "", fmt.Errorf("--token-command: %s has printed nothing", words[0])
	}
	return token, nil
}
