// Package server admits realtime connections by their tokens, keeps them in
// the rooms that they may be in, and carries events between them. A Server is
// an http.Handler: mount it in a program of your own, or run the holdfast
// command, which is a thin wrapper around it.
//
//	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret})
//	srv, err := server.New(server.Config{Authenticator: verifier})
//	server.Handle(srv, "todo:create", func(ctx context.Context, c *server.Conn, in NewTodo) (Todo, error) { … })
//	http.ListenAndServe("127.0.0.1:8080", srv)
//
// Clients are those of Socket.IO v5 (Engine.IO v4) in any language, over
// WebSocket and HTTP long-polling; those of the plain WebSocket; and, to listen,
// any HTTP client, by Server-Sent Events or by polling. docs/protocol.md has what
// they and the server say to each other.
//
// Order. The handlers of one connection run one after another, in the order
// in which its events arrived; those of different connections run at the same
// time. A slow handler delays only its own connection, whose client is then
// read more slowly; heartbeats and acks go on. Every room has one order,
// which every member sees.
package server
