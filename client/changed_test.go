package client

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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
	var got list[int]
	runSocket(t, Config{}, func(p *peer) {
		p.ws.SetReadLimit(2 * whole)
		p.admit()
		got.add(len(p.next()))
		p.idle()
	}, func(*Socket) {}, func(t *testing.T, s *Socket) {
		if err := s.Emit(t.Context(), "a", text+"x"); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		err := s.Emit(t.Context(), "a", text)
		synctest.Wait()
		if want := []int{whole}; err != nil || !slices.Equal(got.all(), want) {
			t.Errorf("%v, %v", err, &got)
		}
	})
}
