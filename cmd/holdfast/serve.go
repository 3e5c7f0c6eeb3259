package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/internal/front"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/standalone"
)

type serveCmd struct{ serveFlags }

// Limits of the HTTP server.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10 // tokens have up to 8 KiB, cookies want room too
)

// Run serves until it is asked to finish.
func (s *serveCmd) Run(e *environment) error {
	p, err := s.plan(e)
	if err != nil {
		return err
	}
	log := s.logger(e.stderr)
	if p.makeSecret {
		if p.jwt.Secret, err = devSecret(p.secret); err != nil {
			return err
		}
	}
	if e.flags.of("jwt-secret") == "--jwt-secret" {
		log.Warn("--jwt-secret can be seen by everybody on this machine; give --jwt-secret-file or HOLDFAST_JWT_SECRET instead")
	}
	certificate, err := s.certificate()
	if err != nil {
		return err
	}

	listener, err := listenTCP(s.Addr)
	if err != nil {
		return cantListen("addr", s.Addr, err)
	}
	defer listener.Close()
	admin, err := s.adminListener(log)
	if err != nil {
		return err
	}
	if admin != nil {
		defer admin.Close()
	}

	watch, err := s.watch(e, admin, log)
	if err != nil {
		return err
	}
	defer watch.close(log)
	srv, done, err := s.start(e, p, watch, log)
	if err != nil {
		return err
	}
	defer done()

	address := "http://" + listener.Addr().String()
	if certificate != nil {
		address = "https://" + listener.Addr().String()
	} else if s.loopback() != nil && len(s.TrustedProxy) == 0 {
		log.Warn("tokens travel unencrypted to this address; give --tls-cert and --tls-key, or put a proxy with TLS in front", "addr", listener.Addr().String())
	}
	fmt.Fprintf(e.stdout, "listening on %s\n", address)
	if s.Dev {
		s.hint(e, address, p)
	}
	log.Info("serving", "addr", listener.Addr().String(), "admin", addrOf(admin), "secret", p.secret, "jwks", s.JWKSURL != "", "accounts", p.accounts != nil, "better_auth", p.betterAuth != nil, "introspection", p.introspection != nil, "webhooks", len(p.webhooks.Targets))
	return s.serve(e.ctx, srv, log, listener, certificate, admin, watch.metrics)
}

// start makes the server and what it works with. Whoever has shut the server
// down calls done.
func (s *serveCmd) start(e *environment, p plan, watch watch, log *slog.Logger) (srv *standalone.Standalone, done func(), err error) {
	cfg := standalone.Config{Config: s.config(log), Identity: p.accounts, Keys: p.keys, Webhooks: p.webhooks}
	watch.into(&cfg.Config)
	others, err := s.foreign(p, log)
	if err != nil {
		return nil, nil, err
	}
	cfg.Authenticator, cfg.Exchange, done = others.authenticator, others.exchange, others.close
	if p.accounts != nil && p.betterAuth != nil {
		log.Info("accounts and sessions of Better Auth are both good; a request with cookies of both is that of the account")
	}
	if p.accounts != nil {
		if err := makeDataDir(s.Data); err != nil {
			done()
			return nil, nil, err
		}
		if s.Dev && p.accounts.Mailer == nil {
			p.accounts.Mailer = identity.LogMailer{Logger: log}
		}
		if p.accounts.SignUp == identity.SignUpOpen && s.loopback() != nil {
			log.Warn("everybody who can reach this address can make an account (--sign-up)")
		}
	}
	if srv, err = standalone.New(e.ctx, cfg); err != nil {
		done()
		if e.ctx.Err() != nil {
			err = errInterrupted
		}
		return nil, nil, err
	}
	if s.Echo {
		server.Handle(srv.Server, "echo", func(_ context.Context, _ *server.Conn, data json.RawMessage) (json.RawMessage, error) {
			return data, nil
		})
	}
	return srv, done, nil
}

// serve runs the HTTP servers until ctx ends or one of them fails, and then
// drains.
func (s *serveCmd) serve(ctx context.Context, srv *standalone.Standalone, log *slog.Logger, listener net.Listener, certificate *tls.Certificate, admin net.Listener, metrics *prometheus.Registry) error {
	defer keepMemory(readMemory(), freeMemory)()
	public := s.public(srv, certificate, log)
	failed := make(chan error, 2)
	running := 1
	go func() { failed <- public.Serve(listener) }()
	adminServer := s.httpServer(adminHandler(srv, admin, metrics), log)
	if admin != nil {
		running++
		go func() { failed <- adminServer.Serve(admin) }()
	}

	var err error
	select {
	case err = <-failed:
		running--
		err = fmt.Errorf("the server stopped: %w", err)
	case <-ctx.Done():
		log.Info("draining; once more ends it at once", "connections", srv.Connections(), "timeout", s.DrainTimeout)
	}
	s.drain(srv, public, log)
	_ = adminServer.Close() // it answers until the end; what it still does is of no use
	for range running {
		<-failed
	}
	return err
}

// web is a server of HTTP: an http.Server, or what stands before one.
type web interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// public makes the server for everybody. Without TLS there is a front before it.
func (s *serveCmd) public(srv http.Handler, certificate *tls.Certificate, log *slog.Logger) web {
	public := s.httpServer(srv, log)
	if certificate == nil {
		return front.New(front.Config{Server: public})
	}
	public.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	return encrypted{public}
}

// encrypted serves https.
type encrypted struct{ *http.Server }

// Serve accepts TLS connections, with the certificate of TLSConfig.
func (e encrypted) Serve(l net.Listener) error { return e.ServeTLS(l, "", "") }

// drain ends the connections, then the listener. What is not over after
// --drain-timeout is cut off.
func (s *serveCmd) drain(srv *standalone.Standalone, public web, log *slog.Logger) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), s.DrainTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("not everything finished in time and was cut off", "err", err)
	}
	if err := public.Shutdown(ctx); err != nil {
		_ = public.Close() // cut off, as said
	}
	log.Info("stopped", "after", time.Since(began).Round(time.Millisecond))
}

func (s *serveCmd) httpServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          stdlog.New(httpLog{log}, "", 0),
	}
}

// httpLog takes what net/http has to say: faults of clients, and panics.
type httpLog struct{ log *slog.Logger }

// Write implements io.Writer. What a panic was called with is left out, since
// it may be somebody's data.
func (h httpLog) Write(text []byte) (int, error) {
	if bytes.HasPrefix(text, []byte("http: panic serving")) {
		_, stack, _ := bytes.Cut(text, []byte("\ngoroutine "))
		h.log.Error("serving a request panicked", "stack", string(stack))
	} else {
		h.log.Debug("http", "says", string(bytes.TrimSpace(text)))
	}
	return len(text), nil
}

func (s *serveFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // one of the flag's enum
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// certificate loads the certificate; nil without --tls-cert.
func (s *serveFlags) certificate() (*tls.Certificate, error) {
	if s.TLSCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
	if err != nil {
		return nil, usagef("tls-cert %s and tls-key %s: %w", s.TLSCert, s.TLSKey, err)
	}
	return &certificate, nil
}

// cantListen says what to do about an address that can't be listened on.
func cantListen(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s is taken by another program: stop that one, or choose another port (--%s 127.0.0.1:0 takes any that is free)", flag, addr, flag)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s %s needs more rights than this user has: choose a port above 1023", flag, addr)
	}
	return fmt.Errorf("can't listen on %s %s: %w", flag, addr, err)
}

func addrOf(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return l.Addr().String()
}
