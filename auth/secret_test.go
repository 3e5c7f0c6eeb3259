package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// Everything that holds a secret, however it is printed.
func TestSecretsAreNotShown(t *testing.T) {
	const canary = "canary-0123456789-0123456789-0123456789"
	secret := Secret(canary)
	j := newJWT(t, JWTConfig{Secret: secret})
	credential := Credential{Token: canary, Payload: json.RawMessage(`{"token":"` + canary + `"}`), Header: http.Header{"Authorization": {canary}}}
	hidden := map[string]any{
		"Secret":             secret,
		"*Secret":            &secret,
		"Secret in a struct": struct{ S Secret }{secret},
		"Secret in a map":    map[string]Secret{"s": secret},
		"Secrets":            []Secret{secret},
		"JWTConfig":          JWTConfig{Secret: secret},
		"*JWTConfig":         &JWTConfig{Secret: secret},
		"APIKeysConfig":      APIKeysConfig{Static: secret},
		"SigningKey":         SigningKey{ID: "k", Secret: secret},
		"*SigningKey":        &SigningKey{ID: "k", Secret: secret},
		"SigningKey inside":  struct{ K SigningKey }{SigningKey{Secret: secret}},
		"Ed25519 SigningKey": SigningKey{Private: edKey()},
		"Credential":         credential,
		"*Credential":        &credential,
		"Credential inside":  []Credential{credential},
		"JWT":                j,
		"JWT in a struct":    struct{ J *JWT }{j},
	}
	encodings := []string{
		canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))[1:40],
		fmt.Sprintf("%#v", []byte(canary))[7:40], fmt.Sprint([]byte(edKey()))[1:40], b64(canary)[:30],
	}
	check := func(how, what, text string) {
		t.Helper()
		for _, encoding := range encodings {
			if strings.Contains(text, encoding) {
				t.Errorf("%s of %s shows %s", how, what, text)
			}
		}
	}
	for what, v := range hidden {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%U", "%08b"} {
			check(verb, what, fmt.Sprintf(verb, v))
		}
		if text, err := json.Marshal(v); err == nil {
			check("JSON", what, string(text))
		}
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var out bytes.Buffer
			slog.New(handler(&out)).Info("x", "v", v, "group", slog.GroupValue(slog.Any("v", v)))
			check("slog", what, out.String())
		}
		check("error", what, fmt.Errorf("x: %v", v).Error())
	}
	if got := fmt.Sprint(secret); got != "[redacted]" {
		t.Errorf("a secret shows as %q", got)
	}
	if got := fmt.Sprint(Secret(nil)); got != "" {
		t.Errorf("no secret shows as %q", got)
	}
	if string(secret) != canary {
		t.Error("the secret itself is lost")
	}
}

func TestSecretAsText(t *testing.T) {
	var cfg struct{ Secret Secret }
	if err := json.Unmarshal([]byte(`{"Secret":"abc"}`), &cfg); err != nil || string(cfg.Secret) != "abc" {
		t.Errorf("%q, %v", string(cfg.Secret), err)
	}
	if text, err := json.Marshal(cfg); err != nil || string(text) != `{"Secret":"[redacted]"}` {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := json.Marshal(struct{ Secret Secret }{}); err != nil || string(text) != `{"Secret":""}` {
		t.Errorf("%s, %v", text, err)
	}
	if errors.Is(cfg.Secret.UnmarshalText([]byte("x")), errors.ErrUnsupported) || string(cfg.Secret) != "x" {
		t.Errorf("%q", string(cfg.Secret))
	}
}

func TestSecretFromEnv(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want string
		bad  bool
	}{
		{nil, "", false},
		{map[string]string{"HOLDFAST_JWT_SECRET": "h"}, "h", false},
		{map[string]string{"JWT_SECRET": "j"}, "j", false},
		{map[string]string{"TEST_JWT_SECRET": "t"}, "t", false},
		{map[string]string{"JWT_SECRET": "same", "TEST_JWT_SECRET": "same"}, "same", false},
		{map[string]string{"JWT_SECRET": "canary-j", "TEST_JWT_SECRET": "canary-t"}, "", true},
		{map[string]string{"HOLDFAST_JWT_SECRET": "h", "JWT_SECRET": "j", "TEST_JWT_SECRET": "t"}, "h", false},
		{map[string]string{"HOLDFAST_JWT_SECRET": "", "JWT_SECRET": "", "TEST_JWT_SECRET": "t"}, "t", false},
		{map[string]string{"JWT_SECRET": "j", "TEST_JWT_SECRET": ""}, "j", false},
	} {
		got, err := SecretFromEnv(func(name string) string { return test.env[name] })
		if string(got) != test.want || (err != nil) != test.bad {
			t.Errorf("%v: %q, %v", test.env, string(got), err)
		}
		if err != nil && (strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "TEST_JWT_SECRET")) {
			t.Errorf("the error is %q", err)
		}
	}
}
