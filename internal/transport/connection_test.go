package transport

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

// wanted is what a session that echoes answers to bytes.
type wanted struct {
	messages []string // their echoes
	pongs    []string
	close    string // the Close frame; "" if the bytes end before there is one
	byPeer   bool   // it answers the peer's: what was still queued may be left out
}

// wants has the model say what is to come back.
func wants(data []byte, limit int, deflate bool) (w wanted) {
	for _, event := range (&model{limit: limit, deflate: deflate}).read(data) {
		kind, digits, _ := strings.Cut(event, " ")
		body, _ := hex.DecodeString(digits)
		switch kind {
		case "1":
			w.messages = append(w.messages, "text "+string(body))
		case "2":
			w.messages = append(w.messages, "binary "+digits)
		case "9":
			w.pongs = append(w.pongs, "pong "+string(body))
		case "8":
			w.close, w.byPeer = modelClose(body)
			return w
		case "error":
			w.close = fmt.Sprintf("close %s %s", digits, map[bool]string{true: "MESSAGE_TOO_LARGE", false: "PROTOCOL_ERROR"}[digits == "1009"])
		}
	}
	return w
}

// modelClose says how a Close frame is answered (RFC 6455 §5.5.1, §7.4).
func modelClose(body []byte) (answer string, byPeer bool) {
	if len(body) == 0 {
		return "close", true
	}
	if len(body) == 1 {
		return protocolError, false
	}
	code := binary.BigEndian.Uint16(body)
	switch allowed := code == 1000 || code == 1001 || code == 1002 || code == 1003 ||
		code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999; {
	case !allowed:
		return protocolError, false
	case !utf8.Valid(body[2:]):
		return badText, false
	}
	return fmt.Sprint("close ", code), true
}

// begins reports whether got is the beginning of want, or all of it if it must be.
func begins(got, want []string, all bool) bool {
	return len(got) <= len(want) && slices.Equal(got, want[:len(got)]) && (!all || len(got) == len(want))
}

// FuzzConnection: a whole connection does with any bytes what the model says, on
// the wire and in what the application gets.
func FuzzConnection(f *testing.F) {
	addFrames(f)
	const limit = 1000
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, deflate := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { compareConnection(t, data, limit, deflate) })
		}
	})
}

func compareConnection(t *testing.T, data []byte, limit int, deflate bool) {
	n := memoryNetwork()
	rg := newPlainRig(t, n, PlainConfig{MaxPayload: limit, Binary: true, Compression: deflate, CompressFrom: 2 * limit},
		echoing, func(s *session) { s.got = nil })
	if deflate {
		rg.offer = "permessage-deflate"
	}
	c, s := rg.connectPlain()
	var messages, pongs []string
	last, pongSize := "", 0
	read := make(chan struct{})
	go func() {
		defer close(read)
		for last != "eof" && !strings.HasPrefix(last, "error") {
			switch got := c.next(); {
			case strings.HasPrefix(got, "pong "):
				pongs, last = append(pongs, got), got
			case strings.HasPrefix(got, "text "), strings.HasPrefix(got, "binary "):
				messages, last = append(messages, got), got
			case strings.HasPrefix(got, "close"):
				last = got
				if got = c.next(); got != "eof" {
					last = "not the end: " + got
				}
				return
			default:
				last = got
			}
		}
	}()
	dice := diceOf(data)
	for rest := data; len(rest) > 0; {
		size := min(len(rest), 1+dice.IntN(100))
		if _, err := c.conn.Write(rest[:size]); err != nil {
			break
		}
		rest = rest[size:]
	}
	synctest.Wait() // all that there is to answer is answered
	halfClose(c.conn)
	<-read
	c.conn.Close()
	<-s.closed
	want := wants(data, limit, deflate)
	for _, p := range want.pongs {
		pongSize += len(p) - len("pong ") + 2
	}
	end := want.close
	if end == "" {
		end = "eof"
	}
	if last != end {
		t.Fatalf("ends with %q, not %q", last, end)
	}
	if !begins(messages, want.messages, !want.byPeer) {
		t.Fatalf("echoed %q, not %q", messages, want.messages)
	}
	if pongSize <= pongBytes && !begins(pongs, want.pongs, !want.byPeer) {
		t.Fatalf("answered %q, not %q", pongs, want.pongs)
	}
}
