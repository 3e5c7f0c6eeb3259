package transport

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestCloseDeliversWhatIsQueued has two senders for each connection when the
// engine is closed. What was taken arrives, each sender's frames in their
// order, and then the close.
func TestCloseDeliversWhatIsQueued(t *testing.T) {
	for _, offer := range []string{"", "permessage-deflate"} {
		t.Run("offer "+offer, func(t *testing.T) {
			rg := newRig(t, tcpNetwork(t), EngineConfig{QueueBytes: 64 << 20, Compression: offer != "", CompressFrom: 1 << 10})
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
