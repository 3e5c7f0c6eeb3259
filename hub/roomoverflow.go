package hub

import (
	"crypto/sha256"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// RoomOverflow says what becomes of slow readers of a room's live events. The
// zero value closes them. Replays are never dropped: they wait for the reader.
type RoomOverflow struct {
	Overflow Overflow
	// Key names a field of the events' data. With OverflowLatest, an event takes
	// the place of one of the same room and name whose data has the same value
	// there: a string or number at the top level, as it is spelled. What has no
	// such field counts as having the same one. "" makes no difference between
	// events of a name.
	Key string
}

// maxKey bounds a value that is used as it is, in bytes; the hash of a longer
// one is used, since keys are compared for each receiver.
const maxKey = 64

// key tells a room's events apart as far as they may take each other's place;
// "" for a room where they don't.
func (o *RoomOverflow) key(ev *holdfast.Event) string {
	if o.Overflow != OverflowLatest {
		return ""
	}
	key := make([]byte, 0, len(ev.Name)+1+maxKey)
	key = append(append(key, ev.Name...), 0) // which no name has
	if o.Key != "" {
		key = appendValue(key, jsonscan.Field(ev.Data, o.Key))
	}
	return string(key)
}

// appendValue appends a value that is a string or a number.
func appendValue(key, value []byte) []byte {
	if len(value) == 0 || value[0] != '"' && value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return key
	}
	if len(value) <= maxKey {
		return append(key, value...)
	}
	sum := sha256.Sum256(value)
	return append(append(key, 0), sum[:]...)
}

// apply gives the room's policy to a frame for the members of a group. It is
// put on a copy, since the frame is the encoder's. The group is in the key as
// well: a connection may be in the room by two namespaces, or in other rooms.
func (o *RoomOverflow) apply(f *Frame, g *group, key string) *Frame {
	own := &Frame{Text: f.Text, Binary: f.Binary, Wire: f.Wire, Event: f.Event, Overflow: o.Overflow}
	if o.Overflow == OverflowLatest {
		own.Key = strconv.FormatUint(g.id, 36) + "\x00" + key
	}
	return own
}
