package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// connState is how far a connection is.
type connState uint8

const (
	dead      connState = iota
	dialling            // TCP
	upgrading           // the HTTP request is sent
	opening             // a WebSocket: the handshake of Engine.IO is to come
	joining             // the namespace is asked for
	ready               // admitted
)

// conn is one connection. It has buffers only while something is left over.
type conn struct {
	index, generation int32
	fd                int // -1 for none
	state             connState
	began             int64 // when it was dialled

	in, out []byte // what was read in part, and what could not be written yet
	unsent  []unsent
	flushed uint64 // bytes that were left over once, and are written
	backlog int64  // bytes read since the socket last had nothing more to read
	more    bool   // it had, at the last read
	parts   []byte // of a message in several frames
	inParts bool
	inRoom  bool    // the join was acknowledged
	retired bool    // a publisher that was lost
	room    uint32  // where there are rooms
	member  uint32  // its number in the room
	track   tracker // where there are rooms
}

// Bounds of what may wait.
const (
	maxHead   = 16 << 10 // of an HTTP answer
	maxUnsent = 4 << 20
)

// String names a connection in sentences about faults.
func (c *conn) String() string {
	if len(c.track.next) > 0 {
		return fmt.Sprintf("member %d of room %d", c.member, c.room)
	}
	return fmt.Sprintf("connection %d", c.index)
}

// send sends one frame. The payload is copied.
func (e *engine) send(c *conn, op byte, payload []byte) {
	e.frame = appendFrame(e.frame[:0], op, e.nextMask(), payload)
	e.write(c, e.frame)
}

// write writes now what it can, and keeps the rest.
func (e *engine) write(c *conn, data []byte) {
	if len(c.out) > 0 {
		if c.out = append(c.out, data...); len(c.out) > maxUnsent {
			e.lose(c, errors.New("the server does not read"))
		}
		return
	}
	n, err := writeFD(c.fd, data)
	switch {
	case err != nil && !errors.Is(err, errAgain):
		e.lose(c, os.NewSyscallError("write", err))
	case n < len(data):
		c.out = append(e.buffer(), data[n:]...)
		_ = e.poll.change(c.fd, c.index, c.generation, true) // the descriptor is known
	}
}

// writable is called when a descriptor can be written to: after a dial, or when
// there was something left.
func (e *engine) writable(c *conn) {
	if c.state == dialling {
		if err := dialled(c.fd); err != nil {
			e.refuse(c, e.dialError(err))
			return
		}
		c.state = upgrading
		_ = e.poll.change(c.fd, c.index, c.generation, false)
		t := e.cfg.Target
		request := "GET " + t.Path + "?EIO=4&transport=websocket HTTP/1.1\r\nHost: " + t.Host +
			"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + e.wsKey + "\r\n\r\n"
		e.write(c, []byte(request))
		return
	}
	n, err := writeFD(c.fd, c.out)
	if err != nil && !errors.Is(err, errAgain) {
		e.lose(c, os.NewSyscallError("write", err))
		return
	}
	e.clock()
	if c.flush(n, e.now); len(c.out) == 0 {
		e.recycle(&c.out)
		_ = e.poll.change(c.fd, c.index, c.generation, false)
	}
}

// readable reads once: what is left makes the descriptor readable again.
func (e *engine) readable(c *conn) {
	n, err := readFD(c.fd, e.buf)
	e.clock()
	switch {
	case errors.Is(err, errAgain):
		return
	case err != nil:
		e.lose(c, os.NewSyscallError("read", err))
		return
	case n == 0:
		e.lose(c, io.ErrUnexpectedEOF)
		return
	}
	c.took(n, len(e.buf))
	data := e.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	generation := c.generation
	used, err := e.consume(c, data)
	if c.generation != generation || c.fd < 0 {
		return // it was closed meanwhile
	}
	if err != nil {
		e.faults.add(&e.faults.Damaged, "%s: %v", c, err)
		e.lose(c, err)
		return
	}
	switch rest := data[used:]; {
	case len(rest) == 0:
		e.recycle(&c.in)
	case len(c.in) > 0:
		c.in = append(c.in[:0], rest...)
	default:
		c.in = append(e.buffer(), rest...)
	}
}

// consume handles all that data has whole, and returns how much that was.
func (e *engine) consume(c *conn, data []byte) (used int, err error) {
	if c.state == upgrading {
		if used, err = e.upgraded(c, data); used == 0 || err != nil {
			return used, err
		}
	}
	generation := c.generation
	for {
		f, n, err := parseFrame(data[used:], maxMessage)
		if n == 0 || err != nil {
			return used, err
		}
		used += n
		if f.op == opText && f.final && !c.inParts {
			err = e.message(c, f.payload)
		} else {
			err = e.unusual(c, f)
		}
		if err != nil || c.fd < 0 || c.generation != generation {
			return used, err
		}
	}
}

// unusual handles frames that are not whole text messages.
func (e *engine) unusual(c *conn, f frame) error {
	switch f.op {
	case opPing:
		e.send(c, opPong, f.payload)
	case opPong:
	case opClose:
		e.lose(c, closeError(f.payload))
	case opBinary:
		if c.inParts {
			return errors.New("a message begins within another")
		}
	default:
		if (f.op == opContinuation) != c.inParts {
			return errors.New("a frame continues nothing, or a message begins within another")
		}
		if len(c.parts)+len(f.payload) > maxMessage {
			return errTooLong
		}
		c.parts = append(c.parts, f.payload...)
		if c.inParts = !f.final; f.final {
			whole := c.parts
			c.parts = nil
			return e.message(c, whole)
		}
	}
	return nil
}

// closeNormal is the payload of a close frame: 1000, it is over.
var closeNormal = []byte{0x03, 0xe8}

// closeError says how a server closed a connection.
func closeError(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("the server closed it")
	}
	return fmt.Errorf("the server closed it: %d %s", int(payload[0])<<8|int(payload[1]), payload[2:])
}

// maxCodes bounds how many codes are told apart.
const maxCodes = 16

// count counts a refusal, or the end of a connection, by Holdfast's code in it,
// or else the text.
func (e *engine) count(text string) {
	code := text
	for _, known := range holdfast.Codes() {
		if strings.Contains(text, string(known.Code)) {
			code = string(known.Code)
			break
		}
	}
	if e.codes == nil {
		e.codes = make(map[string]uint64)
	}
	if _, known := e.codes[code]; !known && len(e.codes) >= maxCodes {
		code = "others"
	}
	e.codes[code]++
}

// upgraded looks at the answer to the upgrade.
func (e *engine) upgraded(c *conn, data []byte) (used int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxHead {
			return 0, errors.New("the answer to the upgrade is too long")
		}
		return 0, nil
	}
	used = end + 4
	head := string(data[:end])
	line, fields, _ := strings.Cut(head, "\r\n")
	_, status, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(line, "HTTP/1.1 ") || !strings.HasPrefix(status, "101") {
		return used, e.notUpgraded(c, status, fields, data[used:])
	}
	for field := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(field, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == e.wsAccept {
			c.state = opening
			return used, nil
		}
	}
	return used, errors.New("the answer to the upgrade has a wrong Sec-WebSocket-Accept")
}

// notUpgraded refuses a connection that was answered by HTTP.
func (e *engine) notUpgraded(c *conn, status, fields string, body []byte) error {
	var said struct {
		Error string
		Code  holdfast.Code
	}
	_ = json.Unmarshal(body, &said) // any text may be there
	text := status
	if said.Error != "" {
		text += ": " + said.Error
	}
	for field := range strings.SplitSeq(fields, "\r\n") {
		if name, value, _ := strings.Cut(field, ":"); strings.EqualFold(name, "Retry-After") {
			text += " (to be retried after" + value + " s)"
		}
	}
	e.refuse(c, refusal(text, said.Code))
	return nil
}

// refusal makes an error of what a server says, with a code if it is one of
// Holdfast's.
func refusal(text string, code holdfast.Code) error {
	for _, known := range holdfast.Codes() {
		if known.Code == code {
			return fmt.Errorf("the server refused a connection: %s: %w", text, code)
		}
	}
	return fmt.Errorf("the server refused a connection: %s", text)
}

// message handles one message of Engine.IO.
func (e *engine) message(c *conn, text []byte) error {
	if len(text) == 0 {
		return errors.New("an empty message")
	}
	switch text[0] {
	case eioMessage:
		if len(text) > 1 && text[1] == sioEvent && c.state == ready {
			e.heard = e.awake
			e.work.event(c, text[1:])
			return nil
		}
		return e.packet(c, text[1:])
	case eioPing:
		e.send(c, opText, append([]byte{eioPong}, text[1:]...))
	case eioOpen:
		if c.state != opening {
			return errors.New("a second handshake")
		}
		return e.opened(c)
	case eioClose:
		e.lose(c, errors.New("the server closed it"))
	}
	return nil
}

// opened asks for the namespace.
func (e *engine) opened(c *conn) error {
	c.state = joining
	text := append([]byte{eioMessage, sioConnect}, e.namespacePrefix()...)
	if token := e.tokens[c.index]; token != "" {
		text = append(append(append(text, `{"token":`...), quote(token)...), '}')
	}
	e.send(c, opText, text)
	return nil
}

// namespacePrefix stands in a packet before its id and data.
func (e *engine) namespacePrefix() string {
	if e.cfg.Namespace == "" || e.cfg.Namespace == "/" {
		return ""
	}
	return e.cfg.Namespace + ","
}

// packet handles a packet of Socket.IO that is no event, or comes early.
func (e *engine) packet(c *conn, text []byte) error {
	p, ok := parsePacket(text)
	if !ok {
		return fmt.Errorf("no packet of Socket.IO: %.40q", text)
	}
	switch p.kind {
	case sioConnect:
		if c.state != joining {
			return errors.New("a second admission")
		}
		c.state = ready
		e.pending--
		e.open++
		e.rec.admitted(e.now - c.began)
		e.work.ready(c)
	case sioConnectError:
		var said struct {
			Message string
			Data    struct{ Code holdfast.Code }
		}
		_ = json.Unmarshal(p.data, &said) // any JSON may be there
		e.refuse(c, refusal(said.Message, said.Data.Code))
	case sioDisconnect:
		e.lose(c, errors.New("the server left the namespace"))
	case sioEvent:
		if c.state == ready {
			e.work.event(c, text)
		}
	case sioAck:
		if c.state == ready {
			e.heard = e.awake
			e.work.ack(c, p)
		}
	}
	return nil
}

// ackError returns why an event was refused, by the ack of a Holdfast server;
// "" if it was not.
func ackError(data []byte) string {
	if !bytes.HasPrefix(data, []byte(`[{"ok":false`)) {
		return ""
	}
	var args []struct {
		Error struct {
			Message    string
			Code       string
			RetryAfter int
		}
	}
	if json.Unmarshal(data, &args) != nil || len(args) == 0 {
		return string(data)
	}
	return args[0].Error.Code + ": " + args[0].Error.Message
}

// refuse ends a connection that was not admitted.
func (e *engine) refuse(c *conn, err error) {
	e.shut(c)
	e.refused++
	if e.firstRefusal == nil {
		e.firstRefusal = err
	}
	if e.tolerant {
		e.count(err.Error())
		e.faults.add(&e.faults.Refused, "connection %d: %v", c.index, err)
		e.work.gone(c)
	}
}

// lose ends a connection that ought to have stayed.
func (e *engine) lose(c *conn, err error) {
	if c.state != ready {
		e.refuse(c, fmt.Errorf("connection %d, %s after it was begun: %w", c.index, round(time.Duration(e.now-c.began)), err))
		return
	}
	e.rec.unread(c.backlog)
	e.shut(c)
	e.ended++
	e.count(err.Error())
	e.faults.add(&e.faults.Disconnected, "%s: %v", c, err)
	e.work.gone(c)
}

// shut closes the descriptor and gives back the buffers.
func (e *engine) shut(c *conn) {
	switch c.state {
	case dead:
	case ready:
		e.open--
	default:
		e.pending--
	}
	if c.fd >= 0 {
		closeFD(c.fd) // which takes it out of the poller
	}
	c.fd, c.state, c.inRoom, c.inParts, c.parts = -1, dead, false, false, nil
	c.unsent, c.flushed, c.backlog, c.more = nil, 0, 0, false
	c.generation++
	e.recycle(&c.in)
	e.recycle(&c.out)
}

// buffer returns an empty buffer, for what is left over.
func (e *engine) buffer() []byte {
	if n := len(e.spare); n > 0 {
		buf := e.spare[n-1]
		e.spare = e.spare[:n-1]
		return buf
	}
	return make([]byte, 0, 4<<10)
}

// maxSpare bounds the buffers that are kept.
const maxSpare = 256

// recycle gives a buffer back.
func (e *engine) recycle(buf *[]byte) {
	if *buf != nil && len(e.spare) < maxSpare && cap(*buf) >= 1<<10 && cap(*buf) <= readBuffer {
		e.spare = append(e.spare, (*buf)[:0])
	}
	*buf = nil
}

// appendInt appends a number in decimal.
func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }

// round makes a time short enough to be read.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(100 * time.Nanosecond)
	case d < time.Second:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}
