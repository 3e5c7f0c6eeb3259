//go:build unix

package wsclient

import (
	"io"
	"net"
	"os"
	"syscall"
)

// rawHere: sockets can be read and written without waiting.
const rawHere = true

// rawConn returns the way to read and write a socket without waiting; nil if
// there is none.
func rawConn(tcp *net.TCPConn) syscall.RawConn {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// rawSource waits for a descriptor to become readable without a buffer, and
// takes one only when there is something to read.
type rawSource struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // try, bound once

	// Set for the time of a fill.
	rd  *reader
	n   int
	err error
}

func newSource(raw syscall.RawConn) source {
	s := &rawSource{raw: raw}
	s.step = s.try
	return s
}

func (s *rawSource) fill(rd *reader) (int, error) {
	s.rd, s.n, s.err = rd, 0, nil
	if err := s.raw.Read(s.step); err != nil {
		return 0, err
	}
	return s.n, s.err
}

// try is called by the runtime's poller: at first, and whenever the descriptor
// may be readable, until it returns true.
func (s *rawSource) try(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), s.rd.in.Room())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			s.rd.in.Idle()
			return false
		case err != nil:
			s.err = os.NewSyscallError("read", err)
		case n == 0:
			s.err = io.EOF
		default:
			s.n = n
		}
		return true
	}
}

// tryWrite writes what the socket takes at once, which may be nothing.
func tryWrite(raw syscall.RawConn, p []byte) (n int, err error) {
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for {
			n, failed = syscall.Write(int(fd), p)
			switch failed {
			case nil:
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				n, failed = 0, nil
			default:
				n, failed = 0, os.NewSyscallError("write", failed)
			}
			return true
		}
	})
	if err == nil {
		err = failed
	}
	return n, err
}
