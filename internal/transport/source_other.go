//go:build !unix

package transport

import (
	"net"
	"syscall"
)

// newRaw returns nil: a goroutine writes for each connection.
func newRaw(net.Conn) syscall.RawConn { return nil }

// newSource returns the way to read conn.
func newSource(conn net.Conn, _ syscall.RawConn) source { return &plainSource{conn: conn} }

func (a *attempt) write(syscall.RawConn, []byte) (int, error) { panic("there is no RawConn here") }

func (a *attempt) try(uintptr) bool { return true }
