// Command socketio serves what the public test suite of the Socket.IO
// protocol expects of a server: it admits everybody to "/" and "/custom",
// emits the auth payload back, echoes "message" as "message-back" and
// acknowledges "message-with-ack" with its arguments. Its timings are the
// suite's. CONTRIBUTING.md tells how to run the suite against it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "where to listen")
	flag.Parse()
	if err := run(*addr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr string) error {
	anyone := auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{}, nil
	})
	srv, err := server.New(server.Config{
		Authenticator:  anyone,
		PingInterval:   300 * time.Millisecond,
		PingTimeout:    200 * time.Millisecond,
		ConnectTimeout: time.Second,
		MaxPayload:     1_000_000,
	})
	if err != nil {
		return err
	}
	for _, ns := range []*server.Namespace{srv.Of("/"), srv.Of("/custom")} {
		ns.OnConnect(func(_ context.Context, c *server.Conn) error {
			payload := c.Payload()
			if payload == nil {
				payload = json.RawMessage("{}")
			}
			return c.Emit("auth", payload)
		})
		server.HandleRaw(ns, "message", func(_ context.Context, c *server.Conn, args socketio.Args) (socketio.Args, error) {
			return socketio.Args{}, c.EmitArgs("message-back", args)
		})
		server.HandleRaw(ns, "message-with-ack", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
			return args, nil
		})
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	return (&http.Server{Handler: srv, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}
