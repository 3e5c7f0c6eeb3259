package load

import "bytes"

// Packet types of Engine.IO, the first byte of a message, and of Socket.IO, the
// second one where the first is eioMessage.
const (
	eioOpen    = '0'
	eioClose   = '1'
	eioPing    = '2'
	eioPong    = '3'
	eioMessage = '4'

	sioConnect      = '0'
	sioDisconnect   = '1'
	sioEvent        = '2'
	sioAck          = '3'
	sioConnectError = '4'
	sioBinaryEvent  = '5'
	sioBinaryAck    = '6'
)

// packet is a Socket.IO packet.
type packet struct {
	kind      byte
	namespace []byte // "/" if it names none
	id        int    // of an ack, or of an event that wants one; -1 for none
	data      []byte // JSON; empty for none
}

// maxAckID bounds the ids of acks: those of the generator are below.
const maxAckID = 1<<31 - 1

var rootNamespace = []byte("/")

// parsePacket reads a Socket.IO packet, the text after the eioMessage. It does
// not look into the JSON.
func parsePacket(text []byte) (p packet, ok bool) {
	if len(text) == 0 || text[0] < sioConnect || text[0] > sioBinaryAck {
		return p, false
	}
	p = packet{kind: text[0], namespace: rootNamespace, id: -1}
	text = text[1:]
	if p.kind == sioBinaryEvent || p.kind == sioBinaryAck {
		_, rest, found := bytes.Cut(text, []byte("-"))
		if !found {
			return p, false
		}
		text = rest
	}
	if len(text) > 0 && text[0] == '/' {
		end := bytes.IndexByte(text, ',')
		if end < 0 {
			p.namespace = text
			return p, true
		}
		p.namespace, text = text[:end], text[end+1:]
	}
	digits := 0
	for id := 0; digits < len(text) && text[digits] >= '0' && text[digits] <= '9'; {
		if id = id*10 + int(text[digits]-'0'); id > maxAckID {
			return p, false
		}
		p.id = id
		digits++
	}
	p.data = text[digits:]
	return p, true
}
