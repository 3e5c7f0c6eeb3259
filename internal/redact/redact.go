// Package redact keeps secrets out of logs. Secrets are redacted by their type
// in the first place (auth.Secret prints as [redacted]); this handler is the
// net below, for what reaches a log as a plain string: in an error's text, in
// a header, or in a field of an application.
package redact

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// secretText finds what looks like a secret of ours in the middle of a text:
// a JSON Web Token, an API key, what follows Bearer or Basic, and the values
// of query parameters and cookies that hold credentials.
var secretText = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*` +
	`|hfk_[A-Za-z0-9-]+_[A-Za-z0-9_-]+` +
	`|(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}` +
	`|(?i:\b(?:token|access_token|refresh_token|session|__Host-session|refresh|__Secure-refresh|csrf-id|password|secret)=)[^&;\s"]+`)

// secretKeys are names of fields whose value is never shown, in lower case
// and without separators.
var secretKeys = []string{
	"authorization", "cookie", "setcookie", "token", "accesstoken", "refreshtoken", "idtoken",
	"password", "secret", "clientsecret", "apikey", "totpcode", "csrftoken", "xcsrftoken",
}

// Handler is a slog.Handler that redacts before it hands records on. It is
// safe for concurrent use if the one below is.
type Handler struct{ next slog.Handler }

// New wraps next; a Handler is returned as it is.
func New(next slog.Handler) *Handler {
	if h, ok := next.(*Handler); ok {
		return h
	}
	return &Handler{next: next}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = attr(a)
	}
	return &Handler{next: h.next.WithAttrs(clean)}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name)}
}

// Text returns s without what looks like a secret.
func Text(s string) string {
	if len(s) < 8 {
		return s
	}
	return secretText.ReplaceAllStringFunc(s, func(found string) string {
		if i := strings.IndexAny(found, "= "); i >= 0 && !strings.HasPrefix(found, "eyJ") && !strings.HasPrefix(found, "hfk_") {
			return found[:i+1] + Mark
		}
		return Mark
	})
}

func attr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	if secretKey(a.Key) && a.Value.Kind() != slog.KindGroup {
		if a.Value.Kind() == slog.KindBool || a.Value.Kind() == slog.KindInt64 {
			return a // whether there is one, or how many
		}
		return slog.String(a.Key, Mark)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Text(a.Value.String()))
	case slog.KindGroup:
		group := a.Value.Group()
		clean := make([]slog.Attr, len(group))
		for i, g := range group {
			clean[i] = attr(g)
		}
		a.Value = slog.GroupValue(clean...)
	case slog.KindAny:
		a.Value = anyValue(a.Value.Any())
	}
	return a
}

// anyValue shows errors and other values by their text only where that is
// clean as it is; otherwise the redacted text takes their place.
func anyValue(v any) slog.Value {
	var text string
	switch v := v.(type) {
	case nil:
		return slog.AnyValue(nil)
	case error:
		text = v.Error()
	case fmt.Stringer:
		text = v.String()
	default:
		text = fmt.Sprintf("%+v", v)
	}
	if clean := Text(text); clean != text {
		return slog.StringValue(clean)
	}
	return slog.AnyValue(v)
}

func secretKey(key string) bool {
	plain := strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(key))
	return slices.Contains(secretKeys, plain)
}
