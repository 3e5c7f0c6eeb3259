// Command gobwas is a bare broadcast server on github.com/gobwas/ws, for
// comparison: a goroutine a connection, rooms, one write for each delivery. It
// has neither tokens, JSON, heartbeats, limits nor a way out for slow clients.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/bench/wire"
)

func main() {
	fmt.Fprintln(os.Stderr, "gobwas:", serve())
	os.Exit(1)
}

// serve serves until the process is ended from outside; it returns only errors.
func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Printf("listening on http://%s\n", listener.Addr())
	h := &host{rooms: make(map[string]*room)}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go h.connection(conn) // ends with the process at the latest
	}
}

// host has the rooms. Rooms stay when they are empty.
type host struct {
	mu    sync.RWMutex
	rooms map[string]*room
}

type room struct {
	mu      sync.Mutex
	members []net.Conn
}

// find returns the room of this name, which it makes if there is none.
func (h *host) find(name []byte) *room {
	h.mu.RLock()
	found := h.rooms[string(name)]
	h.mu.RUnlock()
	if found != nil {
		return found
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if found = h.rooms[string(name)]; found == nil {
		found = &room{}
		h.rooms[string(name)] = found
	}
	return found
}

// readSize is the read buffer of a connection: whole messages of the usual
// size come with one system call.
const readSize = 512

// maxMessage bounds what a client may send.
const maxMessage = 2 << 20

// connection upgrades a connection and answers it until it ends.
func (h *host) connection(conn net.Conn) {
	defer conn.Close()
	if _, err := ws.Upgrade(conn); err != nil {
		return
	}
	if send(conn, []byte(wire.Open)) != nil {
		return
	}
	var joined *room
	defer func() {
		if joined != nil {
			joined.leave(conn)
		}
	}()
	from := bufio.NewReaderSize(conn, readSize)
	var buf []byte
	for {
		text, err := readText(from, &buf)
		if err != nil {
			return
		}
		r := wire.Parse(text)
		answer := wire.AppendAck(nil, r, []byte(wire.OK))
		switch r.Kind {
		case wire.Connect:
			answer = []byte(wire.Connected)
		case wire.Join:
			joined = h.find(r.Room)
			joined.join(conn)
		case wire.Publish:
			h.find(r.Room).publish(wire.AppendEvent(nil, r))
		case wire.Echo:
			answer = wire.AppendAck(nil, r, r.Data)
		default:
			continue
		}
		if send(conn, answer) != nil {
			return
		}
	}
}

// send writes a text as one frame with one system call: publishers write to the
// same connection, and what they write must not come between.
func send(conn net.Conn, text []byte) error {
	frame, err := ws.CompileFrame(ws.NewTextFrame(text))
	if err != nil {
		return err
	}
	_, err = conn.Write(frame)
	return err
}

// readText reads one frame into buf, which grows as it has to.
func readText(from *bufio.Reader, buf *[]byte) ([]byte, error) {
	header, err := ws.ReadHeader(from)
	if err != nil {
		return nil, err
	}
	if header.OpCode == ws.OpClose || header.Length > maxMessage {
		return nil, errors.New("it is over")
	}
	if n := int(header.Length); n > cap(*buf) {
		*buf = make([]byte, n)
	}
	text := (*buf)[:header.Length]
	if _, err := io.ReadFull(from, text); err != nil {
		return nil, err
	}
	ws.Cipher(text, header.Mask, 0)
	return text, nil
}

func (r *room) join(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, conn)
}

func (r *room) leave(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, member := range r.members {
		if member == conn {
			last := len(r.members) - 1
			r.members[i] = r.members[last]
			r.members = r.members[:last]
			return
		}
	}
}

// publish frames a text once and writes it to every member.
func (r *room) publish(text []byte) {
	frame, err := ws.CompileFrame(ws.NewTextFrame(text))
	if err != nil {
		return
	}
	r.mu.Lock() // one order for all members
	defer r.mu.Unlock()
	for _, member := range r.members {
		_, _ = member.Write(frame) // a member that is gone finds out by itself
	}
}
