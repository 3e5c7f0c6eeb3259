package client

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/tokens"
)

// lateConn is a connection whose second write, the CONNECT, takes its time.
type lateConn struct {
	net.Conn
	writes atomic.Int32
	late   time.Duration
}

func (c *lateConn) Write(p []byte) (int, error) {
	if c.writes.Add(1) == 2 {
		time.Sleep(c.late)
	}
	return c.Conn.Write(p)
}

// Where a machine or a network is so slow that the server has waited for CONNECT
// long enough, the socket tries again: nothing is wrong with it.
func TestLateConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := holdfasttest.New(t, holdfasttest.Config{})
		var dials atomic.Int32
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := srv.Dial(ctx)
			if err == nil && dials.Add(1) <= 2 {
				conn = &lateConn{Conn: conn, late: 11 * time.Second}
			}
			return conn, err
		}}
		defer transport.CloseIdleConnections()
		c, err := New(Config{
			BaseURL: srv.URL, HTTPClient: &http.Client{Transport: transport},
			Source: tokens.Static(srv.SignIn("ann").Access),
			Socket: SocketConfig{WriteTimeout: time.Minute}, // it must be the server that gives up
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Socket().Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		if n := dials.Load(); n != 3 {
			t.Errorf("in after %d attempts", n)
		}
	})
}
