package main

import (
	"context"
	"net"
	"syscall"
	"time"
)

// What net.Listen gives each connection: probes after 15 s without a packet, 15 s
// apart, nine of them.
const (
	keepAliveEvery  = 15 * time.Second
	keepAliveProbes = 9
)

// listenTCP is net.Listen for TCP with fewer system calls for each connection:
// on Linux connections have the listener's keep-alive from the beginning.
func listenTCP(addr string) (net.Listener, error) {
	cfg := net.ListenConfig{KeepAlive: -1} // nothing is to be set at Accept
	cfg.Control = func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) { failed = keepAlive(int(fd)) })
		if err != nil {
			return err
		}
		return failed
	}
	l, err := cfg.Listen(context.Background(), "tcp", addr)
	if err != nil { // also where this kind of socket does not take the options
		return net.Listen("tcp", addr)
	}
	return l, nil
}

func keepAlive(fd int) error {
	const seconds = int(keepAliveEvery / time.Second)
	for _, option := range [...]struct{ level, name, value int }{
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, seconds},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, seconds},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveProbes},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
	} {
		if err := syscall.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return err
		}
	}
	return nil
}
