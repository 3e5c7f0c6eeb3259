package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// maxMessage bounds what a client may send.
const maxMessage = 2 << 20

// maxHead bounds a request for the upgrade.
const maxHead = 8 << 10

var errFrame = errors.New("no frame of the load generator")

// parse reads the frame that data begins with and unmasks it in place. n is
// its whole length, 0 if data does not have all of it yet.
func parse(data []byte) (op byte, text []byte, n int, err error) {
	if len(data) < 2 {
		return 0, nil, 0, nil
	}
	size, at := uint64(data[1]&0x7f), 2
	switch {
	case data[1]&0x80 == 0:
		return 0, nil, 0, errFrame
	case size == 126 && len(data) >= 4:
		size, at = uint64(binary.BigEndian.Uint16(data[2:])), 4
	case size == 127 && len(data) >= 10:
		size, at = binary.BigEndian.Uint64(data[2:]), 10
	case size >= 126:
		return 0, nil, 0, nil
	}
	if size > maxMessage {
		return 0, nil, 0, errFrame
	}
	if n = at + 4 + int(size); len(data) < n {
		return 0, nil, 0, nil
	}
	unmask(data[at+4:n], binary.LittleEndian.Uint32(data[at:]))
	return data[0] & 0x0f, data[at+4 : n], n, nil
}

// unmask unmasks in place, eight bytes at a time.
func unmask(text []byte, mask uint32) {
	both := uint64(mask)<<32 | uint64(mask)
	for len(text) >= 8 {
		binary.LittleEndian.PutUint64(text, binary.LittleEndian.Uint64(text)^both)
		text = text[8:]
	}
	for i := range text {
		text[i] ^= byte(mask >> (8 * (i & 3)))
	}
}

// appendHeader appends the header of a text frame of this length.
func appendHeader(dst []byte, size int) []byte {
	const finalText = 0x81
	switch {
	case size < 126:
		return append(dst, finalText, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, finalText, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, finalText, 127), uint64(size))
}

// appendFrame appends a whole text frame.
func appendFrame(dst []byte, text string) []byte {
	return append(appendHeader(dst, len(text)), text...)
}

// appendUpgrade appends the answer to the request that data begins with, whose
// length is n; 0 if data does not have all of it yet.
func appendUpgrade(dst, data []byte) (answer []byte, n int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 && len(data) < maxHead {
		return dst, 0, nil
	} else if end < 0 {
		return dst, 0, errFrame
	}
	_, key, found := bytes.Cut(data[:end], []byte("Sec-WebSocket-Key: "))
	if !found {
		return dst, 0, errFrame
	}
	key, _, _ = bytes.Cut(key, []byte("\r\n"))
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) // RFC 6455 §1.3
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	return append(dst, "\r\n\r\n"...), end + 4, nil
}
