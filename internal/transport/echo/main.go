// Command echo serves a WebSocket that sends every message back, on the
// transport of the server. It is there for conformance suites that others wrote,
// such as Autobahn|Testsuite; docs/design/rfc6455.md has what they found.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/holdfast-dev/holdfast/internal/transport"
)

// echo is a receiver that sends back what it gets.
type echo struct{}

// Message implements transport.Receiver.
func (echo) Message(c *transport.Conn, data []byte, binary bool) {
	if binary {
		c.Send(transport.NewBinaryFrame(bytes.Clone(data)))
		return
	}
	c.Send(transport.NewTextFrame(data))
}

// Closed implements transport.Receiver.
func (echo) Closed(*transport.Conn, error) {}

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "address to listen on")
	limit := flag.Int("limit", 32<<20, "bytes of the largest message")
	deflate := flag.Bool("deflate", false, "accept permessage-deflate, and compress every message that gets shorter")
	flag.Parse()
	if err := serve(*addr, *limit, *deflate); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// serve runs until it is interrupted.
func serve(addr string, limit int, deflate bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	plain := transport.NewPlain(transport.PlainConfig{
		MaxPayload:   limit,
		QueueBytes:   4 * limit,
		Binary:       true,
		Compression:  deflate,
		CompressFrom: 1,
		Open:         func(*transport.Conn) (transport.Receiver, error) { return echo{}, nil },
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	server := &http.Server{Addr: addr, Handler: plain, ReadHeaderTimeout: 10 * time.Second}
	done := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer done()
	err := server.ListenAndServe()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, plain.Close(end))
}
