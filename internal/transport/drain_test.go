package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// tlsNetwork is tcpNetwork with TLS, which no shard writes to.
func tlsNetwork(t testing.TB) network {
	t.Helper()
	n := tcpNetwork(t)
	plain := httptest.NewTLSServer(nil) // for its certificate
	config := &tls.Config{Certificates: plain.TLS.Certificates}
	trust := plain.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	plain.Close()
	dial := n.dial
	n.listener = tls.NewListener(n.listener, config)
	n.dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, &tls.Config{RootCAs: trust, ServerName: "example.com"}), nil
	}
	return n
}

// TestCloseDeliversWhatIsQueued has two senders for each connection when the
// engine is closed. What was taken arrives, each sender's frames in their
// order, and then the close.
func TestCloseDeliversWhatIsQueued(t *testing.T) {
	for _, tt := range []struct {
		name, offer string
		network     func(testing.TB) network
	}{
		{"tcp", "", tcpNetwork}, {"compressed", "permessage-deflate", tcpNetwork}, {"tls", "", tlsNetwork},
	} {
		t.Run(tt.name, func(t *testing.T) {
			offer := tt.offer
			rg := newRig(t, tt.network(t), EngineConfig{QueueBytes: 64 << 20, Compression: offer != "", CompressFrom: 1 << 10})
			rg.offer = offer
			const conns, frames = 16, 400
			var senders, readers sync.WaitGroup
			taken := make([][2]int, conns)
			halfway := make(chan struct{}, 2*conns)
			for i := range conns {
				client, s := rg.connect()
				for who := range 2 {
					send := s.conn.Send
					if who == 1 {
						send = s.conn.SendNow
					}
					senders.Go(func() {
						for n := range frames {
							if n == frames/2 {
								halfway <- struct{}{}
							}
							text := fmt.Sprintf("%d %d", who, n)
							if n%50 == 49 {
								text += strings.Repeat(" ", 100_000)
							}
							if !send(s.frame(text)) {
								return
							}
							taken[i][who] = n + 1
						}
					})
				}
				readers.Go(func() {
					var got [2]int
					for {
						f := strings.TrimSpace(strings.TrimPrefix(client.next(), "packed "))
						var who, n int
						if _, err := fmt.Sscanf(f, "text 4%d %d", &who, &n); err != nil {
							if f != "close 1001 GOING_AWAY" {
								t.Errorf("got %.40q", f)
							}
							client.write(closeFrame(1001, ""))
							break
						}
						if n != got[who] {
							t.Errorf("sender %d: frame %d, want %d", who, n, got[who])
						}
						got[who] = n + 1
					}
					client.want("eof")
					senders.Wait()
					if got != taken[i] {
						t.Errorf("connection %d: %v arrived, %v were taken", i, got, taken[i])
					}
				})
			}
			for range conns {
				<-halfway
			}
			if err := rg.engine.Close(context.Background()); err != nil {
				t.Error(err)
			}
			readers.Wait()
		})
	}
}
