// Command engineio serves what the public test-suite of the Engine.IO protocol
// (version 4) expects of a server: at /engine.io/, sessions that echo every
// message, with the suite's short heartbeat. It is run by hand, next to a copy
// of the suite, and is no part of Holdfast's server.
//
//	go run ./internal/conformance/engineio -addr 127.0.0.1:3000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/transport"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	verbose := flag.Bool("v", false, "log refusals")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := serve(ctx, *addr, logger); err != nil {
		fmt.Fprintln(os.Stderr, "engineio:", err)
		os.Exit(1)
	}
}

// serve runs until ctx ends.
func serve(ctx context.Context, addr string, logger *slog.Logger) error {
	engine := transport.NewEngine(transport.EngineConfig{
		PingInterval: 300 * time.Millisecond,
		PingTimeout:  200 * time.Millisecond,
		MaxPayload:   1_000_000,
		Open:         func(*transport.Conn) (transport.Receiver, error) { return echo{}, nil },
		Logger:       logger,
	})
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", engine)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = errors.Join(engine.Close(end), server.Shutdown(end))
	<-failed
	return err
}

// echo sends back what it gets.
type echo struct{}

func (echo) Message(c *transport.Conn, data []byte, binary bool) {
	if binary {
		c.Send(transport.NewBinaryFrame(append([]byte(nil), data...)))
		return
	}
	c.Send(transport.NewFrame(append([]byte{'4'}, data...)))
}

func (echo) Closed(*transport.Conn, error) {}
