package server_test

import (
	"errors"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// A mistake in the configuration is an error that names the field.
func TestConfigMistakes(t *testing.T) {
	for name, cfg := range map[string]server.Config{
		"no authenticator":     {},
		"path without slash":   {Authenticator: anyone, Path: "/socket.io"},
		"path at the root":     {Authenticator: anyone, Path: "/"},
		"plain at the root":    {Authenticator: anyone, PlainPath: "/"},
		"plain without slash":  {Authenticator: anyone, PlainPath: "ws"},
		"events at another's":  {Authenticator: anyone, EventsPath: "/ws"},
		"poll at another's":    {Authenticator: anyone, PollPath: "/events"},
		"events without slash": {Authenticator: anyone, EventsPath: "events"},
		"poll at the root":     {Authenticator: anyone, PollPath: "/"},
		"prefix without slash": {Authenticator: anyone, Prefix: "api"},
		"origin with a path":   {Authenticator: anyone, AllowedOrigins: []string{"https://a.example/x"}},
		"proxy that is none":   {Authenticator: anyone, TrustedProxies: []string{"here"}},
	} {
		_, err := server.New(cfg)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "no authenticator" && !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
