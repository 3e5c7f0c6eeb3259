// Package client speaks HTTP and Socket.IO with a token that it takes from a
// [tokens.Source] each time it needs one.
//
// A [Client] is for one service, at one base URL. Typed calls are functions,
// since methods can't have type parameters:
//
//	todos, err := client.Get[[]Todo](ctx, c, "/api/todos")
//
// A [Socket] is a realtime connection in one namespace. It stays up over cuts
// and restarts of the server, and comes back into its rooms where it left
// them:
//
//	sock := c.Socket()
//	client.On(sock, "todo:created", func(ctx context.Context, t Todo) { … })
//	if err := sock.Connect(ctx); err != nil { … }
//	room, err := sock.Join(ctx, "board-7", client.JoinOptions{})
//
// It works with a Holdfast server and, without rooms, with any Socket.IO v5
// server; docs/protocol.md says what the two say to each other, docs/client.md
// how to use this package. With SocketConfig.Queue what is emitted is kept
// until the server has acknowledged it.
//
// # Events
//
// Handlers run one after another, in the order of the events, on one goroutine
// of the socket. A handler that panics is logged and stops nothing. A handler
// may call any method of the Socket, Close too. While a handler takes its time
// the events behind it wait, up to SocketConfig.ReceiveBuffer bytes; then the
// socket reads no more, and the server's own limits apply.
//
// # Cost
//
// A connected Socket that is idle has one goroutine, which waits for the server,
// one more with a queue, and on TCP no buffer: about 11 KB with its Client, a room
// and the stack, with TLS what crypto/tls keeps besides. A goroutine
// for the handlers comes with the first event, and goes after two pings without
// any; one that writes is there only while the network is slow. A Source that has
// events, but no method Follow as tokens.Manager has, costs a goroutine more. Each
// namespace has a connection of its own. A Client without a connected Socket has
// no goroutine beyond those of http.Transport for idle connections.
package client
