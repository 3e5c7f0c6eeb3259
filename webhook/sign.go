package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// Headers of a delivery, as Standard Webhooks has them.
const (
	// HeaderID names the message; it stays the same however often it is sent.
	HeaderID = "Webhook-Id"
	// HeaderTimestamp is when this attempt was signed, in epoch seconds.
	HeaderTimestamp = "Webhook-Timestamp"
	// HeaderSignature holds signatures, apart by spaces: one for each secret.
	HeaderSignature = "Webhook-Signature"
)

// SecretPrefix begins each secret; base64 of 24 to 64 random bytes follows.
const SecretPrefix = "whsec_"

// Sizes of what a secret encodes, in bytes.
const (
	minKey = 24
	maxKey = 64
)

// DefaultTolerance is how far the time of a delivery may be from the clock of
// whoever verifies it.
const DefaultTolerance = 5 * time.Minute

// maxSignatures bounds the signatures that Verify looks at.
const maxSignatures = 16

// maxReceived bounds the body that Receive reads. Event data has 64 KiB where
// the server's limit is not raised; JSON around it, and bytes as base64, take
// more.
const maxReceived = 4 << 20

// key decodes a secret. The error quotes nothing of it.
func key(secret auth.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(string(secret), SecretPrefix)
	if !ok {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: a secret must begin with %s (try: echo %s$(openssl rand -base64 32))", SecretPrefix, SecretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: what follows %s in a secret must be base64", SecretPrefix)
	}
	if len(raw) < minKey || len(raw) > maxKey {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: a secret must encode %d to %d bytes (try: echo %s$(openssl rand -base64 32))", minKey, maxKey, SecretPrefix)
	}
	return raw, nil
}

// signature signs one attempt: "v1,<base64>".
func signature(key []byte, id, seconds string, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + seconds + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// sign sets the headers of one attempt.
func sign(h http.Header, keys [][]byte, id string, now time.Time, body []byte) {
	seconds := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(keys))
	for i, k := range keys {
		signatures[i] = signature(k, id, seconds, body)
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, seconds)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
}

// Verify reports whether a delivery comes from who has the secret, and was
// signed just now: not more than tolerance ago or ahead (0: DefaultTolerance).
// body must be the bytes as they came. The error is UNAUTHENTICATED, or
// INVALID_ARGUMENT for a secret that is none.
//
// A delivery that somebody recorded verifies again within the tolerance, and
// one whose answer was lost comes again: whoever acts on it remembers its id.
func Verify(secret auth.Secret, h http.Header, body []byte, tolerance time.Duration) error {
	k, err := key(secret)
	if err != nil {
		return err
	}
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	id, seconds := h.Get(HeaderID), h.Get(HeaderTimestamp)
	if id == "" || seconds == "" {
		return holdfast.Errorf(holdfast.Unauthenticated, "webhook: the headers %s and %s are missing", HeaderID, HeaderTimestamp)
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return holdfast.Errorf(holdfast.Unauthenticated, "webhook: %s is no number", HeaderTimestamp)
	}
	if age := time.Since(time.Unix(at, 0)); age > tolerance || age < -tolerance {
		return holdfast.Errorf(holdfast.Unauthenticated, "webhook: signed too long ago, or ahead of this clock")
	}
	want := []byte(signature(k, id, seconds, body))
	for i, got := range strings.Fields(h.Get(HeaderSignature)) {
		if i == maxSignatures {
			break
		}
		if hmac.Equal([]byte(got), want) {
			return nil
		}
	}
	return holdfast.Errorf(holdfast.Unauthenticated, "webhook: no signature fits")
}

// Message is what is delivered, and what is asked.
type Message struct {
	// ID names the message: "msg_" and random text. A message that comes again
	// has the same.
	ID string `json:"id"`
	// Type says what Data is.
	Type Type `json:"type"`
	// Timestamp is when it happened, exact to the millisecond.
	Timestamp time.Time `json:"timestamp"`
	// Data is a Connection, a Membership, a Publication or a Proposal.
	Data json.RawMessage `json:"data"`
}

// Receive reads, verifies and decodes the delivery that r is; at most 4 MiB
// are read. The errors are those of Verify, and MESSAGE_TOO_LARGE or
// INVALID_ARGUMENT for a body that is none.
func Receive(secret auth.Secret, r *http.Request) (Message, error) {
	var m Message
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReceived+1))
	if err != nil {
		return m, &holdfast.Error{Code: holdfast.InvalidArgument, Message: "webhook: the body can't be read", Err: err}
	}
	if len(body) > maxReceived {
		return m, holdfast.Errorf(holdfast.MessageTooLarge, "webhook: the body has over %d bytes", maxReceived)
	}
	if err := Verify(secret, r.Header, body, 0); err != nil {
		return m, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, &holdfast.Error{Code: holdfast.InvalidArgument, Message: "webhook: the body is no message", Err: err}
	}
	return m, nil
}
