package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/holdfast-dev/holdfast/auth"
)

// Limits of webhooks.
const (
	webhookTimeout = 10 * time.Second // of one try
	webhookTries   = 3
)

// WebhookMailer is a Mailer that posts each mail as JSON to a URL, where an
// application makes a real one of it:
//
//	{"kind":"reset-password","to":"ann@example.com","name":"Ann","code":"…","expiresAt":1767225600000}
//
// The header X-Holdfast-Signature is "t=<epoch seconds>,v1=<hex>", where v1 is
// the HMAC-SHA-256, under Secret, of the seconds, a dot and the body. An
// answer other than 2xx, or none in ten seconds, is tried again twice.
type WebhookMailer struct {
	// URL is absolute, https or http. Redirects are not followed.
	URL string
	// Secret signs the requests; at least 32 bytes.
	Secret auth.Secret
	// Client; nil: http.DefaultTransport without redirects.
	Client *http.Client
}

// NewWebhookMailer checks the configuration.
func NewWebhookMailer(w WebhookMailer) (*WebhookMailer, error) {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("identity: the webhook's URL must be an absolute https or http URL")
	}
	if len(w.Secret) < 32 {
		return nil, errors.New("identity: the webhook's secret has less than 32 bytes (try: openssl rand -base64 32)")
	}
	if w.Client == nil {
		w.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &w, nil
}

// webhookBody is what is posted.
type webhookBody struct {
	Kind      MailKind `json:"kind"`
	To        string   `json:"to"`
	Name      string   `json:"name,omitempty"`
	Code      string   `json:"code,omitempty"`
	ExpiresAt int64    `json:"expiresAt,omitempty"` // epoch milliseconds
}

// Send posts the mail.
func (w *WebhookMailer) Send(ctx context.Context, m Mail) error {
	body, err := json.Marshal(webhookBody{m.Kind, m.To, m.Name, m.Code, millis(m.Expires)})
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, w.post(ctx, body) },
		backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxTries(webhookTries))
	return err
}

func (w *WebhookMailer) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(fmt.Errorf("identity: %w", err))
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Holdfast-Signature", w.signature(time.Now(), body))
	response, err := w.Client.Do(r)
	if err != nil {
		return fmt.Errorf("identity: webhook: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	_ = response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("identity: webhook: answered %d", response.StatusCode)
	}
	return nil
}

func (w *WebhookMailer) signature(now time.Time, body []byte) string {
	seconds := strconv.FormatInt(now.Unix(), 10)
	h := hmac.New(sha256.New, w.Secret)
	h.Write([]byte(seconds + "."))
	h.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(h.Sum(nil))
}
