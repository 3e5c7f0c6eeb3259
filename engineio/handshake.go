package engineio

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Bounds of a handshake that we take from a server.
const (
	maxSID      = 256
	maxUpgrades = 16
	// maxMillis is a day: a heartbeat slower than that is none.
	maxMillis = int64(24 * time.Hour / time.Millisecond)
)

// Handshake is what a server says in its Open packet.
type Handshake struct {
	// SID is the session's id, part of the query of each further request.
	SID string
	// Upgrades are the transports that the client may change to.
	Upgrades []string
	// PingInterval is how often the server sends a Ping, and PingTimeout how
	// long it waits for the Pong. Whole milliseconds are sent.
	PingInterval, PingTimeout time.Duration
	// MaxPayload is how many bytes one message or one long-polling body may
	// have; 0 where the server did not say.
	MaxPayload int
}

// Append appends the handshake as JSON, the data of an Open packet.
func (h Handshake) Append(dst []byte) []byte {
	dst = append(dst, `{"sid":`...)
	dst = jsonscan.AppendString(dst, h.SID)
	dst = append(dst, `,"upgrades":[`...)
	for i, u := range h.Upgrades {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsonscan.AppendString(dst, u)
	}
	dst = append(dst, `],"pingInterval":`...)
	dst = strconv.AppendInt(dst, h.PingInterval.Milliseconds(), 10)
	dst = append(dst, `,"pingTimeout":`...)
	dst = strconv.AppendInt(dst, h.PingTimeout.Milliseconds(), 10)
	dst = append(dst, `,"maxPayload":`...)
	dst = strconv.AppendInt(dst, int64(h.MaxPayload), 10)
	return append(dst, '}')
}

// ParseHandshake reads the data of an Open packet. The session id and
// positive heartbeat times of at most a day are required; unknown members
// are ignored.
func ParseHandshake(data []byte) (Handshake, error) {
	if err := jsonscan.Check(data, jsonscan.Limits{UniqueKeys: true}); err != nil {
		return Handshake{}, holdfast.Errorf(holdfast.ProtocolError, "handshake: %s", holdfast.AsError(err).Message)
	}
	var in struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return Handshake{}, &holdfast.Error{Code: holdfast.ProtocolError, Message: "handshake: a member is of the wrong type", Err: err}
	}
	switch {
	case in.SID == "" || len(in.SID) > maxSID:
		return Handshake{}, holdfast.Errorf(holdfast.ProtocolError, "handshake: sid is missing or too long")
	case len(in.Upgrades) > maxUpgrades:
		return Handshake{}, holdfast.Errorf(holdfast.ProtocolError, "handshake: too many upgrades")
	case in.PingInterval <= 0 || in.PingInterval > maxMillis || in.PingTimeout <= 0 || in.PingTimeout > maxMillis:
		return Handshake{}, holdfast.Errorf(holdfast.ProtocolError, "handshake: ping times out of range")
	case in.MaxPayload < 0:
		return Handshake{}, holdfast.Errorf(holdfast.ProtocolError, "handshake: maxPayload is negative")
	}
	return Handshake{
		SID:          in.SID,
		Upgrades:     in.Upgrades,
		PingInterval: time.Duration(in.PingInterval) * time.Millisecond,
		PingTimeout:  time.Duration(in.PingTimeout) * time.Millisecond,
		MaxPayload:   in.MaxPayload,
	}, nil
}
