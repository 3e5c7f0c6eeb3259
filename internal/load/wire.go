package load

// unsent is a message of which something waits in a connection's out.
type unsent struct {
	end  uint64 // what the connection has written once it is on the wire
	sent *int64 // where the time of that goes
}

// onWire has *sent set when all that was given to write is on the wire, which is
// at once where nothing is left over.
func (e *engine) onWire(c *conn, sent *int64) {
	if len(c.out) == 0 {
		e.clock()
		*sent = e.now
		return
	}
	c.unsent = append(c.unsent, unsent{c.flushed + uint64(len(c.out)), sent})
}

// flush notes that n bytes of what was left over are on the wire.
func (c *conn) flush(n int, now int64) {
	c.out = c.out[n:]
	c.flushed += uint64(n)
	for len(c.unsent) > 0 && c.unsent[0].end <= c.flushed {
		*c.unsent[0].sent = now
		c.unsent = c.unsent[1:]
	}
	if len(c.unsent) == 0 {
		c.unsent = nil
	}
}

// took notes that n bytes were read, and how many waited so that a read could
// not take all of them.
func (c *conn) took(n, most int) {
	if !c.more {
		c.backlog = 0
	}
	c.backlog += int64(n)
	c.more = n == most
}
