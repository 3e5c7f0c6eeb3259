package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Client is the client of one service. All its methods may be called from any
// goroutine.
type Client struct {
	// static after New
	cfg   Config
	base  *url.URL
	fence fence
	http  *http.Client    // with the token
	raw   *http.Client    // without, for handshakes
	own   *http.Transport // nil if the caller gave a client
	log   *slog.Logger
	// csrfTurn is held by the call that reads or fetches the CSRF token.
	csrfTurn chan struct{}

	mu      sync.Mutex // guards what follows
	sockets map[string]*Socket
	closed  bool
	csrf    string // the token, "" for none
}

// New makes a Client. It fails if BaseURL or an entry of TrustedOrigins is no
// http or https URL, if CSRF has no Path, or if there is no such transport as
// one of SocketConfig.Transports. Nothing is dialled and no goroutine started.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("client: BaseURL: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, errors.New("client: BaseURL must begin with http:// or https:// and a host")
	}
	if base.User != nil {
		return nil, errors.New("client: BaseURL must not hold credentials: URLs end up in logs")
	}
	base.RawQuery, base.Fragment = "", ""
	if base.Path == "" {
		base.Path = "/" // what JoinPath makes of none begins with no slash
	}
	c := &Client{cfg: cfg, base: base, log: cfg.Logger, sockets: make(map[string]*Socket), csrfTurn: make(chan struct{}, 1)}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.fence, err = newFence(base, cfg.TrustedOrigins); err != nil {
		return nil, err
	}
	c.cfg.Timeout = or(cfg.Timeout, DefaultTimeout)
	c.cfg.MaxResponse = or(cfg.MaxResponse, DefaultMaxResponse)
	if cfg.CSRF != nil && cfg.CSRF.Path == "" {
		return nil, errors.New("client: CSRF.Path must be set, to the call that gives the token, such as /api/auth/csrf")
	}
	c.cfg.CSRF = cfg.CSRF.withDefaults()
	if cfg.Retries == 0 {
		c.cfg.Retries = DefaultRetries
	}
	c.cfg.Socket = cfg.Socket.withDefaults()
	if !strings.HasPrefix(c.cfg.Socket.Path, "/") {
		c.cfg.Socket.Path = "/" + c.cfg.Socket.Path
	}

	for _, t := range c.cfg.Socket.Transports {
		if t != WebSocket && t != Polling {
			return nil, fmt.Errorf("client: SocketConfig.Transports: %q is neither %q nor %q", t, WebSocket, Polling)
		}
	}

	raw := http.Client{}
	if cfg.HTTPClient != nil {
		raw = *cfg.HTTPClient
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		c.own = t.Clone()
		raw.Transport = c.own
	}
	with := raw
	with.Transport = c.transport(raw.Transport)
	c.http = &with
	raw.CheckRedirect = c.fence.stay(raw.CheckRedirect)
	raw.Timeout = 0 // SocketConfig.ConnectTimeout counts
	c.raw = &raw
	return c, nil
}

// Socket returns the client's socket in the namespace "/": each time the same.
// It is not connected yet: see Socket.Connect.
func (c *Client) Socket() *Socket { return c.Namespace("/") }

// Namespace returns the client's socket in another namespace, such as
// "/admin": each time the same one for a name. It has a connection of its own.
func (c *Client) Namespace(name string) *Socket {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sockets[name]
	if s == nil {
		s = newSocket(c, name)
		if c.closed {
			s.Close()
		}
		c.sockets[name] = s
	}
	return s
}

// Close closes the client's sockets for good, as Socket.Close, and its idle
// HTTP connections if it has a transport of its own. Calls under way go on.
// It always returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	sockets := make([]*Socket, 0, len(c.sockets))
	for _, s := range c.sockets {
		sockets = append(sockets, s)
	}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range sockets {
		wg.Go(func() { s.Close() })
	}
	wg.Wait()
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	return nil
}
