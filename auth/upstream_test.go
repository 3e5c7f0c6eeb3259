package auth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// service is the other end of a question about a credential.
type service struct {
	mu     sync.Mutex
	answer func(*http.Request) (*http.Response, error)
	asked  []*http.Request
	bodies []string // of asked
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	s.asked = append(s.asked, r)
	s.bodies = append(s.bodies, string(body))
	answer := s.answer
	s.mu.Unlock()
	return answer(r)
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *service) last() (*http.Request, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[len(s.asked)-1], s.bodies[len(s.bodies)-1]
}

// says answers with a status, a body and headers ("Name: value").
func says(status int, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			h.Add(name, value)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func fails(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// wantUnavailable wants the refusal that is 503 with Retry-After and never
// looks like one of the credential.
func wantUnavailable(t *testing.T, err error) *holdfast.Error {
	t.Helper()
	e, ok := errors.AsType[*holdfast.Error](err)
	if !ok || e.Code.Info().HTTP != http.StatusServiceUnavailable || e.RetryAfterSeconds() < 1 {
		t.Fatalf("%v, want a refusal with 503 and Retry-After", err)
	}
	for _, word := range []string{"unauthorized", "jwt", "token"} {
		if strings.Contains(strings.ToLower(e.PublicMessage()), word) {
			t.Errorf("clients would refresh on %q", e.PublicMessage())
		}
	}
	return e
}

func wantCode(t *testing.T, err error, code holdfast.Code) {
	t.Helper()
	if holdfast.CodeOf(err) != code {
		t.Fatalf("%v, want %s", err, code)
	}
}
