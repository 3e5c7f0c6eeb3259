package transport

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/sse"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

var (
	_ hub.Sink  = (*Stream)(nil)
	_ hub.Pacer = (*Stream)(nil)
)

// Stream is one response of Server-Sent Events: the sending side of a
// connection whose client only listens. Its methods are safe for concurrent
// use.
type Stream struct {
	// Static after construction.
	host    *Streams
	request *Request
	ctx     context.Context
	cancel  context.CancelCauseFunc

	// queue is what waits to be written. It has its own lock, below mu.
	queue hub.Queue
	wake  chan struct{} // holds one; the writer waits here

	mu sync.Mutex
	// All below is guarded by mu.
	receiver StreamReceiver // nil until begin
	over     bool           // nothing is queued any more
	err      *holdfast.Error
	closeBy  time.Time                // once over: when the last write must end
	writeBy  time.Time                // when the write under way must end; zero: none is
	response *http.ResponseController // nil but while run runs
}

func newStream(h *Streams, r *http.Request) *Stream {
	s := &Stream{host: h, request: newRequest(r), wake: make(chan struct{}, 1)}
	s.queue.Limit, s.queue.Drops = h.cfg.QueueBytes, h.cfg.Drops
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// Request returns what is kept of the request that opened the stream.
func (s *Stream) Request() *Request { return s.request }

// Transport returns "sse".
func (s *Stream) Transport() string { return transportStream }

// Context returns a context that ends with the stream, just before Closed is
// called; its cause is Closed's error.
func (s *Stream) Context() context.Context { return s.ctx }

// Send queues f, or drops it where its Overflow says so, and never blocks. It
// returns false once the stream is over, or when f does not fit into the queue
// and may not be dropped: then the stream ends with SLOW_CONSUMER, without
// sending what is queued. It is a hub.Sink.
func (s *Stream) Send(f *hub.Frame) bool {
	wake, ok := s.queue.Push(f)
	if !ok {
		s.end(holdfast.SlowConsumer.New(), false) // changes nothing unless the queue overflowed
		return false
	}
	if wake {
		s.rouse()
	}
	return true
}

// Pace waits until half of the queue is free or the stream is over, or returns
// ctx's error. It is a hub.Pacer.
func (s *Stream) Pace(ctx context.Context) error { return s.queue.Wait(ctx, 0) }

// Queued returns how many bytes wait to be written, as they count against
// QueueBytes: before the receiver adds what is this stream's own.
func (s *Stream) Queued() int { return s.queue.Bytes() }

// Close ends the stream after what is queued. One whose response has not begun
// is answered with err over HTTP. Close does not wait; only the first call
// counts.
func (s *Stream) Close(err *holdfast.Error) { s.end(err, true) }

// lose ends a stream that nothing can be written to any more: the peer has
// gone, or did not read in time, which net/http tells in the same way.
func (s *Stream) lose(err error) {
	s.mu.Lock()
	late := !s.writeBy.IsZero() && !time.Now().Before(s.writeBy)
	s.mu.Unlock()
	if late {
		s.end(holdfast.SlowConsumer.New(), false)
		return
	}
	s.end(lost(err).err, false)
}

// end ends the stream. Only the first call decides how.
func (s *Stream) end(err *holdfast.Error, flush bool) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.err = true, err
	s.queue.Close()
	s.closeBy = time.Now()
	if flush {
		s.closeBy = s.closeBy.Add(s.host.cfg.CloseTimeout)
	} else {
		s.queue.Clear()
	}
	s.host.wg.Add(1) // the stream is still counted
	receiver := s.receiver
	s.mu.Unlock()

	s.cancel(causeOf(err))
	s.rouse()
	// Not here: who sends must neither wait nor be called back.
	go func() {
		defer s.host.wg.Done()
		s.hurry()
		if receiver != nil {
			s.guard(func() { receiver.Closed(causeOf(err)) })
		}
	}()
}

// causeOf is err for a context, whose own cause is context.Canceled.
func causeOf(err *holdfast.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// guard keeps a panic of the receiver from taking the process down. Where it
// was is logged, but not its value, which may hold what a peer sent.
func (s *Stream) guard(call func()) {
	defer func() {
		if v := recover(); v != nil {
			s.host.cfg.Logger.Error("receiver panicked", "method", "Closed", "type", fmt.Sprintf("%T", v), "at", panicSite())
		}
	}()
	call()
}

// begin says who receives, or why there is nothing to begin.
func (s *Stream) begin(receiver StreamReceiver) error {
	s.mu.Lock()
	if !s.over || s.err == nil {
		s.receiver = receiver
	}
	over, err := s.over, s.err
	s.mu.Unlock()
	if over {
		s.guard(func() { receiver.Closed(causeOf(err)) })
	}
	return causeOf(err)
}

// cut ends the stream at once.
func (s *Stream) cut() {
	s.end(holdfast.GoingAway.New(), false)
	s.mu.Lock()
	s.closeBy = time.Now()
	s.queue.Clear()
	s.mu.Unlock()
	s.hurry()
}

// hurry has a write that is under way end when the stream must.
func (s *Stream) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.response != nil {
		_ = s.response.SetWriteDeadline(s.closeBy) // without deadlines the peer's own end is waited for
	}
}

func (s *Stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run is the stream's writer: it returns when the response is complete.
func (s *Stream) run(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx would keep events to itself
	h.Set("X-Content-Type-Options", "nosniff")
	response := http.NewResponseController(w)
	// A server's ReadTimeout is about requests, and would end this one.
	_ = response.SetReadDeadline(time.Time{})
	s.mu.Lock()
	s.response = response
	receiver := s.receiver
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	err := s.flush(w, response, nil)
	if err == nil {
		err = s.write(w, response, receiver)
	}
	s.mu.Lock()
	s.response = nil // it must not be used any more once the handler has returned
	s.mu.Unlock()
	_ = response.SetWriteDeadline(time.Time{}) // for what follows on a connection that is kept
	if err != nil {
		s.lose(err)
	}
}

// write writes frames as they come, and returns when the stream is over and
// all is written.
func (s *Stream) write(w http.ResponseWriter, response *http.ResponseController, receiver StreamReceiver) error {
	var frames [joinFrames]*hub.Frame
	silence := time.NewTimer(s.host.cfg.KeepAlive)
	defer silence.Stop()
	for {
		// First over, then the queue: into which nothing comes when it is over.
		s.mu.Lock()
		over := s.over
		s.mu.Unlock()
		batch := s.queue.Pop(frames[:0], joinBytes, joinFrames)
		var err error
		switch {
		case len(batch) > 0:
			err = s.writeBatch(w, response, receiver, batch)
			clear(frames[:])
		case over:
			return nil
		default:
			select {
			case <-s.wake:
				continue
			case <-silence.C:
				err = s.flush(w, response, sse.AppendComment(nil, "keep-alive"))
			}
		}
		if err != nil {
			return err
		}
		silence.Reset(s.host.cfg.KeepAlive)
	}
}

// writeBatch writes frames, joined.
func (s *Stream) writeBatch(w http.ResponseWriter, response *http.ResponseController, receiver StreamReceiver, batch []*hub.Frame) error {
	size := 0
	for _, f := range batch {
		size += f.Size() + wsframe.SmallBuffer/joinFrames // what the receiver adds is mostly less
	}
	buf := s.host.pool.Get(size)
	out := buf[:0]
	for _, f := range batch {
		out = receiver.Append(out, f)
	}
	var err error
	if len(out) > 0 {
		err = s.flush(w, response, out)
	}
	s.host.pool.Put(buf)
	return err
}

// flush writes out to the peer, within the time that a write may take.
func (s *Stream) flush(w http.ResponseWriter, response *http.ResponseController, out []byte) error {
	s.limitWrite(response, true)
	_, err := w.Write(out)
	if err == nil {
		err = response.Flush()
	}
	if err == nil {
		// On HTTP/2 a deadline ends the stream even when nothing is being written.
		s.limitWrite(response, false)
	}
	return err
}

// limitWrite sets the time of one write, or takes it back. A stream that is
// over keeps its own.
func (s *Stream) limitWrite(response *http.ResponseController, limit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var by time.Time
	if limit {
		by = time.Now().Add(s.host.cfg.WriteTimeout)
	}
	if s.over && (by.IsZero() || s.closeBy.Before(by)) {
		by = s.closeBy
	}
	s.writeBy = by
	_ = response.SetWriteDeadline(by)
}
