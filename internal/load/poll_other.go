//go:build !linux

package load

import (
	"net/netip"
	"time"
)

// poller can't be had here: newPoller says so, and nothing else is called.
type poller struct{}

const timerIndex = -1

func newPoller() (*poller, error) { return nil, ErrUnsupported }

func (*poller) close()                                                {}
func (*poller) wakeIn(time.Duration)                                  {}
func (*poller) watch(int, int32, int32, bool) error                   { return ErrUnsupported }
func (*poller) change(int, int32, int32, bool) error                  { return ErrUnsupported }
func (*poller) wait(time.Duration) (int, error)                       { return 0, ErrUnsupported }
func (*poller) event(int) (index, generation int32, readable, w bool) { return 0, 0, false, false }

var errAgain = ErrUnsupported

func dial(netip.AddrPort, netip.Addr) (int, error) { return -1, ErrUnsupported }
func dialled(int) error                            { return ErrUnsupported }
func readFD(int, []byte) (int, error)              { return 0, ErrUnsupported }
func writeFD(int, []byte) (int, error)             { return 0, ErrUnsupported }
func nap(time.Duration)                            {}
func closeFD(int)                                  {}
func openFileLimit() (int, error)                  { return 0, ErrUnsupported }
