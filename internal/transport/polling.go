package transport

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
)

// overtaking is how far a session's requests may overtake each other, since
// they come on several connections: a poll and the close packet that was sent
// after it, or the last packet of an upgrade and a poll that was sent after
// that. The first to come waits this long for the other.
const overtaking = 50 * time.Millisecond

// polling is what a session needs that was opened by long-polling. All of it
// is guarded by the session's mu.
type polling struct {
	waiting bool          // a poll waits, or was woken and has not taken its answer yet
	wake    chan struct{} // closed to wake it
	writing int           // poll answers on their way; a WebSocket writes after them

	posting bool      // a POST is being read or delivered
	posted  sync.Cond // the end of it

	unknown bool          // it ends, and no new request is answered: it is about to be removed
	goodbye bool          // the peer sent a close packet: polls are answered by a noop
	gone    chan struct{} // if set, closed when the session is removed

	upgrading bool    // a WebSocket is being tried,
	probe     *socket // this one,
	probed    bool    // and got its answer: polls are not held any more
	noop      bool    // the waiting poll is to be answered by a noop
}

// rouse wakes the waiting poll.
func (p *polling) rouse() {
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

// end is called when the session is removed.
func (p *polling) end() {
	p.rouse()
	if p.gone != nil {
		close(p.gone)
		p.gone = nil
	}
}

// The short answers to a poll.
const (
	closePacket = string(byte(engineio.Close))
	noopPacket  = string(byte(engineio.Noop))
)

// payload is the answer to a poll: frames, and then a packet.
type payload struct {
	frames []*hub.Frame
	tail   string
	last   bool // the session ends with it
}

// lockPolled locks mu for a request of a polling session, if it still is one.
func (c *Conn) lockPolled() error {
	c.mu.Lock()
	if c.poll == nil || c.ws != nil {
		c.mu.Unlock()
		return notPolled()
	}
	if c.state == stateOpen { // the timer may be a little late
		if e, due := c.overdue(c.host.now()); due {
			c.mu.Unlock()
			c.end(e)
			return unknownSession()
		}
	}
	if c.state == stateClosed || c.poll.unknown {
		c.mu.Unlock()
		return unknownSession()
	}
	return nil
}

// openPolling opens a session and answers with its handshake.
func (e *Engine) openPolling(w http.ResponseWriter, r *http.Request) error {
	c, err := e.open(r, &polling{})
	if err != nil {
		return err
	}
	if err := writeText(w, e.cfg.WriteTimeout, e.handshake(c, transportWebSocket)); err != nil {
		c.end(lost(err))
	}
	return nil
}

// servePoll answers a poll: at once if there is something to send, else when
// there is.
func (c *Conn) servePoll(w http.ResponseWriter, r *http.Request) error {
	p := c.poll
	if err := c.lockPolled(); err != nil {
		return err
	}
	if p.waiting {
		c.mu.Unlock()
		err := holdfast.Errorf(holdfast.ProtocolError, "two polls at once")
		c.end(ending{err: err})
		return err
	}
	p.waiting = true
	var late <-chan time.Time
	if p.probed {
		timer := time.NewTimer(overtaking)
		defer timer.Stop()
		late = timer.C
	}
	out, ok := c.take()
	for !ok && c.ws == nil {
		wake := make(chan struct{})
		p.wake = wake
		c.mu.Unlock()
		held := false
		select {
		case <-wake:
		case <-late:
			held = true
		case <-r.Context().Done():
			c.cancelPoll()
			return nil
		}
		c.mu.Lock()
		p.noop = p.noop || held && p.probed
		out, ok = c.take()
	}
	if !ok { // upgraded: only a poll that came after the probe can still be here
		p.waiting = false
		c.mu.Unlock()
		return notPolled()
	}
	p.waiting, p.noop = false, false
	p.writing++
	c.mu.Unlock()
	if out.last {
		c.remove()
	}
	err := writeText(w, c.host.cfg.WriteTimeout, out.append(nil))
	c.mu.Lock()
	p.writing--
	if c.ws != nil {
		c.kick()
	}
	c.mu.Unlock()
	if err != nil {
		c.end(lost(err))
	}
	return nil
}

func notPolled() error {
	return holdfast.Errorf(holdfast.ProtocolError, "session is not polled any more")
}

// cancelPoll ends the session of a poll that its client gave up, unless it has
// left polling meanwhile: an answer may have been on its way.
func (c *Conn) cancelPoll() {
	c.mu.Lock()
	polled := c.ws == nil
	c.poll.waiting, c.poll.noop = false, false
	c.mu.Unlock()
	if polled {
		c.end(lost(errCancelled))
	}
}

var errCancelled = errors.New("poll was cancelled")

// take returns what a poll is to be answered with; ok is false if there is
// nothing yet. mu is held.
func (c *Conn) take() (out payload, ok bool) {
	p, cfg := c.poll, &c.host.cfg
	switch {
	case c.ws != nil: // what is queued goes there
		return payload{}, false
	case p.goodbye:
		return payload{tail: noopPacket, last: true}, true
	}
	size, packets := 0, 0
	for {
		frames := c.queue.Pop(out.frames, 0, 1)
		if len(frames) == len(out.frames) {
			break
		}
		f := frames[len(frames)-1]
		n, bytes := polledSize(f)
		if len(out.frames) > 0 {
			if bytes++; size+bytes > cfg.MaxPayload || packets+n > cfg.MaxPackets {
				c.queue.PushFront(f)
				break
			}
		}
		out.frames = frames
		size += bytes
		packets += n
	}
	if c.state != stateOpen && len(out.frames) == 0 {
		// The close goes alone: the official client hands messages on a tick
		// later than it acts on a close, so those of the same payload would
		// reach the application only after its next connect.
		out.tail, out.last = closePacket, true
	}
	if len(out.frames) == 0 && out.tail == "" && p.noop {
		out.tail = noopPacket
	}
	return out, len(out.frames) > 0 || out.tail != ""
}

// polledSize returns how many packets and bytes f is in a payload.
func polledSize(f *hub.Frame) (packets, bytes int) {
	if len(f.Text) > 0 {
		packets, bytes = 1, len(f.Text)
	}
	for _, b := range f.Binary {
		if packets++; packets > 1 {
			bytes++
		}
		bytes += 1 + (len(b)+2)/3*4
	}
	return packets, bytes
}

// separator stands between the packets of a payload.
const separator = 0x1e

func (p payload) append(dst []byte) []byte {
	begin := len(dst)
	next := func() {
		if len(dst) > begin {
			dst = append(dst, separator)
		}
	}
	for _, f := range p.frames {
		if len(f.Text) > 0 {
			next()
			dst = append(dst, f.Text...)
		}
		for _, b := range f.Binary {
			next()
			dst = engineio.Packet{Type: engineio.Message, Binary: true, Data: b}.Append(dst)
		}
	}
	if p.tail != "" {
		next()
		dst = append(dst, p.tail...)
	}
	return dst
}

// writeText answers with a payload, for which the peer gets limited time.
func writeText(w http.ResponseWriter, timeout time.Duration, body []byte) error {
	// The server lifts the deadline after the request. A writer that can't have
	// one (in a test, behind a middleware) goes without.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, err := w.Write(body)
	return err
}

// servePost takes in a payload.
func (c *Conn) servePost(w http.ResponseWriter, r *http.Request) error {
	limit := c.host.cfg.MaxPayload
	if err := checkContentType(r); err != nil {
		return err
	}
	if r.ContentLength > int64(limit) {
		return holdfast.Errorf(holdfast.MessageTooLarge, "payload is larger than %d bytes", limit)
	}
	p := c.poll
	if err := c.lockPolled(); err != nil {
		return err
	}
	if p.posting {
		c.mu.Unlock()
		err := holdfast.Errorf(holdfast.ProtocolError, "two payloads at once")
		c.end(ending{err: err})
		return err
	}
	p.posting = true
	c.mu.Unlock()

	err := c.receivePayload(w, r)

	c.mu.Lock()
	p.posting = false
	p.posted.Broadcast()
	gone := p.gone
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if gone != nil {
		<-gone // tick sees to it
	}
	return writeText(w, c.host.cfg.WriteTimeout, []byte("ok"))
}

// checkContentType lets text/plain in UTF-8 pass, and no type at all.
func checkContentType(r *http.Request) error {
	values := r.Header["Content-Type"]
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(values[0])
	charset := params["charset"]
	if err != nil || len(values) > 1 || kind != "text/plain" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return holdfast.Errorf(holdfast.InvalidArgument, "payload must be text/plain in UTF-8")
	}
	return nil
}

// receivePayload reads a body and delivers its packets.
func (c *Conn) receivePayload(w http.ResponseWriter, r *http.Request) error {
	body, err := c.readBody(w, r)
	if err != nil {
		return err
	}
	packets, err := engineio.ParsePayload(body, c.host.cfg.MaxPackets)
	if err != nil {
		e := holdfast.AsError(err)
		if e.Code != holdfast.MessageTooLarge { // which is dead alone
			c.end(ending{err: e})
		}
		return e
	}
	for _, packet := range packets {
		if packet.Type == engineio.Close {
			c.goodbye()
			return nil
		}
		if err := c.packet(packet, nil); err != nil {
			c.end(ending{err: err})
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return unknownSession()
	}
	return nil
}

// readBody reads a body of limited size in limited time.
func (c *Conn) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(c.host.cfg.MaxPayload)
	control := http.NewResponseController(w)
	timed := control.SetReadDeadline(time.Now().Add(c.host.cfg.PingTimeout)) == nil
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if timed {
		_ = control.SetReadDeadline(time.Time{}) // the receiver has all the time it wants
	}
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, holdfast.Errorf(holdfast.MessageTooLarge, "payload is larger than %d bytes", limit)
	}
	// What was in it is lost, so what follows it must not be taken.
	e := holdfast.Errorf(holdfast.ProtocolError, "payload was not finished")
	c.end(lost(err))
	return nil, e
}

// goodbye takes a close packet: the waiting poll gets a noop, and if there is
// none, one that comes within the grace does.
func (c *Conn) goodbye() {
	c.mu.Lock()
	open := c.state == stateOpen
	if open {
		c.poll.goodbye = true
		if !c.poll.waiting {
			c.poll.gone = make(chan struct{})
		}
	}
	c.mu.Unlock()
	if !open {
		return
	}
	c.end(ending{linger: true})
	c.mu.Lock()
	c.closeBy = min(c.closeBy, c.host.now().add(overtaking))
	c.arm(c.closeBy)
	c.mu.Unlock()
}

// packet takes one packet, other than a close and those of an upgrade; t is as
// in deliver.
func (c *Conn) packet(p engineio.Packet, t *Turn) *holdfast.Error {
	switch p.Type {
	case engineio.Message:
		c.deliver(p.Data, p.Binary, t)
	case engineio.Pong:
		c.heard()
	case engineio.Noop:
	default:
		return holdfast.Errorf(holdfast.ProtocolError, "unexpected %s packet", p.Type)
	}
	return nil
}
