package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/holdfast-dev/holdfast"
)

// A cursor is where a reader stands in several rooms: what /events gives as
// the id of each event, and /poll with each answer (docs/protocol.md §6). It
// is opaque to clients, and carries no right: the rooms come from the request
// and are checked there, and a position tells no more than what may be read of
// a room anyway. So it needs no signature; whatever is in it is checked.
//
// Below its base64url are a version and then the rooms, each by the hash of
// its name, so that a cursor is good for requests of other rooms too:
//
//	1  epochs (count; each: how much of the one before it begins with, the
//	   length of the rest, the rest), then a room's key, epoch and offset
//	2  a room's key, the hash of its epoch, and offset
//
// The second is for when many rooms have epochs that have little in common; the
// hash is enough to tell whether a room's epoch is still the same.
const (
	cursorPlain  = 1
	cursorHashed = 2

	// maxCursor bounds a cursor, in characters.
	maxCursor = 4096
	// maxCursorRooms rooms fit into it, whatever their epochs are.
	maxCursorRooms = 128

	keySize  = 8
	tagSize  = 7
	maxRoomV = keySize + 1 + 8 // of version 1; offsets have up to 53 bits
)

// roomKey stands for a room's name in a cursor.
type roomKey [keySize]byte

func keyOf(room string) roomKey {
	sum := sha256.Sum256([]byte(room))
	return roomKey(sum[:])
}

// epochTag stands for an epoch.
type epochTag [tagSize]byte

func tagOf(epoch string) epochTag {
	sum := sha256.Sum256([]byte(epoch))
	return epochTag(sum[:])
}

// mark is what a cursor says of a room.
type mark struct {
	epoch  string // "" if only its tag is known
	tag    epochTag
	offset uint64
}

// place is where a reader stands in one room.
type place struct {
	room     string
	key      roomKey
	position holdfast.Position
	fresh    bool // the cursor did not know the room: it starts here
	reset    bool // what the cursor said can't be continued
}

// cursorWriter writes cursors over rooms whose offsets grow. It is not safe
// for concurrent use.
type cursorWriter struct {
	places []place
	head   []byte // version and epochs; nil: to be made
	hashed bool
	epochs []byte // of each place: the index of its epoch, if not hashed
	tags   []epochTag
	raw    []byte // scratch
}

// move says where the reader stands in a room now; false if the room is not
// one of the writer's.
func (w *cursorWriter) move(room string, position holdfast.Position) bool {
	for i := range w.places {
		p := &w.places[i]
		if p.room != room {
			continue
		}
		if p.position.Epoch != position.Epoch {
			w.head = nil
		}
		p.position = position
		return true
	}
	return false
}

// append appends the cursor.
func (w *cursorWriter) append(dst []byte) []byte {
	if w.head == nil {
		w.begin()
	}
	raw := append(w.raw[:0], w.head...)
	for i := range w.places {
		p := &w.places[i]
		raw = append(raw, p.key[:]...)
		if w.hashed {
			raw = append(raw, w.tags[i][:]...)
		} else {
			raw = append(raw, w.epochs[i])
		}
		raw = binary.AppendUvarint(raw, p.position.Offset)
	}
	w.raw = raw
	return base64.RawURLEncoding.AppendEncode(dst, raw)
}

// begin makes what stays the same while no epoch changes.
func (w *cursorWriter) begin() {
	w.epochs = w.epochs[:0]
	var distinct []string
	index := make(map[string]byte)
	for i := range w.places {
		epoch := w.places[i].position.Epoch
		n, ok := index[epoch]
		if !ok {
			n = byte(len(distinct)) // there are no more than maxCursorRooms
			index[epoch] = n
			distinct = append(distinct, epoch)
		}
		w.epochs = append(w.epochs, n)
	}
	head := []byte{cursorPlain, byte(len(distinct))}
	before := ""
	for _, epoch := range distinct {
		common := 0
		for common < min(len(before), len(epoch)) && before[common] == epoch[common] {
			common++
		}
		head = append(head, byte(common), byte(len(epoch)-common))
		head = append(head, epoch[common:]...)
		before = epoch
	}
	size := len(head) + len(w.places)*maxRoomV
	if w.hashed = base64.RawURLEncoding.EncodedLen(size) > maxCursor; w.hashed {
		head = []byte{cursorHashed}
		w.tags = w.tags[:0]
		for i := range w.places {
			w.tags = append(w.tags, tagOf(w.places[i].position.Epoch))
		}
	}
	w.head = head
}

// parseCursor reads a cursor. The error is INVALID_ARGUMENT: it is none of
// ours, or damaged.
func parseCursor(text string) (map[roomKey]mark, error) {
	if len(text) > maxCursor {
		return nil, errCursor()
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil, errCursor()
	}
	d := cursorReader{raw: raw[1:], ok: true}
	var epochs []string
	switch raw[0] {
	case cursorPlain:
		epochs = d.epochs()
	case cursorHashed:
	default:
		return nil, errCursor()
	}
	marks := make(map[roomKey]mark)
	for d.ok && len(d.raw) > 0 {
		key := roomKey(d.take(keySize))
		var m mark
		if raw[0] == cursorHashed {
			m.tag = epochTag(d.take(tagSize))
		} else if n := int(d.take(1)[0]); n < len(epochs) {
			m.epoch = epochs[n]
		} else {
			d.ok = false
		}
		m.offset = d.offset()
		if _, twice := marks[key]; twice || len(marks) == maxCursorRooms {
			d.ok = false
		}
		marks[key] = m
	}
	if !d.ok {
		return nil, errCursor()
	}
	return marks, nil
}

func errCursor() *holdfast.Error {
	return holdfast.Errorf(holdfast.InvalidArgument, "since is no cursor of this server; leave it out to start now")
}

// cursorReader takes a cursor apart. Once ok is false, what it returns means
// nothing.
type cursorReader struct {
	raw []byte
	ok  bool
}

// take returns the next n bytes; zeros where there are fewer.
func (d *cursorReader) take(n int) []byte {
	if len(d.raw) < n {
		d.ok, d.raw = false, nil
		return make([]byte, n) // n is one of our sizes, or a byte's value
	}
	taken := d.raw[:n]
	d.raw = d.raw[n:]
	return taken
}

func (d *cursorReader) offset() uint64 {
	offset, n := binary.Uvarint(d.raw)
	if n <= 0 || offset > holdfast.MaxOffset {
		d.ok, d.raw = false, nil
		return 0
	}
	d.raw = d.raw[n:]
	return offset
}

func (d *cursorReader) epochs() []string {
	count := int(d.take(1)[0])
	var all []string
	before := ""
	for range count {
		common := int(d.take(1)[0])
		rest := d.take(int(d.take(1)[0]))
		if common > len(before) {
			d.ok = false
		}
		if !d.ok {
			return nil
		}
		epoch := before[:common] + string(rest)
		if err := (holdfast.Position{Epoch: epoch}).Check(); err != nil {
			d.ok = false
			return nil
		}
		all = append(all, epoch)
		before = epoch
	}
	return all
}
