package redact_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/redact"
)

const (
	canary = "canary0123456789"
	jwt    = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9." + canary
)

func TestHandler(t *testing.T) {
	for name, log := range map[string]func(*slog.Logger){
		"a token in the message":      func(l *slog.Logger) { l.Info("refused " + jwt) },
		"a token in an error":         func(l *slog.Logger) { l.Info("x", "err", fmt.Errorf("parse %q: bad", jwt)) },
		"a header":                    func(l *slog.Logger) { l.Info("x", "header", http.Header{"Authorization": {"Bearer " + canary}}) },
		"a cookie":                    func(l *slog.Logger) { l.Info("x", "line", "Cookie: theme=dark; session="+canary) },
		"an address":                  func(l *slog.Logger) { l.Info("x", "url", "/socket.io/?EIO=4&token="+canary+"&t=1") },
		"an API key":                  func(l *slog.Logger) { l.Info("x", "got", "hfk_abc_"+canary) },
		"a field by its name":         func(l *slog.Logger) { l.Info("x", "access_token", canary) },
		"another spelling":            func(l *slog.Logger) { l.Info("x", "X-CSRF-Token", canary) },
		"bytes in a field":            func(l *slog.Logger) { l.Info("x", "Password", []byte(canary)) },
		"a field of a group":          func(l *slog.Logger) { l.Info("x", slog.Group("g", "secret", canary, "note", jwt)) },
		"a logger's own field":        func(l *slog.Logger) { l.With("cookie", canary).WithGroup("g").Info("x") },
		"a struct":                    func(l *slog.Logger) { l.Info("x", "v", struct{ A string }{jwt}) },
		"a value that makes its text": func(l *slog.Logger) { l.Info("x", "v", stringer{}) },
		"a Secret":                    func(l *slog.Logger) { l.Info("x", "v", auth.Secret(canary)) },
		"a value that logs itself":    func(l *slog.Logger) { l.Info("x", "v", valuer{}) },
	} {
		for _, json := range []bool{false, true} {
			var out bytes.Buffer
			var h slog.Handler = slog.NewTextHandler(&out, nil)
			if json {
				h = slog.NewJSONHandler(&out, nil)
			}
			log(slog.New(redact.New(redact.New(h))))
			if strings.Contains(out.String(), canary) || !strings.Contains(out.String(), redact.Mark) {
				t.Errorf("%s: %s", name, out.String())
			}
		}
	}
}

type stringer struct{}

func (stringer) String() string { return "token " + jwt }

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("Basic " + canary) }

// What is no secret stays as it is.
func TestHandlerKeepsTheRest(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(redact.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	l.Info("not enabled")
	l.Warn("token expired", "code", "TOKEN_EXPIRED", "tokens", 3, "secret", true, "err", errors.New("no such host"), "nothing", nil,
		slog.Group("g", "path", "/api/rooms/a/events"))
	got := out.String()
	for _, want := range []string{`msg="token expired"`, "code=TOKEN_EXPIRED", "tokens=3", "secret=true", `err="no such host"`, "nothing=<nil>", "g.path=/api/rooms/a/events"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.Contains(got, redact.Mark) || strings.Contains(got, "not enabled") {
		t.Error(got)
	}
}
