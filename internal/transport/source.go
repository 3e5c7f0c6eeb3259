package transport

import (
	"net"
)

// plainSource reads any net.Conn. While it waits it holds only a few bytes,
// since the borrowed buffer would be pinned.
type plainSource struct {
	conn  net.Conn
	first [32]byte
}

func (s *plainSource) fill(rd *reader) (int, error) {
	if rd.in.Len() > 0 {
		rd.parked.Store(true)
		n, err := s.conn.Read(rd.in.Room())
		rd.parked.Store(false)
		return n, err
	}
	rd.in.Idle()
	rd.parked.Store(true)
	n, err := s.conn.Read(s.first[:])
	rd.parked.Store(false)
	if n > 0 {
		copy(rd.in.Room(), s.first[:n])
	}
	return n, err
}
