package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// The example that the libraries of Standard Webhooks are tested with.
func TestSignatureVector(t *testing.T) {
	k, err := key(auth.Secret(secretA))
	if err != nil {
		t.Fatal(err)
	}
	got := signature(k, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSecrets(t *testing.T) {
	for secret, want := range map[string]string{
		secretA:                               "",
		secretB:                               "",
		"":                                    "must begin with whsec_",
		strings.Repeat("0", 64):               "must begin with whsec_",
		"whsec_":                              "24 to 64 bytes",
		"whsec_MfKQ9r8GKYqrTwjUPD8I":          "24 to 64 bytes",
		"whsec_not base64 canary":             "must be base64",
		"whsec_" + strings.Repeat("QUJD", 22): "24 to 64 bytes",
	} {
		_, err := key(auth.Secret(secret))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", secret, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
}

func TestVerify(t *testing.T) {
	body := []byte(`{"type":"joined"}`)
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	ago := func(d time.Duration) func(http.Header) {
		return func(h http.Header) {
			a, _ := key(auth.Secret(secretA))
			sign(h, [][]byte{a}, "msg_1", time.Now().Add(-d), body)
		}
	}
	for name, c := range map[string]struct {
		change func(http.Header)
		secret string
		body   string
		ok     bool
	}{
		"as it was sent":      {ok: true},
		"with the old secret": {secret: secretB, ok: true},
		"with another":        {secret: "whsec_" + strings.Repeat("QUJD", 10)},
		"with none":           {secret: "x"},
		"another body":        {body: `{"type":"left"}`},
		"no id":               {change: set(HeaderID, "")},
		"another id":          {change: set(HeaderID, "msg_2")},
		"no time":             {change: set(HeaderTimestamp, "")},
		"another time":        {change: func(h http.Header) { h.Set(HeaderTimestamp, fmt.Sprint(time.Now().Unix()+1)) }},
		"time of no kind":     {change: set(HeaderTimestamp, "now")},
		"no signature":        {change: set(HeaderSignature, "")},
		"cut short":           {change: func(h http.Header) { h.Set(HeaderSignature, h.Get(HeaderSignature)[:20]) }},
		"of another version":  {change: func(h http.Header) { h.Set(HeaderSignature, strings.ReplaceAll(h.Get(HeaderSignature), "v1,", "v2,")) }},
		"among others":        {change: func(h http.Header) { h.Set(HeaderSignature, "v1,AAAA v1a,x  "+h.Get(HeaderSignature)) }, ok: true},
		"among too many":      {change: func(h http.Header) { h.Set(HeaderSignature, strings.Repeat("v1,AAAA ", 20)+h.Get(HeaderSignature)) }},
		"five minutes old":    {change: ago(5 * time.Minute), ok: true},
		"older":               {change: ago(5*time.Minute + time.Second)},
		"ahead":               {change: ago(-5 * time.Minute), ok: true},
		"further ahead":       {change: ago(-5*time.Minute - time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := key(auth.Secret(secretA))
				b, _ := key(auth.Secret(secretB))
				h := make(http.Header)
				sign(h, [][]byte{a, b}, "msg_1", time.Now(), body)
				if c.change != nil {
					c.change(h)
				}
				secret, text := secretA, body
				if c.secret != "" {
					secret = c.secret
				}
				if c.body != "" {
					text = []byte(c.body)
				}
				err := Verify(auth.Secret(secret), h, text, 0)
				if (err == nil) != c.ok {
					t.Errorf("Verify: %v", err)
				}
				if err != nil && !errors.Is(err, holdfast.Unauthenticated) && c.secret != "x" {
					t.Errorf("Verify: %v, want UNAUTHENTICATED", err)
				}
			})
		})
	}
}

func TestReceive(t *testing.T) {
	k, _ := key(auth.Secret(secretA))
	for body, want := range map[string]holdfast.Code{
		`{"id":"msg_1","type":"left","timestamp":"2026-01-02T03:04:05.678Z","data":{"room":"a"}}`: "",
		`{"id":`:                           holdfast.InvalidArgument,
		strings.Repeat("x", maxReceived+1): holdfast.MessageTooLarge,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		sign(r.Header, [][]byte{k}, "msg_1", time.Now(), []byte(body))
		m, err := Receive(auth.Secret(secretA), r)
		if holdfast.CodeOf(err) != want {
			t.Errorf("%.40s: %v, want %q", body, err, want)
		}
		if err == nil && (m.ID != "msg_1" || m.Type != TypeLeft || !m.Timestamp.Equal(time.UnixMilli(1767323045678)) || !bytes.Equal(m.Data, []byte(`{"room":"a"}`))) {
			t.Errorf("%+v", m)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("msg_1", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(`{}`))
	k, _ := key(auth.Secret(secretA))
	f.Fuzz(func(t *testing.T, id, seconds, given string, body []byte) {
		h := http.Header{HeaderID: {id}, HeaderTimestamp: {seconds}, HeaderSignature: {given}}
		if err := Verify(auth.Secret(secretA), h, body, 1<<62); err == nil && !strings.Contains(given, signature(k, id, seconds, body)) {
			t.Errorf("verified: %q", h)
		}
	})
}
