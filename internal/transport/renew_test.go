package transport

import (
	"strconv"
	"sync/atomic"
	"testing"
)

// TestRenewedReader has the goroutine that reads replaced each time that it
// would wait, and nothing of that is seen.
func TestRenewedReader(t *testing.T) {
	rg := newRig(t, tcpNetwork(t), EngineConfig{ReaderEach: true}, echoing, func(s *session) { s.got = nil })
	var looks atomic.Int64
	rg.engine.clock = func() instant { return instant(looks.Add(1)) * renewEvery }
	c, s := rg.connect()
	for i := range 100 {
		text := strconv.Itoa(i)
		c.write(frame(fTextBegin, "4"+text)) // in two fragments
		c.write(frame(fPing, text))
		c.want("pong " + text)
		c.write(frame(fLast, "!"))
		c.want("text 4" + text + "!")
	}
	if n := looks.Load(); n < 50 {
		t.Errorf("only %d goroutines were replaced", n)
	}
	c.bye()
	s.end(t, "", nil)
}
