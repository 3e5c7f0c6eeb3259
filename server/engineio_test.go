package server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
)

// recorder keeps what a bare connection is told.
type recorder struct {
	conn   *server.EngineIOConn
	closed chan error
}

func (r *recorder) Message(data []byte, binary bool) {
	switch {
	case string(data) == "bye":
		r.conn.Close(holdfast.Forbidden.New())
	case binary:
		r.conn.SendBinary(append([]byte(nil), data...))
	default:
		r.conn.SendText(data)
	}
}

func (r *recorder) Closed(err error) { r.closed <- err }

func TestEngineIO(t *testing.T) {
	if _, err := server.EngineIO(server.EngineIOConfig{}); err == nil {
		t.Error("no OnOpen, and no error")
	}
	in(t, func(t *testing.T) {
		var last *recorder
		h, err := server.EngineIO(server.EngineIOConfig{
			AllowedOrigins: []string{"https://app.example.com"},
			OnOpen: func(c *server.EngineIOConn) (server.EngineIOReceiver, error) {
				if c.Header().Get("X-Refuse") != "" {
					return nil, holdfast.RateLimited.New()
				}
				if c.ID() == "" {
					t.Error("no id")
				}
				last = &recorder{conn: c, closed: make(chan error, 1)}
				return last, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		listener := memnet.Listen()
		httpServer := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() { defer close(served); httpServer.Serve(listener) }()
		defer func() { httpServer.Close(); <-served }()
		client := &http.Client{Transport: &http.Transport{DialContext: listener.DialContext, DisableKeepAlives: true}}
		dial := func(header http.Header) (*peer, int) {
			conn, resp, err := websocket.Dial(t.Context(), "ws://holdfast.test/engine.io/?EIO=4&transport=websocket", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
			if err != nil {
				return nil, resp.StatusCode
			}
			return &peer{t: t, conn: conn, ctx: t.Context()}, 101
		}
		if _, status := dial(http.Header{"Origin": {"https://evil.example.com"}}); status != 403 {
			t.Errorf("another origin: %d", status)
		}
		if _, status := dial(http.Header{"X-Refuse": {"1"}}); status != 429 {
			t.Errorf("refused by OnOpen: %d", status)
		}
		p, _ := dial(http.Header{"Origin": {"https://app.example.com"}})
		p.want(`0{"sid":"`)
		p.send("4hello")
		p.want("4hello")
		p.sendBinary([]byte{1, 2})
		p.want("binary:\x01\x02")
		p.send("4bye")
		p.wantClose(4003, "FORBIDDEN")
		if err := <-last.closed; holdfast.CodeOf(err) != holdfast.Forbidden {
			t.Errorf("Closed(%v)", err)
		}
		<-last.conn.Context().Done()
		if last.conn.SendText([]byte("late")) {
			t.Error("a closed connection took a message")
		}
		p, _ = dial(nil)
		p.want(`0{"sid":"`)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		go h.Shutdown(ctx)
		p.wantClose(1001, "GOING_AWAY")
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}
