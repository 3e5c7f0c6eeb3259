package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"syscall"

	"github.com/holdfast-dev/holdfast"
)

// guard says which addresses may be connected to. It is asked about each
// address that is dialled, after names were resolved: a name that resolves
// elsewhere the next time gains nothing.
type guard struct {
	// loopback is for a URL that names this machine: it must be this machine.
	loopback bool
	allowed  []netip.Prefix
}

// special are the addresses that are not of the public internet, from the IANA
// registries of special-purpose addresses (RFC 6890) and of multicast. IPv6 is
// public below 2000::/3 only, which is looked at first.
func special() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/3",                                          // multicast, reserved, broadcast
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // protocols (Teredo), examples, 6to4, examples
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// public reports whether an address is of the public internet. An IPv6
// address that stands for an IPv4 one counts as that where it is of the one
// form in common use, NAT64 (RFC 6052); no other form is let through.
func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if netip.MustParsePrefix("64:ff9b::/96").Contains(ip) {
			b := ip.As16()
			return public(netip.AddrFrom4([4]byte(b[12:])))
		}
		if !netip.MustParsePrefix("2000::/3").Contains(ip) {
			return false
		}
	}
	return ip.IsValid() && !slices.ContainsFunc(special(), func(p netip.Prefix) bool { return p.Contains(ip) })
}

// check returns why an address may not be connected to.
func (g guard) check(ip netip.Addr) error {
	plain := ip.Unmap().WithZone("")
	switch {
	case g.loopback && plain.IsLoopback():
		return nil
	case g.loopback:
		return fmt.Errorf("webhook: the URL names this machine, and resolves to %s", plain)
	case slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(plain) }), public(ip):
		return nil
	}
	return fmt.Errorf("webhook: %s is not a public address, and not in AllowedNetworks", plain)
}

// control is net.Dialer's ControlContext: it sees the address itself.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("webhook: not an address: %w", err)
	}
	return g.check(addr.Addr())
}

// parseURL checks a target's URL: https, or http to this machine. The error
// quotes nothing of it, since it may hold a secret.
func parseURL(text string, allowed []netip.Prefix) (*url.URL, guard, error) {
	bad := func(why string) (*url.URL, guard, error) {
		return nil, guard{}, holdfast.Errorf(holdfast.InvalidArgument, "webhook: %s", why)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return bad("a target's URL must be absolute, and https or http")
	}
	if u.User != nil || u.Fragment != "" {
		return bad("a target's URL can't hold a user, a password or a fragment")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	literal := err == nil
	g := guard{loopback: u.Hostname() == "localhost" || literal && ip.Unmap().IsLoopback(), allowed: allowed}
	if u.Scheme == "http" && !g.loopback {
		return bad("a target's URL must be https, or http to this machine (http://127.0.0.1:…)")
	}
	if literal {
		if err := g.check(ip); err != nil {
			return bad("a target's URL has an address that is not public, and not in AllowedNetworks")
		}
	}
	return u, g, nil
}

// dialer dials under the guard. resolver is nil but in tests.
func (g guard) dialer(resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{ControlContext: g.control, Resolver: resolver}
}
