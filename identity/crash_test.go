package identity

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// crashEnv holds the configuration of a process that refreshes until it is
// killed.
const crashEnv = "HOLDFAST_IDENTITY_CRASH"

type crashConfig struct{ Dir, Database string }

// refreshForEver refreshes the token that it reads, and writes each one that it
// gets. It is what the test binary does in the process to be killed.
func refreshForEver() int {
	var c crashConfig
	if err := json.Unmarshal([]byte(os.Getenv(crashEnv)), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx := context.Background()
	p, err := Open(ctx, Config{Dir: c.Dir, Database: c.Database})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	token, err := bufio.NewReader(os.Stdin).ReadString('\n')
	for err == nil {
		var l Login
		if l, err = p.Refresh(ctx, strings.TrimSpace(token), Client{}); err == nil {
			token = l.RefreshToken
			fmt.Println(token)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A server that is killed while it refreshes loses nobody: the last token that
// a client has heard of is good, whether or not it was used up just before.
func TestKilled(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Dir: t.TempDir(), Argon2: Argon2{Memory: 64, Time: 1}}
			if kind == "postgres" {
				cfg.Database = newPostgres(t)
			}
			ctx := t.Context()
			p, err := Open(ctx, cfg)
			noError(t, err)
			u, err := p.CreateUser(ctx, NewUser{Email: "ann@example.com", Password: goodPassword})
			noError(t, err)
			l, err := p.SignIn(ctx, SignInRequest{Email: u.Email, Password: goodPassword}, Client{})
			noError(t, err)
			noError(t, p.Close())
			token := l.RefreshToken
			for round := range 6 {
				token = killed(t, crashConfig{cfg.Dir, cfg.Database}, token, 7*round+1)
				p, err := Open(ctx, cfg)
				noError(t, err)
				l, err := p.Refresh(ctx, token, Client{})
				noError(t, p.Close())
				if err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				token = l.RefreshToken
			}
		})
	}
}

// killed lets another process refresh a token, kills it after so many, and
// returns the last one that was heard of.
func killed(t *testing.T, c crashConfig, token string, refreshes int) string {
	t.Helper()
	env, err := json.Marshal(c)
	noError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(env))
	cmd.Stdin = strings.NewReader(token + "\n")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); n++ {
		if len(lines.Text()) == len(token) { // the last line may be cut
			token = lines.Text()
		}
		if n == refreshes {
			noError(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("not killed: %v %s", err, stderr.String())
	}
	return token
}
