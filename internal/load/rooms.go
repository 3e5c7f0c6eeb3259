package load

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// roomWork publishes into rooms, and checks what their members get.
type roomWork struct {
	e    *engine
	next struct { // whose turn it is
		room int
		pub  []int // by room
	}
	order  []int      // the rooms, in the order in which they are published to
	sent   [][]uint32 // by room and publisher
	joined int
	pad    []byte
	prefix []byte // of the text of an event
	text   []byte // a packet is made here

	joinHead, publishHead, publishRest string // parts of packets

	slots   []slot
	free    []uint32
	allowed int // messages in flight
	sending bool
	stuck   bool   // there is no publisher left
	limit   uint64 // of messages; 0 for none
	rate    float64
	began   int64  // when the first was due
	due     uint64 // how many were sent on time so far, at a rate
	oldest  int64  // when slots are looked at for overdue messages

	published, late, checked uint64

	present []int   // members that are in it, by room
	cuts    *cutter // nil: members that are gone stay so
}

// slot is a message in flight.
type slot struct {
	busy, acked, overdue bool
	generation           uint32
	left                 int   // members that have not got it
	at                   int64 // when it was, or at a rate should have been, sent
	sent                 int64 // when it was on the wire
	stamp                stamp
}

// Ids of acks: that of a join, and those of messages, which have the slot in
// the low bits and its generation above.
const (
	joinID   = 0
	slotBits = 4 * slotDigits
	maxTurns = 1 << (30 - slotBits) // generations; an id is a small integer everywhere
)

func newRoomWork(e *engine) *roomWork {
	cfg := e.cfg
	w := &roomWork{
		e: e, allowed: cfg.Window, rate: cfg.Rate, pad: e.stamps.padding(cfg.Size),
		prefix: []byte{sioEvent},
	}
	if w.allowed == 0 { // at a rate
		w.allowed = maxWindow
	}
	w.prefix = append(append(w.prefix, e.namespacePrefix()+"["+quote(cfg.Event)...), ',')
	prefix := strings.TrimSuffix(quote(cfg.RoomPrefix), `"`)
	w.joinHead = "[" + quote(cfg.Join) + `,{"room":` + prefix
	w.publishHead = "[" + quote(cfg.Publish) + `,{"room":` + prefix
	w.publishRest = `","event":` + quote(cfg.Event) + `,"data":`
	w.present = make([]int, cfg.Rooms)
	w.order = e.random.Perm(cfg.Rooms)
	w.next.pub = make([]int, cfg.Rooms)
	w.sent = make([][]uint32, cfg.Rooms)
	numbers := make([]uint32, cfg.Rooms*cfg.Publishers)
	for i := range w.sent {
		w.sent[i], numbers = numbers[:cfg.Publishers:cfg.Publishers], numbers[cfg.Publishers:]
	}
	tracked := make([]uint32, cfg.Connections*cfg.Publishers)
	for i, c := range e.conns {
		c.room, c.member = uint32(i%cfg.Rooms), uint32(i/cfg.Rooms)
		c.track.next, tracked = tracked[:cfg.Publishers:cfg.Publishers], tracked[cfg.Publishers:]
	}
	w.slots = make([]slot, w.allowed)
	for i := range w.slots {
		w.free = append(w.free, uint32(len(w.slots)-1-i))
	}
	return w
}

// member returns a member of a room.
func (w *roomWork) member(room, number int) *conn { return w.e.conns[number*w.e.cfg.Rooms+room] }

// appendRoom appends what is in a room's name besides the prefix. Names are of
// this run alone, so that nothing is left in them of another.
func (w *roomWork) appendRoom(dst []byte, room uint32) []byte {
	dst = append(append(dst, w.e.stamps.mark[len("hf~"):]...), '-')
	return appendInt(dst, int(room))
}

// ready joins the room.
func (w *roomWork) ready(c *conn) {
	w.text = append(w.text[:0], eioMessage, sioEvent)
	w.text = append(w.text, w.e.namespacePrefix()...)
	w.text = appendInt(w.text, joinID)
	w.text = w.appendRoom(append(w.text, w.joinHead...), c.room)
	w.text = append(w.text, `"}]`...)
	w.e.send(c, opText, w.text)
}

// event checks a message that a member got.
func (w *roomWork) event(c *conn, text []byte) {
	e := w.e
	st, ok := e.stamps.find(text)
	if !ok {
		if bytes.HasPrefix(text, w.prefix) {
			e.faults.add(&e.faults.Damaged, "%s got a message without a stamp of this run: %.60q", c, text)
		}
		return // another event of the server's
	}
	switch {
	case !bytes.HasPrefix(text, w.prefix) || len(text) < e.cfg.Size:
		e.faults.add(&e.faults.Damaged, "%s got a message that was changed: %.60q", c, text)
		return
	case st.room != c.room:
		e.faults.add(&e.faults.Foreign, "%s got a message of room %d", c, st.room)
		return
	}
	if !c.inRoom {
		return // from before the join was acknowledged: it may come or not
	}
	w.checked++
	if c.track.early(st.pub, st.seq) {
		return // the same, overtaken by the ack
	}
	if !c.track.see(st.pub, st.seq, c, &e.faults) {
		return
	}
	if int(st.slot) >= len(w.slots) {
		return
	}
	s := &w.slots[st.slot]
	if !s.busy || s.stamp != st {
		return // it was taken for lost, since a later one had come
	}
	e.rec.unit(e.now - s.at)
	if e.cfg.Scenario.paced() {
		e.rec.fromWire(e.now - s.sent)
	}
	s.left--
	if s.left == 0 && s.acked {
		w.release(st.slot)
	}
}

// ack handles the acks of joins and publishes.
func (w *roomWork) ack(c *conn, p packet) {
	e := w.e
	trouble := ackError(p.data)
	if p.id == joinID {
		switch {
		case trouble != "":
			e.faults.add(&e.faults.Refused, "%s may not join: %s", c, trouble)
		case c.inRoom:
			e.faults.add(&e.faults.Duplicated, "%s was told twice that it has joined", c)
			return
		default:
			c.inRoom = true
			w.present[c.room]++
			c.track.begin(w.sent[c.room])
		}
		w.joined++
		return
	}
	index := uint32(p.id) & (maxSlots - 1)
	if int(index) >= len(w.slots) || !w.slots[index].busy || w.slots[index].generation != uint32(p.id)>>slotBits {
		e.faults.add(&e.faults.Duplicated, "a publish of %s was acknowledged twice (%d)", c, p.id)
		return
	}
	s := &w.slots[index]
	if s.acked {
		e.faults.add(&e.faults.Duplicated, "the publish of message %d of %s was acknowledged twice", s.stamp.seq, c)
		return
	}
	s.acked = true
	w.checked++
	if trouble != "" {
		e.count(trouble)
		e.faults.add(&e.faults.Refused, "%s may not publish: %s", c, trouble)
		for i := range e.cfg.Members {
			w.member(int(s.stamp.room), i).track.skip(s.stamp.pub, s.stamp.seq)
		}
		s.left = 0
	} else {
		e.rec.acked(e.now - s.at)
	}
	if s.left == 0 {
		w.release(index)
	}
}

func (w *roomWork) release(index uint32) {
	w.slots[index].busy = false
	w.free = append(w.free, index)
}

// gone takes a member that is lost out of what is in flight.
func (w *roomWork) gone(c *conn) {
	if w.cuts != nil {
		wait := comeBack
		if !c.track.active {
			wait = afterRefuse
		}
		w.cuts.lost(c, wait)
	}
	if !c.track.active {
		return
	}
	for i := range w.slots {
		s := &w.slots[i]
		if !s.busy || s.stamp.room != c.room {
			continue
		}
		if s.stamp.pub == c.member && !s.acked {
			w.doubt(c, s.stamp.seq)
			w.release(uint32(i))
			continue
		}
		if c.track.awaits(s.stamp.pub, s.stamp.seq) {
			s.left--
		}
		if s.left == 0 && s.acked {
			w.release(uint32(i))
		}
	}
	w.present[c.room]--
	c.track.finish(c.track.next, w.sent[c.room], c, &w.e.faults) // what was jumped over will not come
	c.track.active = false
}

// doubt notes that a publisher is lost before its message was acknowledged.
// Whether that and later ones come nobody can say. It publishes no more.
func (w *roomWork) doubt(c *conn, seq uint32) {
	c.retired = true
	sent := w.sent[c.room]
	sent[c.member] = min(sent[c.member], seq)
}

// turnSize bounds what is sent before members are read from again: they would
// look slow otherwise, where more is to be sent than can be.
const turnSize = 256

// turn publishes what is due.
func (w *roomWork) turn() {
	e := w.e
	if w.cuts != nil {
		w.cuts.turn()
	}
	if e.now >= w.oldest {
		w.lookForOverdue()
		w.oldest = e.now + int64(e.cfg.Timeout)/10
	}
	if !w.sending {
		return
	}
	for n := 0; len(w.free) > 0 && (w.limit == 0 || w.published < w.limit); n++ {
		if n == turnSize {
			e.poll.wakeIn(1) // after what can be read
			return
		}
		at := e.now
		if e.cfg.Scenario.paced() {
			if at = w.began + int64(float64(w.due)/w.rate*1e9); at > e.now {
				e.poll.wakeIn(time.Duration(at - e.now))
				return
			}
			w.due++
			if e.now-at > int64(time.Millisecond) && e.rec.measuring {
				w.late++
			}
		}
		if !w.publish(at) {
			w.stuck = w.cuts == nil // in a soak they come back
			return
		}
	}
}

// publish sends the next message. It returns false if no publisher is there.
func (w *roomWork) publish(at int64) bool {
	e := w.e
	for range w.order {
		room := w.order[w.next.room]
		w.next.room = (w.next.room + 1) % len(w.order)
		for range e.cfg.Publishers {
			pub := w.next.pub[room]
			w.next.pub[room] = (pub + 1) % e.cfg.Publishers
			if c := w.member(room, pub); c.inRoom && !c.retired {
				w.publishBy(c, at)
				return true
			}
		}
	}
	return false
}

func (w *roomWork) publishBy(c *conn, at int64) {
	e := w.e
	index := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	s := &w.slots[index]
	sent := w.sent[c.room]
	*s = slot{
		busy: true, generation: (s.generation + 1) % maxTurns, at: at,
		stamp: stamp{slot: index, room: c.room, pub: c.member, seq: sent[c.member]},
	}
	if s.generation == 0 && index == joinID {
		s.generation = 1 // that id is the join's
	}
	sent[c.member]++
	s.left = w.present[c.room]
	w.published++
	w.text = append(w.text[:0], eioMessage, sioEvent)
	w.text = append(w.text, e.namespacePrefix()...)
	w.text = appendInt(w.text, int(s.generation<<slotBits|index))
	w.text = w.appendRoom(append(w.text, w.publishHead...), c.room)
	w.text = append(w.text, w.publishRest...)
	w.text = e.stamps.appendBody(w.text, s.stamp, w.pad)
	w.text = append(w.text, `}]`...)
	e.send(c, opText, w.text)
	if e.cfg.Scenario.paced() && c.fd >= 0 {
		e.onWire(c, &s.sent)
	}
}

// lookForOverdue notes messages that take too long. They keep their places in
// the window, since they may be on their way, but for those of which that can't
// be: a member that has not got it has got a later one of the same publisher.
func (w *roomWork) lookForOverdue() {
	for i := range w.slots {
		s := &w.slots[i]
		age := w.e.now - s.at
		if !s.busy || age <= int64(w.e.cfg.Timeout) {
			continue
		}
		if !s.overdue {
			s.overdue = true
			w.e.overdue++
		}
		if s.acked && w.overtaken(s.stamp) {
			w.e.rec.unfinished(age, int64(s.left))
			w.release(uint32(i))
		}
	}
}

// overtaken reports whether all members that have not got a message have got a
// later one of its publisher.
func (w *roomWork) overtaken(st stamp) bool {
	for i := range w.e.cfg.Members {
		if t := &w.member(int(st.room), i).track; t.awaits(st.pub, st.seq) && t.next[st.pub] <= st.seq {
			return false
		}
	}
	return true
}

// unfinished records how long overdue messages have waited when the measuring
// ends: a percentile without the slowest ones would say nothing.
func (w *roomWork) unfinished() {
	for i := range w.slots {
		if s := &w.slots[i]; s.busy && w.e.now-s.at > int64(w.e.cfg.Timeout) {
			w.e.rec.unfinished(w.e.now-s.at, int64(s.left))
		}
	}
}

// idle reports whether nothing is in flight, and everybody is back.
func (w *roomWork) idle() bool {
	if w.cuts != nil {
		for _, n := range w.present {
			if n < w.e.cfg.Members {
				return false
			}
		}
	}
	return w.inFlight() == 0
}

// inFlight is how many messages are.
func (w *roomWork) inFlight() int { return len(w.slots) - len(w.free) }

// finish counts what was never delivered, or acknowledged. Where the server was
// still sending, only that counts which others have overtaken.
func (w *roomWork) finish() {
	sending := w.e.stillSending
	for i := range w.slots {
		if s := &w.slots[i]; s.busy && !s.acked && !sending {
			w.e.faults.add(&w.e.faults.Lost, "the publish of message %d of %s was never acknowledged", s.stamp.seq, w.member(int(s.stamp.room), int(s.stamp.pub)))
		}
	}
	for _, c := range w.e.conns {
		switch {
		case c.inRoom && sending:
			c.track.finish(c.track.next, w.sent[c.room], c, &w.e.faults)
		case c.inRoom:
			c.track.finish(w.sent[c.room], w.sent[c.room], c, &w.e.faults)
		case w.cuts != nil:
			w.e.faults.add(&w.e.faults.Refused, "%s did not come back into its room", c)
		}
	}
}

// quote makes a JSON string.
func quote(text string) string {
	quoted, _ := json.Marshal(text) // a string always can be
	return string(quoted)
}
