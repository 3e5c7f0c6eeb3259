package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

var npmSecret = auth.Secret("0123456789abcdef0123456789abcdef")

// TestNPMClient drives our server with the official socket.io-client, over
// each transport and over the upgrade between them.
func TestNPMClient(t *testing.T) {
	requireNode(t)
	for _, transports := range []string{"websocket", "polling", "polling,websocket"} {
		t.Run(transports, func(t *testing.T) {
			t.Parallel()
			for _, scenario := range []string{"connect", "tokens", "header", "acks", "binary", "namespaces", "rooms", "since", "presence", "ids", "upgrade", "expiry", "refresh", "drain"} {
				t.Run(scenario, func(t *testing.T) { runNPMClient(t, scenario, transports) })
			}
		})
	}
}

func runNPMClient(t *testing.T, scenario, transports string) {
	srv, address := npmServer(t)
	input, err := json.Marshal(map[string]any{"url": address, "tokens": npmTokens(t), "secret": string(npmSecret)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "npmclient.mjs", scenario, transports)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if scenario == "drain" && lines.Text() == "connected" {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			cancel()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}

// npmServer starts a server on loopback with the handlers that npmclient.mjs
// talks to.
func npmServer(t *testing.T) (*server.Server, string) {
	rooms, err := holdfast.RoomList("**", "!secret")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: npmSecret, DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Authenticator: verifier, Leeway: time.Second, MessageRate: 1000, MessageBurst: 1000,
		PresenceGrace: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*server.Namespace{srv.Of("/"), srv.Of("/admin")} {
		server.Handle(ns, "where", func(_ context.Context, c *server.Conn, _ *struct{}) (string, error) { return c.Namespace(), nil })
	}
	server.Handle(srv, "echo", func(_ context.Context, _ *server.Conn, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	server.HandleRaw(srv, "raw", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) { return args, nil })
	type sum struct{ A, B int }
	server.Handle(srv, "ask-me", func(ctx context.Context, c *server.Conn, in sum) (int, error) {
		answer, err := server.Ask[struct{ Sum int }](ctx, c, "ask", in.A, in.B)
		return answer.Sum, err
	})
	type file struct {
		Name string          `json:"name"`
		Size int             `json:"size"`
		Body socketio.Binary `json:"body"`
	}
	server.Handle(srv, "upload", func(_ context.Context, _ *server.Conn, in file) (file, error) {
		in.Size = len(in.Body)
		return in, nil
	})
	server.Handle(srv, "ticks", func(_ context.Context, c *server.Conn, n int) (int, error) {
		for i := range n {
			if err := c.Emit("tick", i); err != nil {
				return i, err
			}
		}
		return n, nil
	})
	var calls atomic.Int64
	type call struct {
		Call int64  `json:"call"`
		ID   string `json:"id"`
		Got  string `json:"got"`
	}
	server.Handle(srv, "count", func(ctx context.Context, _ *server.Conn, in json.RawMessage) (call, error) {
		return call{calls.Add(1), server.EventID(ctx), string(in)}, nil
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	httpServer := &http.Server{Handler: srv}
	done := make(chan struct{})
	go func() { defer close(done); httpServer.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		httpServer.Close()
		<-done
	})
	return srv, "http://" + listener.Addr().String()
}

// npmTokens are the tokens that the scenarios use, by name.
func npmTokens(t *testing.T) map[string]string {
	mint := func(user string, issued, expires time.Time) string {
		signed, err := auth.Mint(auth.SigningKey{Secret: npmSecret}, auth.Claims{User: user, Name: strings.ToUpper(user), IssuedAt: issued, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	now := time.Now()
	return map[string]string{
		"alice":     mint("alice", now, now.Add(time.Hour)),
		"bob":       mint("bob", now, now.Add(time.Hour)),
		"short":     mint("alice", now, now.Add(3*time.Second)),
		"expired":   mint("alice", now.Add(-2*time.Hour), now.Add(-time.Hour)),
		"wrong":     mint("alice", now, now.Add(time.Hour)) + "x",
		"oversized": strings.Repeat("a", 9000),
	}
}
