package webhook

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/auth"
)

func TestGuard(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	for address, want := range map[string]struct{ public, allowed, loopback bool }{
		"93.184.216.34":          {true, true, false},
		"2606:2800:220:1::1":     {true, true, false},
		"64:ff9b::5db8:d822":     {true, true, false}, // NAT64 of 93.184.216.34
		"::ffff:93.184.216.34":   {true, true, false},
		"10.1.2.3":               {false, true, false},
		"::ffff:10.1.2.3":        {false, true, false},
		"fd00:1::1":              {false, true, false},
		"127.0.0.1":              {false, false, true},
		"127.255.0.1":            {false, false, true},
		"::1":                    {false, false, true},
		"::ffff:127.0.0.1":       {false, false, true},
		"10.2.0.1":               {},
		"172.16.0.1":             {},
		"172.31.255.255":         {},
		"192.168.0.1":            {},
		"169.254.169.254":        {},
		"100.64.0.1":             {},
		"100.100.100.200":        {},
		"0.0.0.0":                {},
		"0.1.2.3":                {},
		"192.0.0.1":              {},
		"192.0.2.1":              {},
		"192.88.99.1":            {},
		"198.18.0.1":             {},
		"198.51.100.1":           {},
		"203.0.113.1":            {},
		"224.0.0.1":              {},
		"240.0.0.1":              {},
		"255.255.255.255":        {},
		"::":                     {},
		"fe80::1%eth0":           {},
		"fc00::1":                {},
		"fd00:2::1":              {},
		"ff02::1":                {},
		"fec0::1":                {},
		"100::1":                 {},
		"2001::1":                {}, // Teredo
		"2001:db8::1":            {},
		"2002:7f00:1::1":         {}, // 6to4 of 127.0.0.1
		"3fff::1":                {},
		"::127.0.0.1":            {}, // the old form of an IPv4 address
		"::ffff:169.254.169.254": {},
		"::ffff:0:127.0.0.1":     {}, // SIIT
		"64:ff9b::7f00:1":        {}, // NAT64 of 127.0.0.1
		"64:ff9b::a9fe:a9fe":     {}, // … of 169.254.169.254
		"64:ff9b:1::5db8:d822":   {}, // NAT64 of the local kind
		"5f00::1":                {},
	} {
		ip := netip.MustParseAddr(address)
		hostport := netip.AddrPortFrom(ip, 443).String()
		for name, c := range map[string]struct {
			g    guard
			want bool
		}{
			"public": {guard{}, want.public}, "allowed": {guard{allowed: allowed}, want.allowed}, "loopback": {guard{loopback: true, allowed: allowed}, want.loopback},
		} {
			if err := c.g.control(t.Context(), "tcp", hostport, nil); (err == nil) != c.want {
				t.Errorf("%s, %s: %v", address, name, err)
			}
		}
	}
	if err := (guard{}).control(t.Context(), "tcp", "nonsense", nil); err == nil {
		t.Error("nonsense is let through")
	}
}

func TestParseURL(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for text, want := range map[string]string{
		"https://app.example/hook":           "",
		"https://app.example:8443/?k=v":      "",
		"http://127.0.0.1:3000/hook":         "",
		"http://[::1]:3000/":                 "",
		"http://localhost:3000":              "",
		"https://localhost":                  "",
		"https://10.1.2.3/":                  "",
		"http://app.example/canary":          "https, or http to this machine",
		"http://10.1.2.3/":                   "https, or http to this machine",
		"http://127.0.0.1.nip.example/":      "https, or http to this machine",
		"https://192.168.0.1/canary":         "not public",
		"https://[::ffff:192.168.0.1]/":      "not public",
		"https://169.254.169.254/latest":     "not public",
		"ftp://app.example/":                 "https and http",
		"//app.example/":                     "https and http",
		"/hook":                              "https and http",
		"https://":                           "https and http",
		"https://canary:canary@app.example/": "user, a password",
		"https://app.example/#canary":        "fragment",
		"https://app.example/\x00canary":     "absolute",
	} {
		_, _, err := parseURL(text, allowed)
		want = strings.Replace(want, "https and http", "https", 1)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the URL: %v", err)
		}
	}
}

// fakeDNS is a resolver whose names have other addresses each time.
func fakeDNS(t *testing.T, addresses ...string) *net.Resolver {
	var asked atomic.Int32
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			answerDNS(server, func() netip.Addr {
				n := int(asked.Add(1)) - 1
				return netip.MustParseAddr(addresses[min(n, len(addresses)-1)])
			})
		}()
		return client, nil
	}}
}

// answerDNS answers one question over a stream (RFC 1035, section 4.2.2): an A
// record, and nothing for all else.
func answerDNS(conn net.Conn, next func() netip.Addr) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	reply := append([]byte(nil), query[:end]...)
	copy(reply[2:], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if kind := binary.BigEndian.Uint16(query[end-4:]); kind == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, next().AsSlice()...)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
}

// A name that was public when somebody looked, and is not when it is dialled,
// is not connected to. Nobody listens where it would go.
func TestRebinding(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		answer string
		want   string
	}{
		"this machine":  {"https://rebind.example:1", "127.0.0.1", "127.0.0.1 is not a public address"},
		"metadata":      {"https://rebind.example:1", "169.254.169.254", "169.254.169.254 is not a public address"},
		"the other way": {"http://localhost:1", "93.184.216.34", "the URL names this machine, and resolves to 93.184.216.34"},
	} {
		t.Run(name, func(t *testing.T) {
			_, g, err := parseURL(c.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := key(auth.Secret(secretA))
			if g.loopback { // the hosts file knows localhost
				c.target = "http://local.rebind.example:1"
			}
			call := newCaller(c.target, [][]byte{k}, g, Config{resolver: fakeDNS(t, c.answer)})
			defer call.close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err = call.post(ctx, "msg_1", []byte("{}"), 100)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
