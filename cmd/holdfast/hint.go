package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// hint tells what to do next with a dev server: three lines to be copied into
// other terminals, that work in the folder where it was started.
func (s *serveFlags) hint(e *environment, address string, p plan) {
	self := commandName(os.Args[0])
	keys, where := "", "In the same folder:"
	switch {
	case p.makeSecret && e.flags.of("data") != "":
		keys = " --data " + quote(s.Data)
	case p.makeSecret:
	case s.JWTSecretFile != "":
		keys = " --jwt-secret-file " + quote(s.JWTSecretFile)
	case p.secret != "":
		where = "In the same folder, with the secret given as here:"
	default:
		where = "With a token of your identity provider in the file alice.token, the last two of these:"
	}
	if p.accounts != nil {
		where = strings.TrimSuffix(where, ":") + fmt.Sprintf(" (or, with an account, \"%s login %s\" and no token):", self, address)
	}
	if s.Issuer != "" {
		keys += " --issuer " + quote(s.Issuer)
	}
	if len(s.Audience) > 0 {
		keys += " --audience " + quote(s.Audience[0])
	}
	more := ""
	if s.TLSCert != "" {
		more = " --ca-file " + quote(s.TLSCert)
	}
	fmt.Fprintf(e.stdout, `
%s
  %[2]s token mint%[3]s --sub alice --out alice.token
  %[2]s listen%[4]s --token-file alice.token %[5]s lobby
  %[2]s emit%[4]s --token-file alice.token %[5]s lobby greeting '{"text":"hello"}'
`, where, self, keys, more, address)
}

// commandName is how the program was started, so that it can be started so
// again: "holdfast" if it is on PATH, "go run …" if that built it.
func commandName(arg0 string) string {
	path, err := os.Executable()
	if err != nil {
		return quote(arg0)
	}
	if builtByGoRun(path) {
		if _, err := os.Stat("cmd/holdfast/main.go"); err == nil {
			return "go run ./cmd/holdfast"
		}
		return "go run github.com/holdfast-dev/holdfast/cmd/holdfast@latest"
	}
	base := filepath.Base(arg0)
	if found, err := exec.LookPath(base); err == nil {
		a, aerr := os.Stat(found)
		b, berr := os.Stat(path)
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			return quote(base)
		}
	}
	return quote(arg0)
}

// builtByGoRun reports whether a program is in a folder where go run puts
// what it builds: a temporary one, or the build cache.
func builtByGoRun(path string) bool {
	slashes := filepath.ToSlash(path)
	if strings.Contains(slashes, "/go-build") {
		return true
	}
	cache := os.Getenv("GOCACHE")
	return cache != "" && strings.HasPrefix(slashes, strings.TrimSuffix(filepath.ToSlash(cache), "/")+"/")
}

// quote makes one word of text for a shell.
func quote(text string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,\\", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
