package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// Without TLS handshakes are answered by a front, which ends the connection of
// one that is refused; with TLS there is none.
func TestPublic(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if _, ok := new(serveCmd).public(http.NotFoundHandler(), new(tls.Certificate), log).(encrypted); !ok {
		t.Error("with a certificate there is no TLS")
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public := new(serveCmd).public(http.NotFoundHandler(), nil, log)
	served := make(chan error, 1)
	go func() { served <- public.Serve(l) }()
	for header, ends := range map[string]bool{
		"": false,
		"Upgrade: websocket\r\nConnection: Upgrade\r\n": true,
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n"+header+"\r\n")
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != http.StatusNotFound || r.Close != ends {
			t.Errorf("%q: %v, %v", header, r, err)
		}
		conn.Close()
	}
	if err := public.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}
