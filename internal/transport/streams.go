package transport

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// transportStream is what Stream.Transport returns.
const transportStream = "sse"

// StreamsConfig says how a Streams behaves. Everything but Open may be left
// zero.
type StreamsConfig struct {
	// KeepAlive is how long a stream is silent before a comment goes out, so
	// that proxies keep it and a peer that is gone is found out. Default: 15 s.
	KeepAlive time.Duration
	// WriteTimeout is how long one write may wait for a peer that does not
	// read. Default: 10 s.
	WriteTimeout time.Duration
	// CloseTimeout is how long a closed stream may take to be flushed.
	// Default: 5 s.
	CloseTimeout time.Duration
	// QueueBytes bounds the unsent data of a stream; over it the stream ends
	// with SLOW_CONSUMER. A frame on its own may be larger. Default: 1 MiB.
	QueueBytes int
	// Drops counts what the queues of all streams drop. Default: nobody counts.
	Drops *hub.Drops

	// Check is called before any work is done on a request; its error is
	// answered over HTTP. Default: all may pass.
	Check func(r *http.Request) error
	// Open is called for each new stream before its response begins, which
	// waits for it. Its error is answered over HTTP. What is sent in Open goes
	// out first. Open is required.
	Open func(s *Stream) (StreamReceiver, error)

	// Logger gets what no caller can: faults of receivers, at level Error, and
	// refusals, at level Debug. Default: nothing is logged.
	Logger *slog.Logger
}

// StreamReceiver is the other side of a Stream.
type StreamReceiver interface {
	// Append appends what f is on this stream's wire. It is called as frames
	// go out, in their order, by the stream's writer alone, and must not block.
	Append(dst []byte, f *hub.Frame) []byte
	// Closed is called once, as soon as the stream is over; nothing may be sent
	// any more, and frames queued before may still be on their way. err says
	// why; ErrLost is its cause when the peer went.
	Closed(err error)
}

// Streams is an http.Handler for Server-Sent Events: each request is a Stream,
// whose writer is the request's own goroutine, on HTTP/1.1 and HTTP/2 alike.
// It is safe for concurrent use.
type Streams struct {
	// Static after construction.
	cfg  StreamsConfig
	pool wsframe.Buffers

	// wg counts streams and what runs for them. It is added to only under mu
	// before closed is set, or while one is counted already.
	wg sync.WaitGroup

	mu      sync.Mutex
	streams map[*Stream]struct{} // guarded by mu
	closed  bool                 // guarded by mu
}

// NewStreams returns a Streams. It panics if cfg.Open is nil.
func NewStreams(cfg StreamsConfig) *Streams {
	if cfg.Open == nil {
		panic("transport: StreamsConfig.Open is nil")
	}
	cfg.KeepAlive = cmp.Or(cfg.KeepAlive, 15*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 10*time.Second)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, 5*time.Second)
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, hub.DefaultQueueLimit)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Streams{cfg: cfg, streams: make(map[*Stream]struct{})}
}

// Len returns the number of streams, those included that are being opened or
// closed.
func (h *Streams) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// Close refuses new streams with GOING_AWAY and closes all others with it,
// after what is queued for them. It waits until all of them have ended and no
// goroutine is left, or until ctx ends: then it cuts what is still open and
// returns ctx's error.
func (h *Streams) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	return drainAll(ctx, h.all, &h.wg)
}

func (h *Streams) all() []*Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	streams := make([]*Stream, 0, len(h.streams))
	for s := range h.streams {
		streams = append(streams, s)
	}
	return streams
}

// ServeHTTP serves a stream until it ends. The handler's own path does not
// matter to it.
func (h *Streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		logRefusal(h.cfg.Logger, "stream", err)
		httpjson.WriteError(w, r, err)
	}
}

// serve answers r, unless it returns an error.
func (h *Streams) serve(w http.ResponseWriter, r *http.Request) error {
	if h.cfg.Check != nil {
		if err := h.cfg.Check(r); err != nil {
			return err
		}
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		httpjson.WriteError(withStatus{w, http.StatusMethodNotAllowed}, r, holdfast.Errorf(holdfast.ProtocolError, "an event stream is opened by GET"))
		return nil
	}
	s := newStream(h, r)
	if !h.enter(s) {
		return holdfast.GoingAway.New()
	}
	defer h.leave(s)
	// The request's context ends when the peer goes, whatever is under way.
	stop := context.AfterFunc(r.Context(), func() { s.lose(r.Context().Err()) })
	defer stop()
	receiver, err := h.cfg.Open(s)
	if err == nil && receiver == nil {
		err = holdfast.Errorf(holdfast.Internal, "Open returned no receiver")
	}
	if err != nil {
		s.end(holdfast.AsError(err), false) // for its context
		return err
	}
	if err := s.begin(receiver); err != nil {
		return err
	}
	s.run(w)
	return nil
}

// enter counts a stream; leave ends it.
func (h *Streams) enter(s *Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.streams[s] = struct{}{}
	h.wg.Add(1)
	return true
}

func (h *Streams) leave(s *Stream) {
	h.mu.Lock()
	delete(h.streams, s)
	h.mu.Unlock()
	h.wg.Done()
}
