package guard

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how many entries of X-Forwarded-For are looked at.
const maxHops = 32

// Proxies are the addresses whose X-Forwarded-For and X-Forwarded-Proto
// headers are believed. The zero value believes nobody. It is immutable.
type Proxies struct{ prefixes []netip.Prefix }

// ParseProxies reads networks (10.0.0.0/8) and single addresses.
func ParseProxies(networks ...string) (Proxies, error) {
	var p Proxies
	for _, text := range networks {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return Proxies{}, fmt.Errorf("guard: trusted proxy %.60q is neither a network such as 10.0.0.0/8 nor an address", text)
			}
			prefix = netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
		}
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
	return p, nil
}

// Trusts reports whether addr is a trusted proxy's.
func (p Proxies) Trusts(addr netip.Addr) bool {
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientIP returns the address that r is from: the peer's, unless it is a
// trusted proxy; then X-Forwarded-For is read from right to left, up to the
// first address that is not one. What stands left of that, anybody could have
// written. An entry that is no address ends the search at the proxy that
// wrote it. The zero Addr: the peer has no IP address.
func (p Proxies) ClientIP(r *http.Request) netip.Addr {
	client := parseAddr(r.RemoteAddr)
	if len(p.prefixes) == 0 || !p.Trusts(client) {
		return client
	}
	entries := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for hops := 0; len(entries) > 0 && hops < maxHops && p.Trusts(client); hops++ {
		last := parseAddr(strings.TrimSpace(entries[len(entries)-1]))
		if !last.IsValid() {
			break
		}
		client, entries = last, entries[:len(entries)-1]
	}
	return client
}

// HTTPS reports whether the client used https: r came over TLS, or from a
// trusted proxy whose X-Forwarded-Proto says so. Of several entries the last
// counts, which is the proxy's own.
func (p Proxies) HTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	values := r.Header["X-Forwarded-Proto"]
	if len(values) == 0 || len(p.prefixes) == 0 || !p.Trusts(parseAddr(r.RemoteAddr)) {
		return false
	}
	proto := values[len(values)-1]
	proto = proto[strings.LastIndexByte(proto, ',')+1:]
	return strings.EqualFold(strings.TrimSpace(proto), "https")
}

// parseAddr reads an address with or without a port.
func parseAddr(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// Network returns what limits count addr as: itself for IPv4, the /64 for
// IPv6, of which one subscriber has all addresses.
func Network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil { // the zero Addr
		return netip.Prefix{}
	}
	return prefix
}
