package identity

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs a test on the fake clock.
func inBubble(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, do)
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string // in the error
	}{
		"nothing":             {Config{}, "Dir is not set"},
		"no key":              {Config{Database: "postgres://x"}, "Dir is not set"},
		"short key":           {Config{Dir: "x", Key: []byte("short")}, "less than 32"},
		"policy":              {Config{Dir: "x", SignUp: "maybe"}, "unknown sign-up policy"},
		"verify without mail": {Config{Dir: "x", VerifyEmail: true}, "needs a Mailer"},
		"short tokens":        {Config{Dir: "x", AccessTokenLifetime: 1}, "shorter than a second"},
		"long tokens":         {Config{Dir: "x", AccessTokenLifetime: 25 * time.Hour}, "AccessTokenLifetime is over"},
		"long grace":          {Config{Dir: "x", RefreshGrace: time.Hour}, "RefreshGrace is over"},
		"public URL":          {Config{Dir: "x", PublicURL: "example.com"}, "PublicURL must be"},
		"relying party":       {Config{Dir: "x", RelyingParty: "example.com"}, "RelyingPartyOrigins"},
	} {
		if _, err := c.cfg.withDefaults(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := Config{Dir: "x"}.withDefaults()
	noError(t, err)
	if c.AccessTokenLifetime != 15*time.Minute || c.RefreshIdle != 14*24*time.Hour || c.RefreshTotal != 30*24*time.Hour || c.RefreshGrace != 30*time.Second ||
		c.SignUp != SignUpClosed || c.Issuer != "holdfast" || c.DefaultRooms.String() != `["**"]` || c.RelyingParty != "" ||
		c.Argon2.Memory != 19456 || c.Argon2.Time != 2 || c.Argon2.Threads != 1 || c.Argon2.Parallel < 1 || c.Logger == nil {
		t.Errorf("defaults: %+v", c)
	}
	c, err = Config{Dir: "x", PublicURL: "https://example.com:8443/app"}.withDefaults()
	noError(t, err)
	if c.Issuer != "https://example.com:8443/app" || c.RelyingParty != "example.com" || c.RelyingPartyName != "example.com" ||
		len(c.RelyingPartyOrigins) != 1 || c.RelyingPartyOrigins[0] != "https://example.com:8443" {
		t.Errorf("public: %+v", c)
	}
}

// What can't be opened says why, and never with the password of a database.
func TestOpenFails(t *testing.T) {
	for name, url := range map[string]string{
		"scheme": "mysql://root:hunter2@localhost/x", "malformed": "postgres://root:hunter2@localhost:x/y", "nobody there": "postgres://root:hunter2@127.0.0.1:1/x?connect_timeout=1",
		"option": "postgres://root:hunter2@127.0.0.1:1/x?sslmode=sometimes",
	} {
		p, err := Open(t.Context(), Config{Dir: t.TempDir(), Database: url})
		if err == nil {
			t.Errorf("%s: opened", name)
			_ = p.Close()
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.Context(), Config{Dir: "/dev/null/x"}); err == nil {
		t.Error("opened a directory that can't be")
	}
}

func TestReady(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		noError(t, h.Ready(t.Context()))
		p := h.Provider
		h.close()
		if p.Ready(t.Context()) == nil {
			t.Error("ready when closed")
		}
	})
}
