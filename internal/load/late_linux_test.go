package load

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// whenOverdue calls release once a message is overdue, and not before. Progress
// comes once a second, and two timeouts go by until the run waits no longer.
func whenOverdue(cfg *Config, release func()) {
	cfg.Timeout, cfg.Duration = 2*time.Second, 100*time.Second
	cfg.Progress = func(p Progress) {
		if p.Overdue > 0 {
			release()
		}
	}
}

// TestLateIsNotLost has a server that sends messages, or acks, only when they
// are overdue: all of them came, none twice, and meanwhile there were no more in
// flight than the window has.
func TestLateIsNotLost(t *testing.T) {
	message := func(c *faultyConn, p string) bool { return strings.HasPrefix(p, `42["bench"`) }
	for name, c := range map[string]struct {
		scenario Scenario
		server   *faulty
		want     Faults
		most     int // messages held on one connection
	}{
		"from the third on": {scenario: Rooms, most: 4, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return message(c, p) && c.number == 1 && c.got == 3 },
		}},
		"the last ones": {scenario: Rooms, most: 2, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return message(c, p) && c.number == 2 && c.got >= 18 },
		}},
		"acks": {scenario: Rooms, most: 4, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return strings.HasPrefix(p, "43") && c.got == 5 },
		}},
		"an ack, doubled": {scenario: Rooms, most: 4, want: Faults{Duplicated: 2}, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return strings.HasPrefix(p, "43") && c.got == 3 },
			ack: func(data, p string) []string {
				if strings.Contains(data, thirdMessage) {
					return []string{p, p}
				}
				return []string{p}
			},
		}},
		"late, and doubled": {scenario: Rooms, most: 8, want: Faults{Duplicated: 2}, server: &faulty{
			hold:    func(c *faultyConn, p string) bool { return message(c, p) && c.number == 1 && c.got == 3 },
			deliver: at(3, func(p string) []string { return []string{p, p} }),
		}},
		"late, and lost": {scenario: Rooms, most: 4, want: Faults{Lost: 2}, server: &faulty{
			hold:    func(c *faultyConn, p string) bool { return message(c, p) && c.number == 1 && c.got == 3 },
			deliver: at(4, func(string) []string { return nil }),
		}},
		"echoes": {scenario: Echo, most: 2, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return strings.Contains(p, `00000003"`) },
		}},
		"an echo, doubled": {scenario: Echo, most: 3, want: Faults{Duplicated: 4}, server: &faulty{
			hold: func(c *faultyConn, p string) bool { return strings.Contains(p, `00000003"`) },
			echo: func(_ int, p string) []string {
				if strings.Contains(p, `00000003"`) {
					return []string{p, p}
				}
				return []string{p}
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time goes by waiting
			cfg := small(c.scenario, c.server.start(t))
			if c.scenario == Echo {
				cfg.Window = 8
			}
			whenOverdue(&cfg, c.server.release)
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := r.Faults
			got.First = nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) || r.Overdue == 0 {
				t.Errorf("%+v and %d overdue, want %+v and some: %q", got, r.Overdue, c.want, r.Faults.First)
			}
			if c.server.mostHeld > c.most {
				t.Errorf("%d messages were on their way on one connection, want %d at most", c.server.mostHeld, c.most)
			}
		})
	}
}
