package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// What is wrong with one user's connection is nothing to stop for once another
// has signed in.
func TestRefusedAsAnotherSignsIn(t *testing.T) {
	var ends func()
	bubble(t, func(p *peer) {
		p.hello()
		if p.n == 1 {
			ends()
			p.send(`44{"message":"No.","data":{"code":"FORBIDDEN"}}`)
			return
		}
		p.send(`40{"sid":"x"}`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		m := manager(t, "ann", nil)
		defer m.Close()
		ends = func() { signIn(t, m, "bob", 1) }
		s := f.client(Config{Source: m}).Socket()
		defer s.Close()
		mustConnect(t, s)
		if s.State() != Connected || f.connections() != 2 {
			t.Error(s.State(), f.connections())
		}
	})
}

// A message of exactly what the server takes is sent, and none of a byte more.
func TestLargestMessage(t *testing.T) {
	const whole = 1_000_000 // hello's maxPayload
	text := strings.Repeat("x", whole-len(`42["a",""]`))
	got := make(chan int, 1)
	runSocket(t, Config{}, func(p *peer) {
		p.ws.SetReadLimit(2 * whole)
		p.admit()
		got <- len(p.next())
		p.idle()
	}, func(*Socket) {}, func(t *testing.T, s *Socket) {
		if err := s.Emit(t.Context(), "a", text+"x"); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		if err := s.Emit(t.Context(), "a", text); err != nil || <-got != whole {
			t.Error(err)
		}
	})
}
