// Command taskboard is a live task board: boards, lists and cards that several
// people change at once, with accounts, roles and links. It shows how a program
// uses Holdfast, by its public packages alone. README.md says what it does.
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
)

func main() {
	cfg := config{logger: slog.Default()}
	flag.StringVar(&cfg.addr, "addr", "localhost:8080", "where to listen")
	flag.StringVar(&cfg.dir, "data", "taskboard-data", "the folder of accounts and boards; made if it is missing")
	flag.StringVar(&cfg.publicURL, "public-url", "", "where people find it, such as https://board.example.com; without it, where it listens")
	flag.DurationVar(&cfg.tokenLifetime, "dev-token-lifetime", 0, "how long an access token lives, such as 5s to watch refreshes; 15m if it is 0")
	flag.Float64Var(&cfg.callRate, "call-rate", defaultCallRate, "HTTP calls a second that a user may make; ten times as many at once")
	flag.StringVar(&cfg.page, "page", "", "a folder to serve the page from, such as examples/taskboard/page while it is worked on; without it, the one that is built in")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", cfg.addr)
	if err == nil {
		cfg.addr = named(cfg.addr, listener.Addr())
		fmt.Printf("The task board is at %s\n", cfg.url())
		err = run(ctx, cfg, listener)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "taskboard:", err)
		os.Exit(1)
	}
}

// named is the address as people write it, with the port that it has now.
func named(addr string, actual net.Addr) string {
	host, _, err := net.SplitHostPort(addr)
	_, port, perr := net.SplitHostPort(actual.String())
	if err != nil || perr != nil {
		return actual.String()
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// run serves until ctx ends, then lets the clients go in order.
func run(ctx context.Context, cfg config, listener net.Listener) error {
	defer listener.Close()
	a, err := newApp(ctx, cfg)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// Event streams end with the first, which the second waits for.
	err = errors.Join(err, a.Shutdown(drain), web.Shutdown(drain), a.Close())
	if ctx.Err() != nil {
		<-failed // http.ErrServerClosed
	}
	return err
}
