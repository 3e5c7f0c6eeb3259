package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// The file begins with magic and a generation, which tells a file from the one
// that it has replaced. Records follow: a length and a CRC-32C of the payload,
// each four bytes, little endian, and the payload, a JSON object. What is cut
// off or damaged at the end was never acknowledged, and is dropped.
const (
	magic      = "holdfastq1"
	headerSize = len(magic) + 16
	frameSize  = 8
	maxRecord  = 16 << 20 // bytes of a payload; more is no record of ours
)

// record is one change. Exactly one of its parts is set.
type record struct {
	Add    *Item  `json:"add,omitempty"`
	Dead   *Dead  `json:"dead,omitempty"` // in a file that was written anew
	Remove string `json:"remove,omitempty"`
	Drop   string `json:"drop,omitempty"`
	Bury   *bury  `json:"bury,omitempty"`
}

type bury struct {
	ID      string        `json:"id"`
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
	At      time.Time     `json:"at"`
}

// apply makes a record's change. That it was made before changes nothing.
func (s *state) apply(r *record, l Limits) {
	switch {
	case r.Add != nil:
		s.add(*r.Add)
	case r.Dead != nil:
		s.dead = append(s.dead, *r.Dead)
	case r.Bury != nil:
		s.bury(r.Bury.ID, r.Bury.Code, r.Bury.Message, r.Bury.At, l.Dead)
	case r.Drop != "":
		s.drop(r.Drop)
	default:
		s.remove(r.Remove)
	}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // which is made once

func appendRecord(dst []byte, r *record) ([]byte, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return dst, err
	}
	if len(payload) > maxRecord {
		return dst, ErrFull
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli()))
	return append(dst, payload...), nil
}

var errDamaged = errors.New("queue: a record is damaged")

// nextRecord reads the first record of data and how long it is. n is 0 where
// data ends within it, or before it; errDamaged where it is no record.
func nextRecord(data []byte) (r record, n int, err error) {
	if len(data) < frameSize {
		return r, 0, nil
	}
	length := int(binary.LittleEndian.Uint32(data))
	if length > maxRecord {
		return r, 0, errDamaged
	}
	if len(data) < frameSize+length {
		return r, 0, nil
	}
	payload := data[frameSize : frameSize+length]
	if crc32.Checksum(payload, castagnoli()) != binary.LittleEndian.Uint32(data[4:]) || json.Unmarshal(payload, &r) != nil {
		return r, 0, errDamaged
	}
	return r, frameSize + length, nil
}
