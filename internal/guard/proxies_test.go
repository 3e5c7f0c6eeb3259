package guard_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/guard"
)

func TestClientIP(t *testing.T) {
	proxies, err := guard.ParseProxies("10.0.0.0/8", "2001:db8::1", "::ffff:172.16.0.0/108", "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, remote string
		forwarded    []string
		want         string // "" for the zero Addr
	}{
		{"direct", "203.0.113.5:1", nil, "203.0.113.5"},
		{"a stranger's header", "203.0.113.5:1", []string{"198.51.100.1"}, "203.0.113.5"},
		{"one proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"empty header", "10.0.0.1:1", []string{""}, "10.0.0.1"},
		{"two proxies", "10.0.0.1:1", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"two headers", "10.0.0.1:1", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"forged on the left", "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"forged in front of a proxy", "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"forged in an own header", "10.0.0.1:1", []string{"1.1.1.1", "198.51.100.1"}, "198.51.100.1"},
		{"forged as a proxy", "10.0.0.1:1", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"all proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no address", "10.0.0.1:1", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		{"no address before a proxy", "10.0.0.1:1", []string{"evil, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "[2001:db8::1]:1", []string{"2001:db8:2::5"}, "2001:db8:2::5"},
		{"IPv6 in brackets", "[2001:db8::1]:1", []string{"[2001:db8:2::5]:9"}, "2001:db8:2::5"},
		{"IPv6, no proxy", "[2001:db8::2]:1", []string{"198.51.100.1"}, "2001:db8::2"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"network given as IPv4 in IPv6", "172.16.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"single address", "192.0.2.7:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"its neighbour", "192.0.2.8:1", []string{"198.51.100.1"}, "192.0.2.8"},
		{"zone", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"no port", "203.0.113.5", nil, "203.0.113.5"},
		{"no address at all", "@", []string{"198.51.100.1"}, ""},
		{"pipe", "pipe", nil, ""},
		{"endless chain", "10.0.0.1:1", []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 1000)}, "10.0.0.2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = test.remote
			r.Header["X-Forwarded-For"] = test.forwarded
			got := proxies.ClientIP(r)
			if test.want == "" && got.IsValid() || test.want != "" && got.String() != test.want {
				t.Errorf("%v, want %q", got, test.want)
			}
			// Without trusted proxies nothing but the peer counts.
			if got := (guard.Proxies{}).ClientIP(r); got.IsValid() && !strings.Contains(strings.ReplaceAll(test.remote, "::ffff:", ""), got.String()) {
				t.Errorf("without proxies: %v", got)
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	proxies, err := guard.ParseProxies("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		remote string
		proto  []string
		want   bool
	}{
		{"10.0.0.1:1", nil, false},
		{"10.0.0.1:1", []string{"https"}, true},
		{"10.0.0.1:1", []string{" HTTPS "}, true},
		{"10.0.0.1:1", []string{"http"}, false},
		{"10.0.0.1:1", []string{"httpsx"}, false},
		{"10.0.0.1:1", []string{""}, false},
		{"10.0.0.1:1", []string{"https", "http"}, false},
		{"203.0.113.1:1", []string{"https"}, false},
		{"pipe", []string{"https"}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.remote
		r.Header["X-Forwarded-Proto"] = test.proto
		if got := proxies.HTTPS(r); got != test.want {
			t.Errorf("%s %q: %v", test.remote, test.proto, got)
		}
		if (guard.Proxies{}).HTTPS(r) {
			t.Errorf("%s %q: believed without proxies", test.remote, test.proto)
		}
	}
}

func TestParseProxies(t *testing.T) {
	for _, bad := range []string{"", "10.0.0.0/33", "example.org", "10.0.0", "10.0.0.0/8,11.0.0.0/8", "*", "10.0.0.1:80"} {
		if _, err := guard.ParseProxies(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	p, err := guard.ParseProxies("10.1.2.3/8", "fd00::/8", "::1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"10.255.0.1": true, "11.0.0.1": false, "fd12::1": true, "fe00::1": false, "::1": true, "::2": false} {
		if got := p.Trusts(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if p.Trusts(netip.Addr{}) {
		t.Error("no address is trusted")
	}
}

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2::":       "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
	} {
		if got := guard.Network(netip.MustParseAddr(text)).String(); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	if guard.Network(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}
