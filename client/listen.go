package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/internal/sse"
)

// Figures of listening.
const (
	// silence is after how long without a byte a stream is cut: the server says
	// something every 15 s.
	silence = 45 * time.Second
	// pollWait is how long the server may hold a poll.
	pollWait = 25 * time.Second
	// pollSlack is what the network may take besides.
	pollSlack = 20 * time.Second
)

// ListenOptions are for Listen. Functions that are nil are not called; those
// that are there are called one at a time, by Listen's own goroutine.
type ListenOptions struct {
	// Since is a cursor of OnCursor, to go on from; "" begins now.
	Since string
	// OnEvent is called for each event of the rooms, in their order, once.
	// Binary parts are {"$base64":"…"} in Data.
	OnEvent func(ctx context.Context, ev *holdfast.Event)
	// OnReset is called when events of a room were missed for good. Over
	// polling the position is zero.
	OnReset func(ctx context.Context, r Reset)
	// OnLeft is called when the right to a room was lost; the others go on.
	OnLeft func(ctx context.Context, room string, err error)
	// OnCursor is called when OnEvent has returned, with what Since takes.
	OnCursor func(ctx context.Context, cursor string)
	// PollOnly leaves out the event stream.
	PollOnly bool
	// EventsPath and PollPath are where the server has the two, from the root
	// of BaseURL's origin. Defaults "/events" and "/poll".
	EventsPath, PollPath string
}

// Listen hears what is published in rooms, over plain HTTP: by Server-Sent
// Events, and where no stream gets through by long-polling (docs/protocol.md
// §6). It is for programs that only receive, and for networks that let nothing
// else through. It goes on over cuts, restarts and expiries, without losing an
// event, until ctx ends or the server (or an Interceptor) refuses for good; the
// error says which.
func (c *Client) Listen(ctx context.Context, rooms []string, o ListenOptions) error {
	if len(rooms) == 0 {
		return holdfast.Errorf(holdfast.InvalidArgument, "Listen needs a room")
	}
	for _, room := range rooms {
		if err := holdfast.CheckRoom(room); err != nil {
			return err
		}
	}
	o.EventsPath, o.PollPath = or(o.EventsPath, "/events"), or(o.PollPath, "/poll")
	l := &listener{c: c, rooms: slices.Clone(rooms), o: o, cursor: o.Since, polling: o.PollOnly}
	rules := newRules(c.cfg.Socket)
	for {
		end := l.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if i, ok := errors.AsType[*interceptedError](end.err); ok {
			return i.err
		}
		d := rules.after(end)
		if h, ok := errors.AsType[*handshakeError](end.err); d.stop && ok && !h.coded && h.status != http.StatusUnauthorized && !l.polling {
			l.polling = true // a proxy's word, maybe about streams alone
			continue
		}
		if d.stop {
			return end.err
		}
		timer := time.NewTimer(d.wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// interceptedError is an interceptor's no, which ends Listen.
type interceptedError struct{ err error }

func (i *interceptedError) Error() string { return i.err.Error() }
func (i *interceptedError) Unwrap() error { return i.err }

// listener is one Listen.
type listener struct {
	c       *Client
	rooms   []string
	o       ListenOptions
	cursor  string
	polling bool
	polled  bool // the last poll but one was answered
	failed  int  // streams in a row that brought nothing
}

// once makes one stream or one poll.
func (l *listener) once(ctx context.Context) ending {
	start := time.Now()
	var err error
	var came bool
	if l.polling {
		err = l.polls(ctx)
		came = l.polled
		if !l.o.PollOnly && time.Since(start) >= fallbackLasts {
			l.polling, l.failed = false, fallbackAfter-1 // it may be another network: one stream
		}
	} else {
		came, err = l.stream(ctx)
		if l.failed++; came {
			l.failed = 0
		}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		err = refusedHandshake(e)
	}
	if h, ok := errors.AsType[*handshakeError](err); l.failed >= fallbackAfter && (!ok || !h.coded) {
		l.polling = true
	}
	return ending{err: err, connected: came, lasted: time.Since(start)}
}

// polls makes one poll after another, until one fails.
func (l *listener) polls(ctx context.Context) error {
	for l.polled = false; ; l.polled = true {
		start, before := time.Now(), l.cursor
		if err := l.poll(ctx); err != nil {
			return err
		}
		if l.polled && l.cursor == before && time.Since(start) < time.Second {
			return &localError{errors.New("client: polls are not held")} // and not asked for in a loop
		}
	}
}

func (l *listener) request(ctx context.Context, path string, extra url.Values) (*http.Response, error) {
	u := *l.c.base
	u.Path = "/" + strings.TrimPrefix(path, "/")
	q := url.Values{"room": l.rooms}
	if l.cursor != "" {
		q.Set("since", l.cursor)
	}
	for name, values := range extra {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	ctx = context.WithValue(ctx, callKey{}, &call{quiet: true})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if err := l.c.asked(req); err != nil {
		return nil, &interceptedError{err}
	}
	client := *l.c.http
	client.Timeout = 0 // counted here
	resp, err := client.Do(req)
	if err != nil {
		return nil, unwrapURL(err)
	}
	if err := l.c.answered(resp); err != nil {
		return nil, &interceptedError{err}
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, newError(resp)
	}
	return resp, nil
}

// said is the data of what comes: docs/protocol.md §5 and §6.
type said struct {
	Type       string          `json:"type"`
	Room       string          `json:"room"`
	Event      string          `json:"event"`
	Data       json.RawMessage `json:"data"`
	Epoch      string          `json:"epoch"`
	Offset     uint64          `json:"offset"`
	ID         string          `json:"id"`
	From       string          `json:"from"`
	Code       holdfast.Code   `json:"code"`
	Message    string          `json:"message"`
	RetryAfter float64         `json:"retryAfter"`
}

func (s *said) position() holdfast.Position {
	return holdfast.Position{Epoch: s.Epoch, Offset: s.Offset}
}

// take hands on what came. The error ends the stream.
func (l *listener) take(ctx context.Context, s *said) error {
	switch s.Type {
	case "event":
		if l.o.OnEvent == nil || s.Room == "" {
			break
		}
		ev := &holdfast.Event{Room: s.Room, Name: s.Event, Data: s.Data, Position: s.position(), ID: s.ID, From: s.From}
		if l.c.hear(ctx, ev) {
			l.o.OnEvent(ctx, ev)
		}
	case "reset":
		if l.o.OnReset != nil {
			l.o.OnReset(ctx, Reset{Room: s.Room, Position: s.position()})
		}
	case "room_left":
		if l.o.OnLeft != nil {
			l.o.OnLeft(ctx, s.Room, &holdfast.Error{Code: s.Code, Message: s.Message})
		}
	case "auth_closing":
		return &holdfast.Error{Code: s.Code, Message: s.Message, RetryAfter: refusal.Seconds(s.RetryAfter)}
	}
	return ctx.Err()
}

func (l *listener) advance(ctx context.Context, cursor string) {
	if cursor == "" || cursor == l.cursor {
		return
	}
	l.cursor = cursor
	if l.o.OnCursor != nil {
		l.o.OnCursor(ctx, cursor)
	}
}

// stream reads an event stream to its end. came reports whether it brought
// anything.
func (l *listener) stream(ctx context.Context) (came bool, err error) {
	reading, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	watch := time.AfterFunc(l.c.cfg.Socket.ConnectTimeout, func() { cut(errConnectTimeout) })
	defer watch.Stop()
	resp, err := l.request(reading, l.o.EventsPath, nil)
	if err == nil {
		defer resp.Body.Close()
		if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
			return false, &localError{fmt.Errorf("client: %s answered %q, which is no event stream", l.o.EventsPath, kind)}
		}
		err = l.read(ctx, heard{resp.Body, func() {
			came = true
			watch.Reset(silence)
		}})
	}
	if cause := context.Cause(reading); cause != nil && ctx.Err() == nil && err != nil {
		err = &localError{cause}
	}
	return came, err
}

// read hands on what a stream brings.
func (l *listener) read(ctx context.Context, body io.Reader) error {
	r := sse.NewReader(body)
	r.MaxEvent = l.c.cfg.Socket.MaxMessage
	for {
		ev, err := r.Next()
		if err != nil {
			return &localError{fmt.Errorf("client: event stream: %w", err)}
		}
		var s said
		if json.Unmarshal([]byte(ev.Data), &s) != nil {
			continue
		}
		if err := l.take(ctx, &s); err != nil {
			return err
		}
		l.advance(ctx, ev.ID)
	}
}

// heard is a body that tells of each sign of life.
type heard struct {
	io.Reader
	alive func()
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.alive()
	}
	return n, err
}

// poll makes one poll.
func (l *listener) poll(ctx context.Context) error {
	reading, cancel := context.WithTimeoutCause(ctx, pollWait+pollSlack, errConnectTimeout)
	defer cancel()
	wait := strconv.Itoa(int(pollWait.Seconds()))
	resp, err := l.request(reading, l.o.PollPath, url.Values{"wait": {wait}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, l.c.cfg.MaxResponse)) // a longer one is no JSON
	var answer struct {
		Events []said   `json:"events"`
		Cursor string   `json:"cursor"`
		Reset  []string `json:"reset"`
	}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err == nil && answer.Cursor == "" {
		err = errors.New("it has no cursor")
	}
	if err != nil {
		return &localError{fmt.Errorf("client: answer to a poll: %w", err)}
	}
	for _, room := range answer.Reset {
		if err := l.take(ctx, &said{Type: "reset", Room: room}); err != nil {
			return err
		}
	}
	for i := range answer.Events {
		if err := l.take(ctx, &answer.Events[i]); err != nil {
			return err
		}
	}
	l.advance(ctx, answer.Cursor)
	return nil
}
