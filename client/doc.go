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
// A connected Socket has three goroutines (reader, writer and handlers), one
// more with a queue and one with a Source that has events, a timer and the WebSocket library's two 4 KiB buffers: about 35 KB in all when
// idle, stacks included, and besides that what waits in its two queues. Each
// namespace has a connection of its own. A Client without a connected Socket has
// no goroutine beyond those of http.Transport for idle connections.
package client
