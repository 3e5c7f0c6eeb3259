package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// TestPollOnce: a poll whose answer is lost is not repeated by the transport,
// since its packets are gone.
func TestPollOnce(t *testing.T) {
	var polls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("sid") == "" {
			_, _ = io.WriteString(w, `0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
			return
		}
		polls.Add(1)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The connection of the handshake is used again, so that the transport may
	// take its end for one that came before the request.
	w, err := openPolling(t.Context(), srv.Client(), u, http.Header{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer w.cut()
	if _, _, err = w.read(); err != nil {
		t.Fatal(err) // the handshake itself
	}
	if _, _, err = w.read(); err == nil || polls.Load() != 1 {
		t.Errorf("%d polls, %v; want one, and its error", polls.Load(), err)
	}
}
