package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// TestTopicClients drives /ws/topic with the npm package @hyper-fetch/sockets,
// and compression with the npm package ws.
func TestTopicClients(t *testing.T) {
	requireNode(t)
	for _, scenario := range []string{"rooms", "heartbeat", "auth", "deflate"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			address := topicServer(t)
			input, err := json.Marshal(map[string]any{"url": "ws" + strings.TrimPrefix(address, "http") + "/ws/topic", "tokens": npmTokens(t)})
			if err != nil {
				t.Fatal(err)
			}
			node := startNode(t, "topicclient.mjs", scenario, string(input))
			for {
				var line string
				switch node.line(&line); line {
				case "done":
					return
				case "publish":
					for card := range 3 {
						publishCard(t, address, card+1)
					}
				default:
					t.Fatalf("node said %q", line)
				}
			}
		})
	}
}

const topicKey = "0123456789abcdef-topic"

// topicServer starts a server on loopback with the handlers that
// topicclient.mjs talks to.
func topicServer(t *testing.T) (address string) {
	rooms, err := holdfast.RoomList("**", "!secret")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: npmSecret, DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(topicKey)})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Authenticator: verifier, APIKeys: keys, AllowQueryToken: true, Compression: true, MaxEventData: 1 << 20,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Handle(srv, "echo", func(_ context.Context, _ *server.Conn, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	server.Handle(srv, "double", func(_ context.Context, c *server.Conn, n int) (any, error) { return nil, c.Emit("doubled", 2*n) })
	hosted := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		hosted.Close()
	})
	return hosted.URL
}

// publishCard publishes from a backend, over HTTP.
func publishCard(t *testing.T, address string, card int) {
	body := fmt.Sprintf(`{"event":"card:moved","data":{"card":%d,"text":%q}}`, card, strings.Repeat("x", 1000*card))
	req, err := http.NewRequestWithContext(t.Context(), "POST", address+"/api/rooms/board-7/events", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+topicKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("publish: %s", resp.Status)
	}
}
