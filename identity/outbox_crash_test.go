package identity

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/webhook"
)

// outboxEnv holds the configuration of a process that publishes until it is
// killed.
const outboxEnv = "HOLDFAST_IDENTITY_OUTBOX"

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hookConfig has one target.
func hookConfig(url string, p *Provider) webhook.Config {
	return webhook.Config{Outbox: p.Outbox(), Logger: slog.New(slog.DiscardHandler), Targets: []webhook.Target{{
		Name: "app", URL: url, Secrets: []auth.Secret{auth.Secret(hookSecret)}, Concurrency: 2,
	}}}
}

// publishForEver tells of one event after the other, to a target where nobody
// is, and writes the number of each that it was told is safe. It is what the
// test binary does in the process to be killed.
func publishForEver() int {
	ctx := context.Background()
	var c crashConfig
	err := json.Unmarshal([]byte(os.Getenv(outboxEnv)), &c)
	var p *Provider
	if err == nil {
		p, err = Open(ctx, Config{Dir: c.Dir, Database: c.Database})
	}
	var d *webhook.Dispatcher
	if err == nil {
		d, err = webhook.New(hookConfig("http://127.0.0.1:1/", p))
	}
	for n := uint64(1); err == nil; n++ {
		err = d.Published(ctx, &holdfast.Event{Room: "a", Name: "e", Position: holdfast.Position{Epoch: "e", Offset: n}})
		fmt.Println(n)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A process that is killed loses no event that it has taken: the next one
// delivers them all.
func TestOutboxKilled(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Dir: t.TempDir()}
			if kind == "postgres" {
				cfg.Database = newPostgres(t)
			}
			taken := publishAndDie(t, crashConfig{cfg.Dir, cfg.Database}, 100)
			p, err := Open(t.Context(), cfg)
			noError(t, err)
			defer func() { noError(t, p.Close()) }()
			// What that process had in hand waits for the end of a lease, and what
			// it could not deliver for the next attempt: up to minutes. It comes now.
			_, err = execute(t.Context(), p.db.write, `UPDATE webhook_outbox SET due = 0 WHERE given_up = 0`)
			noError(t, err)
			app := newHookReceiver(t)
			d, err := webhook.New(hookConfig(app.URL, p))
			noError(t, err)
			defer func() { noError(t, d.Shutdown(t.Context())) }()
			for deadline := time.After(time.Minute); app.count() < taken; {
				select {
				case <-app.came:
				case <-deadline:
					t.Fatalf("%d of %d have come", app.count(), taken)
				}
			}
			// One more may be stored than could be said.
			if n := app.count(); n > taken+1 {
				t.Errorf("%d came, want %d", n, taken)
			}
		})
	}
}

// publishAndDie lets another process publish, kills it after so many lines, and
// returns how many events it said are safe.
func publishAndDie(t *testing.T, c crashConfig, lines int) (taken int) {
	t.Helper()
	env, err := json.Marshal(c)
	noError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), outboxEnv+"="+string(env))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	for reader := bufio.NewReader(stdout); ; {
		if _, err := reader.ReadString('\n'); err != nil { // a line that is cut says nothing
			break
		}
		if taken++; taken == lines {
			noError(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("not killed: %v %s", err, stderr.String())
	}
	return taken
}

// hookReceiver counts the messages that have come, each once.
type hookReceiver struct {
	*httptest.Server
	came chan struct{} // holds one

	mu  sync.Mutex // guards ids
	ids map[string]bool
}

func newHookReceiver(t *testing.T) *hookReceiver {
	r := &hookReceiver{came: make(chan struct{}, 1), ids: make(map[string]bool)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		m, err := webhook.Receive(auth.Secret(hookSecret), request)
		if err != nil {
			t.Errorf("Receive: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ids[m.ID] = true
		select {
		case r.came <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *hookReceiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids)
}
