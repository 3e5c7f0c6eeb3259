package load

import "time"

// echoWork sends events and waits for their acks.
type echoWork struct {
	e       *engine
	depth   int // events in flight on one connection
	flights []flight
	next    []uint32 // by connection: the id of the next event
	pad     []byte
	text    []byte
	head    string // of the event's JSON
	sending bool
	limit   uint64
	// started counts the events, and waiting those that are in flight.
	started, checked uint64
	waiting          int
	oldest           int64
	allowed          int
}

// flight is an event that waits for its ack.
type flight struct {
	busy, overdue bool
	id            uint32
	at            int64
}

func newEchoWork(e *engine) *echoWork {
	n := e.cfg.Connections
	w := &echoWork{e: e, depth: (e.cfg.Window + n - 1) / n, allowed: e.cfg.Window, pad: e.stamps.padding(e.cfg.Size), next: make([]uint32, n)}
	w.head = "[" + quote(e.cfg.Echo) + ","
	w.flights = make([]flight, n*w.depth)
	return w
}

func (w *echoWork) ready(*conn) {}

func (w *echoWork) event(*conn, []byte) {} // notices of the server's

// flightsOf are the places of one connection.
func (w *echoWork) flightsOf(c *conn) []flight {
	return w.flights[int(c.index)*w.depth : (int(c.index)+1)*w.depth]
}

func (w *echoWork) ack(c *conn, p packet) {
	e := w.e
	w.checked++
	for i := range w.flightsOf(c) {
		f := &w.flightsOf(c)[i]
		if !f.busy || int(f.id) != p.id {
			continue
		}
		f.busy = false
		w.waiting--
		st, ok := e.stamps.find(p.data)
		switch {
		case ackError(p.data) != "":
			e.count(ackError(p.data))
			e.faults.add(&e.faults.Refused, "%s: the event was refused: %s", c, ackError(p.data))
		case !ok || st != w.stamp(c, i, f.id) || len(p.data) < e.cfg.Size:
			e.faults.add(&e.faults.Damaged, "%s: the ack of event %d does not have its data: %.60q", c, f.id, p.data)
		default:
			e.rec.unit(e.now - f.at)
		}
		w.emit(c)
		return
	}
	if p.id < 0 || uint32(p.id) >= w.next[c.index] {
		e.faults.add(&e.faults.Foreign, "%s got an ack of an event that it has not sent (%d)", c, p.id)
	} else {
		e.faults.add(&e.faults.Duplicated, "%s got the ack of event %d again", c, p.id)
	}
}

func (w *echoWork) stamp(c *conn, place int, id uint32) stamp {
	return stamp{slot: uint32(place), room: 0, pub: uint32(c.index), seq: id}
}

func (w *echoWork) gone(c *conn) {
	for i := range w.flightsOf(c) {
		if f := &w.flightsOf(c)[i]; f.busy {
			f.busy = false
			w.waiting--
		}
	}
}

// begin sends the first events.
func (w *echoWork) begin() {
	w.sending = true
	for range w.depth {
		for _, c := range w.e.conns {
			w.emit(c)
		}
	}
}

// emit sends the next event of a connection, if one may be sent.
func (w *echoWork) emit(c *conn) {
	if !w.sending || c.state != ready || w.waiting >= w.allowed || w.limit > 0 && w.started >= w.limit {
		return
	}
	for i := range w.flightsOf(c) {
		f := &w.flightsOf(c)[i]
		if f.busy {
			continue
		}
		id := w.next[c.index]
		w.next[c.index]++
		*f = flight{busy: true, id: id, at: w.e.now}
		w.started++
		w.waiting++
		w.text = append(w.text[:0], eioMessage, sioEvent)
		w.text = append(w.text, w.e.namespacePrefix()...)
		w.text = appendInt(w.text, int(id))
		w.text = append(w.text, w.head...)
		w.text = w.e.stamps.appendBody(w.text, w.stamp(c, i, id), w.pad)
		w.text = append(w.text, ']')
		w.e.send(c, opText, w.text)
		return
	}
}

// turn notes events that take too long. They keep their places in the window:
// their acks may be on their way.
func (w *echoWork) turn() {
	if w.e.now < w.oldest {
		return
	}
	w.oldest = w.e.now + int64(w.e.cfg.Timeout)/10
	for i := range w.flights {
		if f := &w.flights[i]; f.busy && !f.overdue && w.e.now-f.at > int64(w.e.cfg.Timeout) {
			f.overdue = true
			w.e.overdue++
		}
	}
}

// unfinished is as roomWork.unfinished.
func (w *echoWork) unfinished() {
	for i := range w.flights {
		if f := &w.flights[i]; f.busy && w.e.now-f.at > int64(w.e.cfg.Timeout) {
			w.e.rec.unfinished(w.e.now-f.at, 1)
		}
	}
}

func (w *echoWork) idle() bool { return w.waiting == 0 }

// finish counts what was never answered, unless the server was still answering.
func (w *echoWork) finish() {
	if w.e.stillSending {
		return
	}
	for i := range w.flights {
		if f := &w.flights[i]; f.busy {
			w.e.faults.add(&w.e.faults.Lost, "event %d of connection %d got no ack within %v", f.id, i/w.depth, time.Duration(w.e.now-f.at).Round(time.Millisecond))
		}
	}
}
