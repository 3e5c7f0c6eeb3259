package server

import (
	"bytes"
	"context"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// EventStore keeps the acks of events that had an id, so that a repeat after a
// restart, or on another node, is answered as the first one was. An identity
// provider is one. A scope says whose the id is; it and id are up to 600 bytes
// each, of any kind, and are to be compared byte for byte.
//
// A record is to be kept for 24 hours, but no more than the newest 10,000 of
// each scope, nor more than 8 MiB of their acks. Methods are called by many goroutines at once.
type EventStore interface {
	// LoadEvent returns what was saved last under scope and id.
	LoadEvent(ctx context.Context, scope, id string) (name string, ack []byte, found bool, err error)
	// SaveEvent saves a record, which is on the disk when it returns. One that
	// is there already, and is not over, stays as it is.
	SaveEvent(ctx context.Context, scope, id, name string, ack []byte, at time.Time) error
}

// eventIDKey is the key of the id in a handler's context.
type eventIDKey struct{}

// EventID returns the id that the client gave to the event which is being
// handled; "" if it gave none. An id is unique among one user's events.
//
// An event with an id reaches its handler once, with one exception: when the
// process ends between what the handler does and the record of its answer, the
// client sends the event again, and the handler sees it again. A handler for
// which that is too often writes user and id into its own database, in the
// same transaction as its effect.
func EventID(ctx context.Context) string {
	id, _ := ctx.Value(eventIDKey{}).(string)
	return id
}

// cutEventID takes {"$hf":{"id":"…"}} off the end of an event's arguments; the
// id is "" where there is none. Official clients never send that key by
// themselves, so one that is wrong is refused: passed on as data, the client's
// wish for one effect would be lost in silence.
func cutEventID(args socketio.Args) (socketio.Args, string, error) {
	n := len(args.Values)
	if n == 0 {
		return args, "", nil
	}
	last := args.Values[n-1]
	if len(last) == 0 || last[0] != '{' || bytes.IndexByte(last, '$') < 0 && !bytes.Contains(last, []byte(`\u`)) {
		return args, "", nil
	}
	hf, only := member(last, "$hf")
	if hf == nil {
		return args, "", nil
	}
	if !only || hf[0] != '{' {
		return args, "", errEventID()
	}
	quoted, only := member(hf, "id")
	if !only || quoted[0] != '"' {
		return args, "", errEventID()
	}
	id := string(jsonscan.Unquote(quoted))
	if id == "" {
		return args, "", errEventID()
	}
	if err := holdfast.CheckEventID(id); err != nil {
		return args, "", err
	}
	args.Values = args.Values[: n-1 : n-1]
	return args, id, nil
}

func errEventID() error {
	return holdfast.Errorf(holdfast.InvalidArgument, `a last argument with the key "$hf" must be exactly {"$hf":{"id":"…"}}`)
}

// member returns the value of a key in an object, which was checked to be
// JSON, and whether it is the object's only one; nil if there is none.
func member(object []byte, name string) (value []byte, only bool) {
	keys := 0
	for i := skipSpace(object, 1); i < len(object) && object[i] == '"'; keys++ {
		end := jsonscan.Skip(object, i)
		if end < 0 {
			return nil, false
		}
		key := object[i:end]
		i = skipSpace(object, skipSpace(object, end)+1) // the colon
		if end = jsonscan.Skip(object, i); end < 0 {
			return nil, false
		}
		if jsonscan.KeyIs(key, name) {
			value = object[i:end]
		}
		i = skipSpace(object, skipSpace(object, end)+1) // the comma, or the end
	}
	return value, value != nil && keys == 1
}

// skipSpace returns the index of the first byte from i on that is no space.
func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}
