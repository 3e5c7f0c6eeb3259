package load

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestDefaults are the numbers that the scenarios are known by.
func TestDefaults(t *testing.T) {
	for scenario, want := range map[Scenario]Settings{
		Connect: {Connections: 10_000, Settle: 5 * time.Second},
		Fanout:  {Connections: 1000, Rooms: 1, Members: 1000, Publishers: 64, Size: 128, Window: 16, Warmup: 2 * time.Second, Duration: 10 * time.Second},
		Paced:   {Connections: 1000, Rooms: 1, Members: 1000, Publishers: 64, Size: 128, Rate: 50, Warmup: 2 * time.Second, Duration: 10 * time.Second},
		Rooms:   {Connections: 5000, Rooms: 1000, Members: 5, Publishers: 5, Size: 128, Window: 64, Warmup: 2 * time.Second, Duration: 10 * time.Second},
		Echo:    {Connections: 200, Size: 128, Window: 200, Warmup: 2 * time.Second, Duration: 10 * time.Second},
		Soak:    {Connections: 1000, Rooms: 100, Members: 10, Publishers: 2, Size: 128, Rate: 100, Cuts: 2, Warmup: 2 * time.Second, Duration: 10 * time.Minute},
	} {
		want.Concurrency, want.Timeout, want.ReadEvery = 64, 10*time.Second, 200*time.Microsecond
		var got Settings
		if got.Fill(scenario); got != want {
			t.Errorf("%s: %+v, want %+v", scenario, got, want)
		}
		if err := got.check(scenario); err != nil {
			t.Errorf("%s: %v", scenario, err)
		}
		again := got
		if again.Fill(scenario); again != got {
			t.Errorf("%s: filled twice it is %+v", scenario, again)
		}
	}
}

func TestBadSettings(t *testing.T) {
	for want, c := range map[string]struct {
		scenario Scenario
		s        Settings
	}{
		"connections: there must be":  {Connect, Settings{Connections: -1}},
		"1000000":                     {Connect, Settings{Connections: 1_000_001}},
		"at least one room":           {Rooms, Settings{Rooms: -2, Members: -2}},
		"6 publishers: they are":      {Rooms, Settings{Publishers: 6}},
		"too much memory":             {Fanout, Settings{Members: 100_000, Publishers: 10_000}},
		"size 63":                     {Echo, Settings{Size: 63}},
		"window 65536":                {Rooms, Settings{Window: 65536}},
		"can have 64 in flight each":  {Echo, Settings{Connections: 2, Window: 129}},
		"rates can be neither":        {Paced, Settings{Rate: -1}},
		"above 1,000,000":             {Soak, Settings{Cuts: 1e6}},
		"members that don't publish":  {Soak, Settings{Members: 2}},
		"sources 0 to 250":            {Echo, Settings{Sources: 300}},
		"can't be negative":           {Echo, Settings{Timeout: -1}},
		"read-every at most 1s":       {Echo, Settings{ReadEvery: time.Minute}},
		"concurrency must be at":      {Echo, Settings{Concurrency: -1}},
		"messages 0 or more":          {Echo, Settings{Messages: -1}},
		"run \"ulimit -n 1000064\" b": {Connect, Settings{Connections: 1_000_000}},
	} {
		cfg := Config{Scenario: c.scenario, Settings: c.s}
		err := cfg.prepare()
		if _, ok := errors.AsType[*SettingError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %+v: %v, want %q", c.scenario, c.s, err, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"http://127.0.0.1:8080":        {Addr: netip.MustParseAddrPort("127.0.0.1:8080"), Host: "127.0.0.1:8080", Path: "/socket.io/"},
		"ws://127.9.9.9/":              {Addr: netip.MustParseAddrPort("127.9.9.9:80"), Host: "127.9.9.9", Path: "/socket.io/"},
		"http://[::1]:3000/rt/":        {Addr: netip.MustParseAddrPort("[::1]:3000"), Host: "[::1]:3000", Path: "/rt/"},
		"http://[::ffff:127.0.0.1]:80": {Addr: netip.MustParseAddrPort("127.0.0.1:80"), Host: "[::ffff:127.0.0.1]:80", Path: "/socket.io/"},
	} {
		got, err := ParseTarget(t.Context(), text, false)
		want.URL = text
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"http://192.0.2.1:8080": "not this machine", "http://[2001:db8::1]": "not this machine", "http://0.0.0.0:80": "not this machine",
		"http://169.254.169.254": "--i-own-this-host", "https://127.0.0.1": "TLS", "wss://127.0.0.1": "TLS", "ftp://127.0.0.1": "http://",
		"127.0.0.1:80": "no address", "": "no address", "http://127.0.0.1:0": "no port", "http://127.0.0.1:99999": "no port",
	} {
		if got, err := ParseTarget(t.Context(), text, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", text, got, err, want)
		}
	}
	if got, err := ParseTarget(t.Context(), "http://192.0.2.1:8080", true); err != nil || got.Addr.Addr().IsLoopback() {
		t.Errorf("one's own host: %+v, %v", got, err)
	}
}

func TestSources(t *testing.T) {
	cfg := Config{Scenario: Connect, Settings: Settings{Connections: 1200}, Target: Target{Addr: netip.MustParseAddrPort("127.0.0.1:80")}}
	if err := cfg.prepare(); err != nil || cfg.Sources != 3 {
		t.Fatalf("%d sources, %v", cfg.Sources, err)
	}
	seen := make(map[netip.Addr]int)
	for i := range 1200 {
		seen[cfg.source(i)]++
	}
	if len(seen) != 3 || seen[netip.MustParseAddr("127.0.77.1")] != 400 || seen[netip.MustParseAddr("127.0.77.3")] != 400 {
		t.Errorf("%v", seen)
	}
	for _, addr := range []string{"[::1]:80", "192.0.2.1:80"} {
		if cfg.Target.Addr = netip.MustParseAddrPort(addr); cfg.source(5).IsValid() {
			t.Errorf("%s is dialled from %v", addr, cfg.source(5))
		}
	}
}
