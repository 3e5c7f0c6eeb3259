package transport

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

// sidBytes is how many random bytes a session id has.
const sidBytes = 16

// newSID returns a session id: 128 random bits as base64url and, behind a dot,
// the node that has the session.
func newSID(node string) string {
	var random [sidBytes]byte
	rand.Read(random[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(random[:])
	if node == "" {
		return id
	}
	return id + "." + node
}

// Node returns the name of the node that has the session sid, as
// EngineConfig.Node appears in it; "" if it names none.
func Node(sid string) string {
	_, node, _ := strings.Cut(sid, ".")
	return node
}
