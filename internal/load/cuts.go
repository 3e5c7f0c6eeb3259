package load

import "time"

// cutter cuts members off in a soak, and brings back those that are out.
// Publishers are left alone: what becomes of a message whose publisher is cut
// off nobody can say.
type cutter struct {
	w     *roomWork
	began int64  // when the first cut was due; 0 before that
	due   uint64 // cuts so far, also those for which nobody was found
	done  uint64
	out   []absent
	back  []absent // those that were added since the last turn
}

// absent is a connection that is to be made again.
type absent struct {
	c  *conn
	at int64
}

// comeBack is how long a member stays out, and waits after a refusal.
const (
	comeBack    = 100 * time.Millisecond
	afterRefuse = time.Second
)

// start begins to cut.
func (k *cutter) start() { k.began = k.w.e.now }

// turn does what is due.
func (k *cutter) turn() {
	e := k.w.e
	going := k.w.sending && (k.w.limit == 0 || k.w.published < k.w.limit)
	for going && k.began > 0 && e.now >= k.began+int64(float64(k.due)/e.cfg.Cuts*1e9) {
		k.due++
		k.cut()
	}
	waiting := k.out[:0]
	for _, a := range k.out {
		if a.at > e.now || e.pending >= e.cfg.Concurrency {
			waiting = append(waiting, a)
			continue
		}
		e.dial(a.c) // a refusal of which comes back here
	}
	k.out = append(waiting, k.back...)
	k.back = k.back[:0]
}

// cut ends the connection of some member: every other one in order, the rest
// without a word.
func (k *cutter) cut() {
	e := k.w.e
	for range 8 { // tries
		c := e.conns[e.random.IntN(len(e.conns))]
		if !c.inRoom || int(c.member) < e.cfg.Publishers {
			continue
		}
		if k.done++; k.done%2 == 0 {
			e.send(c, opClose, closeNormal)
		}
		if c.state == ready { // else the server was faster
			e.shut(c)
			k.w.gone(c)
		}
		return
	}
}

// lost notes a connection that has ended.
func (k *cutter) lost(c *conn, wait time.Duration) {
	k.back = append(k.back, absent{c, k.w.e.now + int64(wait)})
}
