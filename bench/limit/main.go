// Command limit is what a WebSocket server on this machine can cost at the
// least, for comparison: one thread that waits by epoll, frames by hand, and
// writes what is due for a connection in one turn of its loop at once. A waiting
// connection holds no buffer and no goroutine. It checks nothing.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "limit:", serve())
	os.Exit(1)
}
