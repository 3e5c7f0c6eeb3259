package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// roundTripper answers requests without a network.
type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWebhookMailer(t *testing.T) {
	secret := auth.Secret(strings.Repeat("s", 32))
	m := Mail{Kind: MailReset, To: "ann@example.com", Name: "Ann", Code: "code", Expires: time.UnixMilli(1767225600000)}
	for name, c := range map[string]struct {
		answers []int // status codes; 0: none at all
		tries   int
		ok      bool
	}{
		"at once":      {[]int{204}, 1, true},
		"third time":   {[]int{500, 0, 200}, 3, true},
		"never":        {[]int{500, 500, 500, 200}, 3, false},
		"not a client": {[]int{302, 302, 302}, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				tries := 0
				client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
				client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					body, err := io.ReadAll(r.Body)
					noError(t, err)
					var got map[string]any
					noError(t, json.Unmarshal(body, &got))
					if got["kind"] != "reset-password" || got["to"] != "ann@example.com" || got["code"] != "code" || got["expiresAt"] != 1767225600000.0 {
						t.Errorf("body: %s", body)
					}
					w := &WebhookMailer{Secret: secret}
					if want := w.signature(time.Now(), body); r.Header.Get("X-Holdfast-Signature") != want || r.Header.Get("Content-Type") != "application/json" {
						t.Errorf("header: %v, want %s", r.Header, want)
					}
					status := c.answers[tries]
					tries++
					if status == 0 {
						return nil, errors.New("connection refused")
					}
					recorder := httptest.NewRecorder()
					recorder.WriteHeader(status)
					return recorder.Result(), nil
				})
				w, err := NewWebhookMailer(WebhookMailer{URL: "https://app.example/mail", Secret: secret, Client: client})
				noError(t, err)
				if err := w.Send(t.Context(), m); (err == nil) != c.ok || tries != c.tries {
					t.Errorf("%v after %d tries", err, tries)
				} else if err != nil && strings.Contains(err.Error(), m.Code) {
					t.Errorf("the error has the code: %v", err)
				}
			})
		})
	}
	for what, w := range map[string]WebhookMailer{
		"relative": {URL: "/mail", Secret: secret}, "scheme": {URL: "ftp://a/b", Secret: secret}, "short": {URL: "https://a/b", Secret: secret[1:]},
	} {
		if _, err := NewWebhookMailer(w); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	// printf '1.{}' | openssl dgst -sha256 -hmac ssssssssssssssssssssssssssssssss
	if got := (&WebhookMailer{Secret: secret}).signature(time.Unix(1, 0), []byte("{}")); got != "t=1,v1=3ace18a24c04330b8d9dd0c4070d456780c19bb4af8f5cc9855c8602d6f82227" {
		t.Error(got)
	}
}

// deaf is a Mailer that never gets through.
type deaf struct{ asked chan Mail }

func (d deaf) Send(ctx context.Context, m Mail) error {
	select {
	case d.asked <- m:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

// Mails that don't get through keep nobody waiting, and are bounded.
func TestMailQueue(t *testing.T) {
	d := deaf{make(chan Mail, 1)}
	eachDatabase(t, func(c *Config) { c.Mailer = d }, func(t *testing.T, h *harness) {
		h.user("ann@example.com")
		noError(t, h.RequestPasswordReset(t.Context(), "ann@example.com"))
		h.wait()
		start := time.Now()
		for range mailQueue {
			noError(t, h.RequestPasswordReset(t.Context(), "nobody@example.com"))
		}
		wantCode(t, "one more", h.RequestPasswordReset(t.Context(), "ann@example.com"), holdfast.RateLimited)
		if time.Since(start) != 0 {
			t.Error("somebody had to wait")
		}
		after(mailTimeout) // it is given up, and the next ones go on
		h.wait()
		noError(t, h.RequestPasswordReset(t.Context(), "nobody@example.com"))
		if log := h.logged(); !strings.Contains(log, "a mail was not sent") || strings.Contains(log, "ann@") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestNoMailer(t *testing.T) {
	eachDatabase(t, func(c *Config) { c.Mailer = nil }, func(t *testing.T, h *harness) {
		h.user("ann@example.com")
		noError(t, h.RequestPasswordReset(t.Context(), "ann@example.com"))
		h.wait()
		if log := h.logged(); !strings.Contains(log, "no Mailer") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestLogMailer(t *testing.T) {
	var log bytes.Buffer
	noError(t, LogMailer{slog.New(slog.NewTextHandler(&log, nil))}.Send(t.Context(), Mail{Kind: MailReset, To: "ann@example.com", Code: "c0de"}))
	if !strings.Contains(log.String(), "c0de") {
		t.Error(log.String())
	}
}
