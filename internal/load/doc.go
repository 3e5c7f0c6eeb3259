// Package load loads a Socket.IO server and checks what it answers: it is the
// engine of "holdfast bench". docs/bench.md says what is measured and how.
//
// One goroutine on one thread does all the work: it waits for all connections
// by epoll, reads into one buffer, and looks at frames where they lie. A
// connection that waits holds no buffer and no goroutine, so that the
// generator costs less than the server that shares the machine with it. Waiting
// so is there on Linux only; elsewhere [Run] returns [ErrUnsupported].
//
// Every message carries a stamp (publisher, room, number), and every connection
// checks what it gets: order, loss, duplicates, strangers' messages. What is
// wrong is counted in [Faults].
package load
