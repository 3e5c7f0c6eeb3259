package transport

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/ws"
)

// Closes of a client's faults.
const (
	protocolError = "close 1002 PROTOCOL_ERROR"
	badText       = "close 1007 PROTOCOL_ERROR"
	tooLong       = "close 1009 MESSAGE_TOO_LARGE"
)

// maxMessage is MaxPayload in these tests.
const maxMessage = 100_000

// done shows that the connection is still good.
var done = frame(fText, "4done")

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func unmasked(b0 byte, payload string) []byte {
	return append([]byte{b0, byte(len(payload))}, payload...)
}

// maskedBy is frame with a mask of the case's own, for short payloads.
func maskedBy(mask [4]byte, b0 byte, payload string) []byte {
	body := []byte(payload)
	ws.Cipher(body, mask, 0)
	return slices.Concat([]byte{b0, 0x80 | byte(len(body))}, mask[:], body)
}

// header announces a frame without sending its payload.
func header(b0 byte, form byte, length uint64) []byte {
	out := []byte{b0, 0x80 | form}
	switch form {
	case 126:
		out = binary.BigEndian.AppendUint16(out, uint16(length))
	case 127:
		out = binary.BigEndian.AppendUint64(out, length)
	}
	return append(out, 1, 2, 3, 4)
}

// ends is a case that ends the connection, keeps one after which it goes on.
func ends(name string, send []byte, want ...string) rule {
	return rule{name: name, send: send, want: append(want, "eof")}
}

func keeps(name string, send []byte, want ...string) rule {
	return rule{name: name, send: send, want: want}
}

// breaks is a case that is answered by 1002.
func breaks(name string, send []byte) rule { return ends(name, send, protocolError) }

func msg(s string) string { return "text 4" + s }

// each makes a case for each value.
func each[T any](values []T, one func(v T) rule) (list []rule) {
	for _, v := range values {
		list = append(list, one(v))
	}
	return list
}

func demands() []demand {
	return slices.Concat(handshakes(), framing(), fragmentation(), controlFrames(), closing(), text(), limits())
}

func handshakes() []demand {
	return []demand{
		{"4.1", "an opening handshake that is as it has to be is taken, with whatever else a client may say in it", nil, []string{"TestOpeningHandshakeTaken"}},
		{"4.2.1", "method, version of HTTP, Upgrade, Connection, key: one that is not is refused with 400 and opens nothing", nil, []string{"TestOpeningHandshake", "TestPlainWithoutHandshake"}},
		{"4.2.2", "the answer proves that the key was read, and names no extension or subprotocol that was not asked for", nil, []string{"TestOpeningHandshakeTaken", "TestNoExtensionIsOffered", "TestDeflateNegotiation"}},
		{"4.2.2", "what a client sends right behind its handshake is not lost", nil, []string{"TestMessagesBehindUpgradeRequest", "TestMessagesBehindPlainUpgradeRequest"}},
		{"4.4", "another version than 13 is refused, and 13 is named", nil, []string{"TestOpeningHandshake"}},
		{"10.2", "a page of another origin is refused", nil, []string{"server.TestOrigins", "server.TestPlainOrigin"}},
		{"9.1", "offers of extensions are read with their quotes, lists and parameters, and what can't be kept to is declined", nil, []string{"TestOffersDeflate", "TestDeflateNegotiation", "TestDeflateAfterUpgrade"}},
	}
}

func framing() []demand {
	sizes := []int{1, 2, 125, 126, 127, 128, 4094, 4096, 65535, 65536, maxMessage}
	reserved := []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15}
	bits := []byte{1, 2, 3, 4, 5, 6, 7}
	return []demand{
		{"5.1", "a frame of a client that is not masked is refused, whatever its kind", []rule{
			breaks("unmasked text", unmasked(fText, "4a")),
			breaks("unmasked binary", unmasked(fBinary, "4a")),
			breaks("unmasked empty text", unmasked(fText, "")),
			breaks("unmasked first fragment", unmasked(fTextBegin, "4a")),
			breaks("unmasked last fragment", cat(frame(fTextBegin, "4a"), unmasked(fLast, "b"))),
			breaks("unmasked ping", unmasked(fPing, "")),
			breaks("unmasked pong", unmasked(fPong, "p")),
			breaks("unmasked close", unmasked(fClose, "\x03\xe8")),
			ends("unmasked text behind a good one", cat(done, unmasked(fText, "4a")), msg("done"), protocolError),
		}, nil},
		{"5.1", "a server masks nothing, and sends lengths in their shortest form", nil,
			[]string{"TestRFC6455", "TestNewFrame", "TestServersFrames"}},
		{"5.3", "a payload is unmasked by the frame's own key, which may be any", slices.Concat([]rule{
			keeps("mask of zeros", maskedBy([4]byte{}, fText, "4a"), msg("a")),
			keeps("mask of ones", maskedBy([4]byte{255, 255, 255, 255}, fText, "4abcde"), msg("abcde")),
			keeps("another mask in each fragment", cat(maskedBy([4]byte{1, 2, 3, 4}, fTextBegin, "4abc"), maskedBy([4]byte{9, 8, 7, 6}, fMore, "defgh"), maskedBy([4]byte{0, 0, 0, 1}, fLast, "ijkl")), msg("abcdefghijkl")),
		}, each([]int{3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33}, func(n int) rule {
			text := strings.Repeat("xyz", n)[:n-1]
			return keeps(fmt.Sprintf("masked payload of bytes %d", n), frame(fText, "4"+text), msg(text))
		})), nil},
		{"5.2", "RSV1 to RSV3 are 0 where no extension gives them a meaning", slices.Concat(
			each(bits, func(rsv byte) rule {
				r := breaks(fmt.Sprintf("text with RSV bits %03b", rsv), frame(fText|rsv<<4, "4a"))
				r.bare = rsv == rsv1
				return r
			}),
			each(bits, func(rsv byte) rule {
				r := breaks(fmt.Sprintf("binary with RSV bits %03b", rsv), frame(fBinary|rsv<<4, "4a"))
				r.bare = rsv == rsv1
				return r
			}),
			each(bits, func(rsv byte) rule {
				return breaks(fmt.Sprintf("continuation with RSV bits %03b", rsv), cat(frame(fTextBegin, "4a"), frame(fLast|rsv<<4, "b")))
			}),
			each(bits, func(rsv byte) rule {
				return breaks(fmt.Sprintf("ping with RSV bits %03b", rsv), frame(fPing|rsv<<4, ""))
			}),
			each(bits, func(rsv byte) rule {
				return breaks(fmt.Sprintf("pong with RSV bits %03b", rsv), frame(fPong|rsv<<4, ""))
			}),
			each(bits, func(rsv byte) rule {
				return breaks(fmt.Sprintf("close with RSV bits %03b", rsv), frame(fClose|rsv<<4, "\x03\xe8"))
			}),
		), []string{"TestRFC7692"}},
		{"5.2", "an opcode that means nothing is refused", slices.Concat(
			each(reserved, func(op byte) rule { return breaks(fmt.Sprint("whole frame of opcode ", op), frame(0x80|op, "4a")) }),
			each(reserved, func(op byte) rule { return breaks(fmt.Sprint("first fragment of opcode ", op), frame(op, "")) }),
			each(reserved, func(op byte) rule {
				return breaks(fmt.Sprint("between fragments opcode ", op), cat(frame(fTextBegin, "4a"), frame(0x80|op, "")))
			}),
			[]rule{ends("behind a good message opcode 3", cat(done, frame(0x83, "x")), msg("done"), protocolError)},
		), nil},
		{"5.2", "a length has 7, 16 or 64 bits", slices.Concat(
			each(sizes, func(n int) rule {
				return keeps(fmt.Sprint("text of bytes ", n), frame(fText, "4"+strings.Repeat("x", n-1)), msg(strings.Repeat("x", n-1)))
			}),
			each(sizes, func(n int) rule {
				return keeps(fmt.Sprint("binary of bytes ", n), frame(fBinary, strings.Repeat("4", n)), "binary "+strings.Repeat("34", n))
			}),
		), nil},
		{"5.2", "a length is in its shortest form: a sender's duty, which is held against one that fails it", []rule{
			breaks("0 bytes in 16 bits", header(fText, 126, 0)),
			breaks("2 bytes in 16 bits", cat(header(fText, 126, 2), []byte("xx"))),
			breaks("125 bytes in 16 bits", cat(header(fText, 126, 125), make([]byte, 125))),
			breaks("0 bytes in 64 bits", header(fText, 127, 0)),
			breaks("200 bytes in 64 bits", cat(header(fText, 127, 200), make([]byte, 200))),
			breaks("65535 bytes in 64 bits", header(fBinary, 127, 65535)),
			breaks("fragment of 2 bytes in 16 bits", cat(frame(fTextBegin, "4a"), header(fLast, 126, 2), []byte("xx"))),
		}, nil},
		{"5.2", "the highest bit of a 64-bit length is 0", []rule{
			breaks("length of 2^63", header(fText, 127, 1<<63)),
			breaks("length of 2^64-1", header(fBinary, 127, 1<<64-1)),
		}, nil},
		{"5.2", "what the first two bytes show is refused without waiting for more", []rule{
			breaks("two bytes of a frame with RSV2", []byte{fText | 0x20, 0xfe}),
			breaks("two bytes of a reserved opcode", []byte{0x8b, 0xff}),
			breaks("two bytes of an unmasked text", []byte{fText, 0x7e}),
			breaks("two bytes of a fragmented ping", []byte{0x09, 0x80}),
			breaks("two bytes of a long ping", []byte{fPing, 0xfe}),
			breaks("two bytes of a continuation of nothing", []byte{fMore, 0xfe}),
			breaks("two bytes of a text inside a message", cat(frame(fTextBegin, "4a"), []byte{fText, 0xfe})),
		}, nil},
		{"5.6", "text and binary messages are told apart, and both may be empty", []rule{
			keeps("text of nothing but the packet's type", frame(fText, "4"), "text 4"),
			keeps("empty binary", frame(fBinary, ""), "binary "),
			keeps("text, binary, text", cat(frame(fText, "4a"), frame(fBinary, "\x00\xff"), frame(fText, "4b")), msg("a"), "binary 00ff", msg("b")),
		}, nil},
	}
}

func fragmentation() []demand {
	const fragments = 10_000
	return []demand{
		{"5.4", "a message is the payloads of its fragments, in order", []rule{
			keeps("two fragments", cat(frame(fTextBegin, "4a"), frame(fLast, "b")), msg("ab")),
			keeps("two binary fragments", cat(frame(fBinaryBegin, "\x01"), frame(fLast, "\xff")), "binary 01ff"),
			keeps("empty fragments", cat(frame(fTextBegin, ""), frame(fMore, ""), frame(fMore, "4a"), frame(fLast, "")), msg("a")),
			keeps("a binary message of empty fragments", cat(frame(fBinaryBegin, ""), frame(fMore, ""), frame(fLast, "")), "binary "),
			keeps("10,000 fragments of a byte", cat(frame(fTextBegin, "4"), slices.Repeat(frame(fMore, "x"), fragments), frame(fLast, "y")), msg(strings.Repeat("x", fragments)+"y")),
			keeps("10,000 empty fragments", cat(frame(fTextBegin, "4a"), slices.Repeat(frame(fMore, ""), fragments), frame(fLast, "b")), msg("ab")),
			keeps("two fragmented messages", cat(frame(fTextBegin, "4a"), frame(fLast, "b"), frame(fBinaryBegin, "c"), frame(fLast, "d")), msg("ab"), "binary 6364"),
			keeps("a whole message behind a fragmented one", cat(frame(fTextBegin, "4a"), frame(fLast, "b"), done), msg("ab"), msg("done")),
			keeps("large fragments", cat(frame(fTextBegin, "4"+strings.Repeat("x", 40_000)), frame(fMore, strings.Repeat("y", 40_000)), frame(fLast, strings.Repeat("z", 10_000))),
				msg(strings.Repeat("x", 40_000)+strings.Repeat("y", 40_000)+strings.Repeat("z", 10_000))),
		}, nil},
		{"5.4", "control frames may come between fragments, and are dealt with at once", []rule{
			keeps("ping between fragments", cat(frame(fTextBegin, "4a"), frame(fPing, "p"), frame(fLast, "b")), "pong p", msg("ab")),
			keeps("pong between fragments", cat(frame(fTextBegin, "4a"), frame(fPong, "p"), frame(fLast, "b")), msg("ab")),
			keeps("pings and pongs between all fragments", cat(frame(fTextBegin, "4a"), frame(fPing, "1"), frame(fPong, ""), frame(fMore, "b"), frame(fPing, "2"), frame(fLast, "c")), "pong 1", "pong 2", msg("abc")),
			ends("close between fragments", cat(frame(fTextBegin, "4a"), closeFrame(1000, "")), "close 1000"),
			ends("close with half a code between fragments", cat(frame(fTextBegin, "4a"), frame(fClose, "\x03")), protocolError),
		}, nil},
		{"5.4", "a continuation continues something", []rule{
			breaks("continuation of nothing", frame(fLast, "4a")),
			breaks("continuation of nothing that is not the last", frame(fMore, "4a")),
			breaks("empty continuation of nothing", frame(fLast, "")),
			ends("continuation of a whole message", cat(done, frame(fLast, "4a")), msg("done"), protocolError),
			ends("continuation of a finished message", cat(frame(fTextBegin, "4a"), frame(fLast, "b"), frame(fLast, "c")), msg("ab"), protocolError),
			breaks("continuation of a ping", cat(frame(fPong, ""), frame(fLast, ""))),
		}, nil},
		{"5.4", "messages are not interleaved", []rule{
			breaks("text inside a message", cat(frame(fTextBegin, "4a"), frame(fText, "4b"))),
			breaks("binary inside a message", cat(frame(fTextBegin, "4a"), frame(fBinary, "b"))),
			breaks("first fragment of text inside a message", cat(frame(fBinaryBegin, "4a"), frame(fTextBegin, "4b"))),
			breaks("first fragment of binary inside a message", cat(frame(fTextBegin, "4a"), frame(fBinaryBegin, "b"))),
			breaks("text inside a message that has had a continuation", cat(frame(fTextBegin, "4a"), frame(fMore, "b"), frame(fText, "4c"))),
		}, nil},
		{"5.4", "a server's control frame goes between its frames, never into one", nil, []string{"TestFramesAreNotTorn"}},
		{"5.4", "a message that is never finished does not keep the connection", nil, []string{"TestSlowMessage", "TestSlowMessageOnPlain"}},
	}
}

func controlFrames() []demand {
	long := func(n int) string { return strings.Repeat("p", n) }
	var tenPings []byte
	var tenPongs []string
	for i := range 10 {
		tenPings = append(tenPings, frame(fPing, fmt.Sprint("ping ", i))...)
		tenPongs = append(tenPongs, fmt.Sprint("pong ping ", i))
	}
	return []demand{
		{"5.5", "the payload of a control frame has 125 bytes at the most", []rule{
			keeps("ping of 125 bytes", frame(fPing, long(125)), "pong "+long(125)),
			keeps("pong of 125 bytes", cat(frame(fPong, long(125)), done), msg("done")),
			ends("close of 125 bytes", closeFrame(1000, long(123)), "close 1000"),
			breaks("ping of 126 bytes", frame(fPing, long(126))),
			breaks("pong of 126 bytes", frame(fPong, long(126))),
			breaks("close of 126 bytes", closeFrame(1000, long(124))),
			breaks("ping of 65536 bytes", frame(fPing, long(65536))),
			breaks("ping of 5 bytes in 16 bits", header(fPing, 126, 5)),
			breaks("ping of 126 bytes between fragments", cat(frame(fTextBegin, "4a"), frame(fPing, long(126)))),
		}, nil},
		{"5.5", "a control frame is not fragmented", []rule{
			breaks("fragmented ping", cat(frame(0x09, "p"), frame(fLast, "q"))),
			breaks("fragmented pong", cat(frame(0x0a, "p"), frame(fLast, "q"))),
			breaks("fragmented close", cat(frame(0x08, ""), frame(fLast, "\x03\xe8"))),
			breaks("fragmented ping between fragments", cat(frame(fTextBegin, "4a"), frame(0x09, "p"))),
		}, nil},
		{"5.5.2", "a ping is answered by a pong with the same payload", []rule{
			keeps("ping without payload", frame(fPing, ""), "pong "),
			keeps("ping with a payload", frame(fPing, "hello"), "pong hello"),
			keeps("ping with bytes that are no text", frame(fPing, "\x00\xff\xfe"), "pong \x00\xff\xfe"),
			keeps("ping before a message", cat(frame(fPing, "p"), frame(fPong, "q")), "pong p"),
			keeps("ten pings at once", tenPings, tenPongs...),
		}, nil},
		{"5.5.3", "only the last of many pings need be answered", nil, []string{"TestPingsDoNotPileUp"}},
		{"5.5.3", "a pong that nobody asked for is no fault", []rule{
			keeps("pong unasked for", cat(frame(fPong, ""), done), msg("done")),
			keeps("pong unasked for with a payload", cat(frame(fPong, "hello"), done), msg("done")),
			keeps("pong and ping", cat(frame(fPong, "a"), frame(fPing, "b")), "pong b"),
		}, []string{"TestHeartbeatOnPlain"}},
	}
}

func closing() []demand {
	allowed := []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	forbidden := []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535}
	r123 := strings.Repeat("r", 123)
	return []demand{
		{"5.5.1", "a Close frame is answered by one with the same code, and the server ends the TCP connection first", []rule{
			ends("close without a body", frame(fClose, ""), "close"),
			ends("close with a code", closeFrame(1000, ""), "close 1000"),
			ends("close with a code and a reason", closeFrame(1000, "bye"), "close 1000"),
			ends("close with a reason of 123 bytes", closeFrame(1001, r123), "close 1001"),
			ends("close behind a message under way", cat(frame(fBinaryBegin, ""), frame(fMore, "x"), closeFrame(1000, "")), "close 1000"),
		}, []string{"TestPeerCloses", "TestMessageBeforeClose"}},
		{"5.5.1", "a Close frame's body has a whole code, and its reason is UTF-8", []rule{
			breaks("close with half a code", frame(fClose, "\x03")),
			ends("close with a reason in other letters", closeFrame(1000, "até logo 👋"), "close 1000"),
			ends("close with a reason that is not UTF-8", closeFrame(1000, "\xff"), badText),
			ends("close with a reason cut inside a character", closeFrame(1000, "bye\xe2\x82"), badText),
			ends("close with a surrogate in its reason", closeFrame(1000, "\xed\xa0\x80"), badText),
		}, nil},
		{"5.5.1", "nothing is taken after a Close frame", []rule{
			ends("text after close", cat(closeFrame(1000, ""), done), "close 1000"),
			ends("ping after close", cat(closeFrame(1000, ""), frame(fPing, "p")), "close 1000"),
			ends("second close", cat(closeFrame(1000, ""), closeFrame(1001, "")), "close 1000"),
			ends("garbage after close", cat(closeFrame(1000, ""), []byte("\xff\xff\xff\xff")), "close 1000"),
			ends("text after a fault", cat(frame(0x83, ""), done), protocolError),
			ends("close after a fault", cat(frame(0x83, ""), closeFrame(1000, "")), protocolError),
		}, []string{"TestCloseOnWebSocket"}},
		{"7.4", "codes that may be sent are answered as they are", each(allowed, func(code uint16) rule {
			return ends(fmt.Sprint("close code ", code), closeFrame(code, ""), fmt.Sprint("close ", code))
		}), nil},
		{"7.4", "codes that may not be sent are refused", each(forbidden, func(code uint16) rule {
			return breaks(fmt.Sprint("close code ", code), closeFrame(code, ""))
		}), nil},
		{"7.1.1", "a connection that ends without a Close frame was lost", nil, []string{"TestEndWithoutClose"}},
		{"7.1.1", "the server waits for the answer to its Close frame, but not for ever", nil,
			[]string{"TestCloseOnWebSocket", "TestUnansweredClose"}},
		{"7.1.7", "a fault is told by a Close frame before the connection ends, also while a WebSocket is tried beside polling", nil,
			[]string{"TestRFC6455", "TestRFC6455OnProbe"}},
		{"7.2.3", "a client that comes again waits longer each time", nil, []string{"client.TestL44Backoff"}},
	}
}

func text() []demand {
	good := []struct{ name, text string }{
		{"letters of one to four bytes", "a é € 🎈"},
		{"κόσμε", "κόσμε"},
		{"U+0000", "\x00"},
		{"U+007F and U+0080", "\x7f\u0080"},
		{"U+07FF and U+0800", "\u07ff\u0800"},
		{"U+D7FF and U+E000", "\ud7ff\ue000"},
		{"U+FFFD to U+FFFF", "\ufffd\ufffe\uffff"},
		{"U+10000 and U+10FFFF", "\U00010000\U0010ffff"},
		{"a byte order mark", "\ufeffa"},
	}
	bad := []struct{ name, text string }{
		{"byte FF", "\xff"},
		{"byte FE", "a\xfe"},
		{"continuation alone", "\x80"},
		{"two continuations alone", "a\xbf\xbfb"},
		{"start without continuation", "\xc3a"},
		{"start of three bytes with one continuation", "\xe2\x82a"},
		{"overlong of two bytes", "\xc0\xaf"},
		{"overlong of two bytes, highest", "\xc1\xbf"},
		{"overlong of three bytes", "\xe0\x80\xaf"},
		{"overlong of four bytes", "\xf0\x80\x80\xaf"},
		{"overlong zero", "\xc0\x80"},
		{"lowest surrogate", "\xed\xa0\x80"},
		{"highest surrogate", "\xed\xbf\xbf"},
		{"pair of surrogates", "\xed\xa0\xbd\xed\xb8\x80"},
		{"beyond U+10FFFF", "\xf4\x90\x80\x80"},
		{"start byte F5", "\xf5\x80\x80\x80"},
		{"five bytes", "\xf8\x88\x80\x80\x80"},
		{"six bytes", "\xfc\x84\x80\x80\x80\x80"},
		{"cut off after one byte of four", "a\xf0"},
		{"cut off after three bytes of four", "a\xf0\x9f\x8e"},
	}
	type sample = struct{ name, text string }
	return []demand{
		{"8.1", "text that is UTF-8 is taken", each(good, func(s sample) rule {
			return keeps("text: "+s.name, frame(fText, "4"+s.text), msg(s.text))
		}), nil},
		{"8.1", "text that is not UTF-8 is refused", slices.Concat(
			each(bad, func(s sample) rule { return ends("bad text: "+s.name, frame(fText, "4"+s.text), badText) }),
			each(bad, func(s sample) rule {
				return ends("bad fragments: "+s.name, cat(frame(fTextBegin, "4"+s.text[:1]), frame(fLast, s.text[1:])), badText)
			}),
			[]rule{ends("bad text behind a good one", cat(done, frame(fText, "4\xff")), msg("done"), badText)},
		), nil},
		{"8.1", "a character may be cut by the border of a fragment", []rule{
			keeps("character in two fragments", cat(frame(fTextBegin, "4\xc3"), frame(fLast, "\xa9")), msg("é")),
			keeps("character in four fragments", cat(frame(fTextBegin, "4\xf0"), frame(fMore, "\x9f"), frame(fMore, "\x8e"), frame(fLast, "\x88.")), msg("🎈.")),
			keeps("character around empty fragments", cat(frame(fTextBegin, "4\xe2"), frame(fMore, ""), frame(fMore, "\x82"), frame(fMore, ""), frame(fLast, "\xac")), msg("€")),
			keeps("character around a ping", cat(frame(fTextBegin, "4\xe2\x82"), frame(fPing, "\xff"), frame(fLast, "\xac")), "pong \xff", msg("€")),
			ends("character cut off at the end", cat(frame(fTextBegin, "4a"), frame(fLast, "\xf0\x9f\x8e")), badText),
			ends("character cut off before an empty end", cat(frame(fTextBegin, "4\xf0\x9f\x8e"), frame(fLast, "")), badText),
		}, nil},
		{"8.1", "what can't become UTF-8 is refused at the end of its frame, before the message's", []rule{
			ends("a fault in the first fragment", frame(fTextBegin, "4a\xff"), badText),
			ends("a fault in the second fragment", cat(frame(fTextBegin, "4a"), frame(fMore, "b\xc0")), badText),
			ends("the second half of a character is none", cat(frame(fTextBegin, "4\xf0\x9f"), frame(fMore, "x")), badText),
			ends("a surrogate across a border", cat(frame(fTextBegin, "4\xed"), frame(fMore, "\xa0")), badText),
			ends("beyond U+10FFFF across a border", cat(frame(fTextBegin, "4\xf4"), frame(fMore, "\x90")), badText),
		}, nil},
		{"8.1", "binary messages and the payloads of pings are no text", []rule{
			keeps("binary that is not UTF-8", frame(fBinary, "\xff\xfe"), "binary fffe"),
			keeps("binary fragments that are not UTF-8", cat(frame(fBinaryBegin, "\xc0"), frame(fLast, "\xff")), "binary c0ff"),
		}, nil},
	}
}

func limits() []demand {
	most := strings.Repeat("x", maxMessage-1)
	return []demand{
		{"10.4", "a message of the largest size is taken", []rule{
			keeps("text of the largest size", frame(fText, "4"+most), msg(most)),
			keeps("fragments of the largest size together", cat(frame(fTextBegin, "4"), frame(fMore, most), frame(fLast, "")), msg(most)),
			keeps("control frames do not count", cat(frame(fTextBegin, "4"), frame(fPing, "p"), frame(fLast, most)), "pong p", msg(most)),
		}, nil},
		{"10.4", "a longer one is refused by its header, before its payload comes", []rule{
			ends("header of a byte more", header(fText, 127, maxMessage+1), tooLong),
			ends("header of the largest length there is", header(fBinary, 127, 1<<63-1), tooLong),
			ends("header of a fragment that makes the message a byte longer", cat(frame(fTextBegin, "4"+most), header(fLast, 1, 0)), tooLong),
			ends("fragments of a byte each", cat(frame(fBinaryBegin, "x"), slices.Repeat(frame(fMore, "x"), maxMessage)), tooLong),
		}, []string{"TestReaderGrowsByWhatArrives"}},
	}
}
