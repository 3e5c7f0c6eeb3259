//go:build !unix

package wsclient

import (
	"errors"
	"net"
	"syscall"
)

// rawHere: sockets can be read and written without waiting.
const rawHere = false

// rawConn returns nil: reading holds a few bytes, and all writing may wait.
func rawConn(*net.TCPConn) syscall.RawConn { return nil }

func newSource(syscall.RawConn) source { return nil }

func tryWrite(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
