package load

import (
	"encoding/binary"
	"errors"
)

// Opcodes of WebSocket frames, RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// Faults of a server's frames.
var (
	errReserved = errors.New("a frame has a reserved bit or opcode")
	errMasked   = errors.New("a frame of the server is masked")
	errControl  = errors.New("a control frame is fragmented or over 125 bytes")
	errLength   = errors.New("the length of a frame is not in its shortest form")
	errTooLong  = errors.New("a message is longer than the generator takes")
)

// frame is one WebSocket frame of a server.
type frame struct {
	op      byte
	final   bool
	payload []byte // within the bytes that were parsed
}

// parseFrame reads the frame that data begins with. n is its whole length, 0 if
// data does not have all of it yet. A payload over limit is an error.
func parseFrame(data []byte, limit int) (f frame, n int, err error) {
	if len(data) < 2 {
		return f, 0, nil
	}
	f.op, f.final = data[0]&0x0f, data[0]&0x80 != 0
	size, at := uint64(data[1]&0x7f), 2
	switch {
	case data[0]&0x70 != 0 || f.op > opPong || f.op > opBinary && f.op < opClose:
		return f, 0, errReserved
	case data[1]&0x80 != 0:
		return f, 0, errMasked
	case f.op >= opClose && (!f.final || size > 125):
		return f, 0, errControl
	}
	switch size {
	case 126:
		if len(data) < 4 {
			return f, 0, nil
		}
		if size, at = uint64(binary.BigEndian.Uint16(data[2:])), 4; size < 126 {
			return f, 0, errLength
		}
	case 127:
		if len(data) < 10 {
			return f, 0, nil
		}
		if size, at = binary.BigEndian.Uint64(data[2:]), 10; size < 1<<16 {
			return f, 0, errLength
		}
	}
	if size > uint64(limit) {
		return f, 0, errTooLong
	}
	if n = at + int(size); len(data) < n {
		return f, 0, nil
	}
	f.payload = data[at:n]
	return f, n, nil
}

// appendFrame appends a whole frame, masked as a client's must be.
func appendFrame(dst []byte, op byte, mask [4]byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch size := len(payload); {
	case size < 126:
		dst = append(dst, 0x80|byte(size))
	case size < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(size))
	}
	dst = append(dst, mask[:]...)
	from := len(dst)
	dst = append(dst, payload...)
	maskBytes(dst[from:], mask)
	return dst
}

// maskBytes masks in place, eight bytes at a time.
func maskBytes(data []byte, mask [4]byte) {
	word := binary.LittleEndian.Uint32(mask[:])
	both := uint64(word)<<32 | uint64(word)
	for len(data) >= 8 {
		binary.LittleEndian.PutUint64(data, binary.LittleEndian.Uint64(data)^both)
		data = data[8:]
	}
	for i := range data {
		data[i] ^= mask[i&3]
	}
}
