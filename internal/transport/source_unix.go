//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"syscall"
)

// newSource returns the way to read conn that holds least memory.
func newSource(conn net.Conn) source {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s := &rawSource{raw: raw}
			s.step = s.try
			return s
		}
	}
	return &plainSource{conn: conn}
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

func (s *rawSource) fill(rd *reader) (int, error) {
	s.rd, s.n, s.err = rd, 0, nil
	if err := s.raw.Read(s.step); err != nil {
		rd.parked.Store(false)
		return 0, err
	}
	return s.n, s.err
}

// try is called by the runtime's poller: at first, and whenever the descriptor
// may be readable, until it returns true.
func (s *rawSource) try(fd uintptr) bool {
	rd := s.rd
	rd.parked.Store(false)
	for {
		n, err := syscall.Read(int(fd), rd.room())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			rd.idle()
			rd.parked.Store(true)
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
