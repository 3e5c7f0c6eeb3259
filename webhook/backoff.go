package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// MaxAttempts is how often a message is tried. The last attempt begins half an
// hour to 66 minutes after the first.
const MaxAttempts = 5

// Bounds of the time between two attempts.
const (
	minBackoff = time.Second
	maxBackoff = time.Hour
)

// backoff returns how long to wait after so many failed attempts: a random
// time between half and all of 2 s, 24 s, 5 min and 1 h, so that what failed
// together does not come again together. retryAfter, what the target asked
// for, lengthens it, up to an hour.
func backoff(failed int, retryAfter time.Duration) time.Duration {
	most := maxBackoff
	switch failed {
	case 1:
		most = 2 * minBackoff
	case 2:
		most = 24 * time.Second
	case 3:
		most = 5 * time.Minute
	}
	wait := most/2 + rand.N(most/2+1)
	return max(wait, min(retryAfter, maxBackoff))
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3); 0 for
// none, and for what makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
