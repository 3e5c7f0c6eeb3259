package webhook

import (
	"net/http"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for failed, want := range map[int][2]time.Duration{
		1: {time.Second, 2 * time.Second},
		2: {12 * time.Second, 24 * time.Second},
		3: {150 * time.Second, 5 * time.Minute},
		4: {30 * time.Minute, time.Hour},
	} {
		seen := make(map[time.Duration]bool)
		for range 1000 {
			wait := backoff(failed, 0)
			if wait < want[0] || wait > want[1] {
				t.Fatalf("after %d: %v, want %v", failed, wait, want)
			}
			seen[wait] = true
		}
		if len(seen) < 900 {
			t.Errorf("after %d: only %d different waits", failed, len(seen))
		}
	}
	if wait := backoff(1, 40*time.Second); wait != 40*time.Second {
		t.Errorf("what the target asks for: %v", wait)
	}
	if wait := backoff(4, time.Second); wait < 30*time.Minute {
		t.Errorf("the target shortens it: %v", wait)
	}
	if wait := backoff(1, 1000*time.Hour); wait != time.Hour {
		t.Errorf("the target asks for too much: %v", wait)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"120":                           2 * time.Minute,
		"-1":                            0,
		"1.5":                           0,
		"99999999999999999999":          0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:03:05 GMT": 0,
		"soon":                          0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
