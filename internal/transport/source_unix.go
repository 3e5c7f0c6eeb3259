//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"syscall"
)

// newSource returns the way to read conn that holds least memory.
func newSource(conn net.Conn, raw syscall.RawConn) source {
	if raw == nil {
		return &plainSource{conn: conn}
	}
	s := &rawSource{raw: raw}
	s.step = s.try
	return s
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
	if rd.served && rd.reads == 0 {
		return 0, s.later(rd)
	}
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
		room := rd.in.Room()
		n, errno := readNow(fd, room)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			if rd.served {
				s.err = s.later(rd)
				return true
			}
			rd.in.Idle()
			if rd.renewDue() {
				s.err = errRenew
				return true
			}
			rd.parked.Store(true)
			return false
		case errno != 0:
			s.err = os.NewSyscallError("read", errno)
		case n == 0:
			s.err = io.EOF
		default:
			s.n = n
			if rd.reads--; n < len(room) {
				rd.reads = 0 // what comes now, the poller tells
			}
		}
		return true
	}
}

// later is for a reader that does not wait itself.
func (s *rawSource) later(rd *reader) error {
	rd.in.Idle()
	rd.parked.Store(true)
	return errLater
}

// newRaw returns the way to write to conn without waiting; nil if there is none.
func newRaw(conn net.Conn) syscall.RawConn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// write writes what the socket takes at once, which may be nothing.
func (a *attempt) write(raw syscall.RawConn, out []byte) (int, error) {
	a.out, a.n, a.err = out, 0, nil
	err := raw.Write(a.step)
	a.out = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}

// try is called by RawConn.Write. It never has it wait.
func (a *attempt) try(fd uintptr) bool {
	for {
		n, errno := writeNow(fd, a.out)
		switch errno {
		case 0:
			a.n = n
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
		default:
			a.err = os.NewSyscallError("write", errno)
		}
		return true
	}
}
