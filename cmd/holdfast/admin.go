package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// defaultAdminAddr is where the admin address is if nobody says otherwise.
const defaultAdminAddr = "127.0.0.1:9090"

// adminListener listens on the admin address; nil if there is none, which is
// also so where the default one is taken.
func (s *serveFlags) adminListener(log *slog.Logger) (net.Listener, error) {
	if s.AdminAddr == "off" {
		return nil, nil
	}
	addr := s.AdminAddr
	if addr == "" {
		addr = defaultAdminAddr
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		if s.AdminAddr == "" && errors.Is(err, syscall.EADDRINUSE) {
			log.Warn("the admin address is taken by another program; going on without one (--admin-addr chooses another)", "addr", addr)
			return nil, nil
		}
		return nil, cantListen("admin-addr", addr, err)
	}
	if !isLoopback(listener) {
		log.Warn("the admin address can be reached from other machines: profiles show what is in memory", "addr", listener.Addr().String())
	}
	return listener, nil
}

// maxScrapes bounds the readers of the metrics at a time, since each looks at
// every connection.
const maxScrapes = 4

// adminHandler serves what only operators may see: health, metrics and
// profiles.
func adminHandler(public http.Handler, listener net.Listener, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", public)
	mux.Handle("GET /readyz", public)
	if metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", hiddenCommandLine)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if listener == nil || !isLoopback(listener) {
		return mux
	}
	// A page could have its own host name lead to 127.0.0.1 and read what is
	// here; but it can't send another Host than that name.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			http.Error(w, "use 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// hiddenCommandLine stands in for the profile of the command line, in which
// there may be secrets.
func hiddenCommandLine(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not shown: there may be secrets in it", http.StatusForbidden)
}

func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func isLoopback(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
