// Package front stands between a TCP listener and an http.Server, and answers
// the opening handshakes of WebSockets (RFC 6455 §4.2) itself.
//
// A connection that becomes a WebSocket leaves HTTP after one request. The
// http.Server has given it two buffers of 4 KB by then, a read in the background
// that has to be stopped, and contexts, all of which become garbage. The front
// reads the first request with what it keeps for the next connection, and calls
// the same handler.
//
// Only a request that is plain in every way is taken: see scan. Any other
// connection goes to the http.Server with what was read of it, so that there is
// one judge of everything that is odd.
package front
