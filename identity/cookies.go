package identity

import (
	"crypto/tls"
	"net/http"
	"strings"
	"time"
)

// cookieNames are those of one request's scheme. On https they begin with
// what keeps a browser from taking them from anybody but this host (RFC
// 6265bis §4.1.3), and no other names are read.
type cookieNames struct{ session, refresh, csrfID, csrfToken string }

// cookies reads and writes the cookies of one request.
type cookies struct {
	names    cookieNames
	header   http.Header // of the request
	secure   bool
	sameSite http.SameSite
	path     string // of the refresh cookie
}

// cookies returns those of a request; nil where cookies are off.
func (h *Handler) cookies(header http.Header, remoteAddr string, encrypted bool) *cookies {
	if h.origins.CookiesOff() {
		return nil
	}
	c := &cookies{
		names:    cookieNames{session: "session", refresh: "refresh", csrfID: "csrf-id", csrfToken: "csrf-token"},
		header:   header,
		secure:   h.cfg.SameSite == http.SameSiteNoneMode,
		sameSite: h.cfg.SameSite,
		path:     h.cfg.Prefix + "/auth/",
	}
	if h.https(header, remoteAddr, encrypted) {
		c.secure = true
		c.names.session, c.names.refresh, c.names.csrfID = "__Host-session", "__Secure-refresh", "__Host-csrf-id"
	}
	return c
}

// requestCookies returns those of r; nil where cookies are off.
func (h *Handler) requestCookies(r *http.Request) *cookies {
	return h.cookies(r.Header, r.RemoteAddr, r.TLS != nil)
}

// https reports whether browsers reach this server by https: as the public
// URL says, or where there is none, the request.
func (h *Handler) https(header http.Header, remoteAddr string, encrypted bool) bool {
	if h.cfg.PublicURL != "" {
		return strings.HasPrefix(strings.ToLower(h.cfg.PublicURL), "https:")
	}
	r := &http.Request{Header: header, RemoteAddr: remoteAddr}
	if encrypted {
		r.TLS = &tls.ConnectionState{}
	}
	return h.proxies.HTTPS(r)
}

// get returns a cookie, and whether there is one. Of several with one name
// none can be told to be ours: the value is "" then, which is no good one.
func (c *cookies) get(name string) (value string, ok bool) {
	if c == nil {
		return "", false
	}
	found := (&http.Request{Header: c.header}).CookiesNamed(name)
	switch {
	case len(found) == 0 || len(found) == 1 && found[0].Value == "":
		return "", false
	case len(found) > 1:
		return "", true
	}
	return found[0].Value, true
}

func (c *cookies) session() (secret string, ok bool) {
	if c == nil {
		return "", false
	}
	return c.get(c.names.session)
}

func (c *cookies) refresh() (token string, ok bool) {
	if c == nil {
		return "", false
	}
	return c.get(c.names.refresh)
}

// anonymousID returns the id that CSRF tokens are bound to while there is no
// session; "" for none.
func (c *cookies) anonymousID() string {
	if c == nil {
		return ""
	}
	id, _ := c.get(c.names.csrfID)
	if len(id) != secretLen || strings.Trim(id, secretAlphabet) != "" {
		return ""
	}
	return id
}

const secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// any reports whether the request carries a cookie that says who it is from.
func (c *cookies) any() bool {
	if c == nil {
		return false
	}
	for _, name := range []string{c.names.session, c.names.refresh, c.names.csrfID} {
		if _, ok := c.get(name); ok {
			return true
		}
	}
	return false
}

// set sets a cookie for as long as a browser is open, or until ends.
func (c *cookies) set(w http.ResponseWriter, name, value string, ends time.Time) {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: "/",
		HttpOnly: name != c.names.csrfToken, Secure: c.secure, SameSite: c.sameSite,
	}
	if name == c.names.refresh {
		cookie.Path = c.path
	}
	if !ends.IsZero() {
		cookie.MaxAge = max(1, int(time.Until(ends)/time.Second))
	}
	http.SetCookie(w, cookie)
}

// drop makes the browser forget what signs it in.
func (c *cookies) drop(w http.ResponseWriter) {
	for _, name := range []string{c.names.session, c.names.refresh} {
		cookie := &http.Cookie{Name: name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: c.secure, SameSite: c.sameSite}
		if name == c.names.refresh {
			cookie.Path = c.path
		}
		http.SetCookie(w, cookie)
	}
}
