//go:build !unix

package transport

import "net"

// newSource returns the way to read conn.
func newSource(conn net.Conn) source { return &plainSource{conn: conn} }
