package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dev/holdfast/bench/wire"
)

// loop is the whole server: one thread uses it.
type loop struct {
	epoll, listener int
	conns           map[int32]*conn
	rooms           map[string]*room
	dirty           []*conn // have something to be written at the end of the turn
	in              []byte  // what is read lands here
	out             []byte  // what is written is put together here
}

// conn is one connection.
type conn struct {
	fd       int32
	upgraded bool
	stuck    bool     // waits until it can be written to
	due      [][]byte // frames, shared with other connections
	in       []byte   // begin of a message that has not come whole
	rest     []byte   // what the socket did not take
	room     *room
}

type room struct{ members []*conn }

// readBuffer is how much is read at once.
const readBuffer = 256 << 10

// serve serves until the process is ended from outside; it returns only errors.
func serve() error {
	runtime.LockOSThread()
	l := &loop{conns: make(map[int32]*conn), rooms: make(map[string]*room), in: make([]byte, readBuffer)}
	if err := l.listen(); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return err
		}
		for i := range events[:n] {
			if int(events[i].Fd) == l.listener {
				l.accept()
				continue
			}
			c := l.conns[events[i].Fd]
			if c != nil && events[i].Events&unix.EPOLLOUT != 0 {
				l.unstick(c)
			}
			if c != nil && events[i].Events&^uint32(unix.EPOLLOUT) != 0 {
				l.read(c)
			}
		}
		l.flush()
	}
}

// listen listens on a free port and prints it.
func (l *loop) listen() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(l.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(l.listener, unix.SOMAXCONN); err != nil {
		return err
	}
	at, err := unix.Getsockname(l.listener)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://127.0.0.1:%d\n", at.(*unix.SockaddrInet4).Port)
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.listener, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.listener)})
}

// accept takes all connections that wait.
func (l *loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // none left, or one that is gone again
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := &conn{fd: int32(fd)}
		if unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.fd}) != nil {
			unix.Close(fd)
			continue
		}
		l.conns[c.fd] = c
	}
}

// read reads once and handles what has come whole.
func (l *loop) read(c *conn) {
	n, err := unix.Read(int(c.fd), l.in)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		l.close(c)
		return
	}
	data := l.in[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	used, err := l.consume(c, data)
	switch {
	case err != nil:
		l.close(c)
	case used == len(data):
		c.in = nil
	default:
		c.in = slices.Clone(data[used:])
	}
}

// errClosed says that the client has closed.
var errClosed = errors.New("closed")

// consume handles whole messages and returns how long they were.
func (l *loop) consume(c *conn, data []byte) (used int, err error) {
	if !c.upgraded {
		answer, n, err := appendUpgrade(nil, data)
		if n == 0 || err != nil {
			return 0, err
		}
		c.upgraded, used = true, n
		l.due(c, appendFrame(answer, wire.Open))
	}
	for {
		op, text, n, err := parse(data[used:])
		if n == 0 || err != nil {
			return used, err
		}
		used += n
		const opText, opClose = 0x1, 0x8
		switch op {
		case opText:
			l.message(c, wire.Parse(text))
		case opClose:
			return used, errClosed
		}
	}
}

// message does what a client asks for.
func (l *loop) message(c *conn, r wire.Request) {
	switch r.Kind {
	case wire.Connect:
		l.due(c, appendFrame(nil, wire.Connected))
	case wire.Join:
		to := l.rooms[string(r.Room)]
		if to == nil {
			to = &room{}
			l.rooms[string(r.Room)] = to
		}
		to.members = append(to.members, c)
		c.room = to
		l.due(c, ack(r, []byte(wire.OK)))
	case wire.Publish:
		const most = 16
		text := len(r.Event) + len(r.Data) + len(`42[,]`)
		frame := wire.AppendEvent(appendHeader(make([]byte, 0, text+most), text), r)
		if to := l.rooms[string(r.Room)]; to != nil {
			for _, member := range to.members {
				l.due(member, frame)
			}
		}
		l.due(c, ack(r, []byte(wire.OK)))
	case wire.Echo:
		l.due(c, ack(r, r.Data))
	}
}

// ack is the frame that answers a request.
func ack(r wire.Request, data []byte) []byte {
	const most = 16
	text := len(`43[]`) + len(r.ID) + len(data)
	return wire.AppendAck(appendHeader(make([]byte, 0, text+most), text), r, data)
}

// due queues a frame until the end of the turn.
func (l *loop) due(c *conn, frame []byte) {
	if c.due = append(c.due, frame); len(c.due) == 1 {
		l.dirty = append(l.dirty, c)
	}
}

// flush writes what is due, with one system call for each connection.
func (l *loop) flush() {
	for i, c := range l.dirty {
		l.dirty[i] = nil
		if c.fd >= 0 {
			l.write(c)
		}
	}
	l.dirty = l.dirty[:0]
}

// write writes what is due for one connection, and keeps what the socket does
// not take.
func (l *loop) write(c *conn) {
	data := c.due[0]
	if len(c.due) > 1 {
		l.out = l.out[:0]
		for _, frame := range c.due {
			l.out = append(l.out, frame...)
		}
		data = l.out
	}
	clear(c.due)
	c.due = c.due[:0]
	if c.stuck {
		c.rest = append(c.rest, data...)
		return
	}
	n, err := unix.Write(int(c.fd), data)
	switch {
	case err != nil && !errors.Is(err, unix.EAGAIN):
		l.close(c)
	case n < len(data):
		c.rest, c.stuck = slices.Clone(data[max(n, 0):]), true
		l.interest(c)
	}
}

// unstick writes on for a connection that did not take everything.
func (l *loop) unstick(c *conn) {
	n, err := unix.Write(int(c.fd), c.rest)
	if err != nil {
		if !errors.Is(err, unix.EAGAIN) {
			l.close(c)
		}
		return
	}
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest, c.stuck = nil, false
		l.interest(c)
	}
}

// interest tells the system what to wait for.
func (l *loop) interest(c *conn) {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: c.fd}
	if c.stuck {
		event.Events |= unix.EPOLLOUT
	}
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, int(c.fd), &event) // the descriptor is known
}

// close forgets a connection.
func (l *loop) close(c *conn) {
	if c.fd < 0 {
		return
	}
	delete(l.conns, c.fd)
	unix.Close(int(c.fd))
	c.fd = -1
	if c.room == nil {
		return
	}
	if i := slices.Index(c.room.members, c); i >= 0 {
		c.room.members = slices.Delete(c.room.members, i, i+1)
	}
}
