package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// DefaultMaxEvent is the limit of a Reader whose MaxEvent is 0: 4 MiB.
const DefaultMaxEvent = 4 << 20

// maxRetry bounds what a stream may say about reconnecting.
const maxRetry = 24 * time.Hour

// ErrTooLong is returned for an event, or a line, over Reader.MaxEvent.
var ErrTooLong = errors.New("sse: the event is too long")

// Event is what a reader gets when an event is dispatched.
type Event struct {
	// ID is the last event id of the stream, which may be from an earlier event.
	ID string
	// Name is the event's name; "message" where the stream gives none.
	Name string
	// Data are its lines, with LF between them.
	Data string
}

// Reader reads an event stream as the standard says: a byte order mark is
// skipped; lines end with LF, CR LF or CR; an event without data is not
// dispatched, but its id counts; one that the stream breaks off is dropped. A
// run of bytes that are no UTF-8 becomes U+FFFD. It is not safe for concurrent
// use.
type Reader struct {
	// MaxEvent bounds one line, and the data of one event, in bytes. 0: 4 MiB.
	// Set it before the first Next.
	MaxEvent int

	in       *bufio.Reader
	started  bool
	skipLF   bool // the last line ended with CR
	line     []byte
	comments int

	id    string // the last event id, as dispatched
	retry time.Duration

	// of the event that is being read
	nextID  string
	name    string
	data    strings.Builder
	hasData bool
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReader(r)} }

// LastID returns the last event id: what a client that connects again sends as
// Last-Event-ID.
func (r *Reader) LastID() string { return r.id }

// Retry returns how long the stream wants a client to wait before it connects
// again, at most a day; 0 if it did not say.
func (r *Reader) Retry() time.Duration { return r.retry }

// Comments returns how many comment lines were skipped: a sign of life.
func (r *Reader) Comments() int { return r.comments }

// Next returns the next event. At the end of the stream the error is io.EOF,
// or what the reader below returned.
func (r *Reader) Next() (Event, error) {
	for {
		line, err := r.readLine()
		if err != nil {
			return Event{}, err
		}
		if len(line) > 0 {
			if err := r.field(line); err != nil {
				return Event{}, err
			}
			continue
		}
		r.id = r.nextID
		ev := Event{ID: r.id, Name: r.name, Data: strings.TrimSuffix(r.data.String(), "\n")}
		dispatch := r.hasData
		r.name, r.hasData = "", false
		r.data.Reset()
		if !dispatch {
			continue
		}
		if ev.Name == "" {
			ev.Name = "message"
		}
		return ev, nil
	}
}

// readLine returns the next line without its end. It waits for no byte behind
// a CR, which may come much later.
func (r *Reader) readLine() ([]byte, error) {
	limit := r.MaxEvent
	if limit <= 0 {
		limit = DefaultMaxEvent
	}
	r.line = r.line[:0]
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return nil, err
		}
		lf := r.skipLF && c == '\n'
		r.skipLF = false
		switch {
		case lf:
			continue
		case c == '\n', c == '\r':
			r.skipLF = c == '\r'
			line := r.line
			if !r.started {
				r.started = true
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			return bytes.ToValidUTF8(line, []byte("\ufffd")), nil
		case len(r.line) >= limit+len("data: "):
			return nil, ErrTooLong
		}
		r.line = append(r.line, c)
	}
}

// field takes a line that is not empty.
func (r *Reader) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "":
		r.comments++
	case "event":
		r.name = string(value)
	case "data":
		limit := r.MaxEvent
		if limit <= 0 {
			limit = DefaultMaxEvent
		}
		if r.data.Len()+len(value) > limit {
			return ErrTooLong
		}
		r.data.Write(value)
		r.data.WriteByte('\n')
		r.hasData = true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			r.nextID = string(value)
		}
	case "retry":
		if ms, ok := digits(value); ok {
			r.retry = time.Duration(min(ms, uint64(maxRetry/time.Millisecond))) * time.Millisecond
		}
	}
	return nil
}

// digits reads a number of ASCII digits alone; one that is too large is the
// largest.
func digits(text []byte) (uint64, bool) {
	if len(text) == 0 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, _ := strconv.ParseUint(string(text), 10, 64) // out of range: the largest
	return n, true
}
