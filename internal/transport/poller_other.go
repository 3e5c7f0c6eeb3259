//go:build !linux

package transport

import (
	"errors"
	"syscall"
)

// hasPoller: connections may wait in loops.
const hasPoller = false

// poller is for Linux alone: elsewhere a goroutine reads each connection.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) add(syscall.RawConn, uint64) error { return errors.ErrUnsupported }

func (*poller) remove(syscall.RawConn) error { return errors.ErrUnsupported }

func (*poller) wait(dst []uint64) ([]uint64, error) { return dst, errors.ErrUnsupported }

func (*poller) close() {}
