// Package transport is the server side of Engine.IO, version 4: sessions over
// WebSocket, over HTTP long-polling, and the upgrade from one to the other; and
// of plain WebSockets with nothing in between, and of Server-Sent Events. It
// knows nothing of what the messages mean.
//
// An Engine, or a Plain, is an http.Handler that opens a Conn for each session
// and hands its messages to a Receiver. What is sent to a Conn goes through a bounded
// queue: Send never blocks, and a peer that does not read is cut off.
//
// An idle WebSocket connection costs one timer, and no buffer on TCP. On Linux a
// few loops, one a processor, read all TCP connections, deliver their messages, and
// leave a connection alone whose receiver blocks; others have a goroutine that
// waits in the read loop. On TCP as many writers
// write for all connections and never wait for one; a connection has a writer of
// its own only while its peer is slow. What waits is joined into one write. Package
// github.com/gobwas/ws upgrades connections and checks headers; the rest of
// RFC 6455 is here: fragments, UTF-8, sizes, control frames and the close
// handshake. The one extension is permessage-deflate, where it is configured.
//
// Polling sessions follow the reference server where the protocol leaves it
// open: a second poll while one waits, a second POST while one is read, a
// cancelled poll and a body that is no payload each end the session. A body
// that is too large, or of another content type, is refused alone. docs/protocol.md
// has the whole.
package transport
