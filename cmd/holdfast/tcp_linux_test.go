package main

import (
	"net"
	"syscall"
	"testing"
)

// options reads what a connection has of what keepAlive sets.
func options(t *testing.T, conn net.Conn) (got [4]int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for i, name := range []int{syscall.TCP_KEEPIDLE, syscall.TCP_KEEPINTVL, syscall.TCP_KEEPCNT} {
			got[i], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, name)
		}
		got[3], _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Connections of listenTCP are kept alive as those of net.Listen are.
func TestListenTCP(t *testing.T) {
	accepted := func(listen func() (net.Listener, error)) [4]int {
		l, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return options(t, conn)
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", ":0"} {
		want := accepted(func() (net.Listener, error) { return net.Listen("tcp", addr) })
		if got := accepted(func() (net.Listener, error) { return listenTCP(addr) }); got != want || got[3] == 0 {
			t.Errorf("%s: idle, interval, count, on: %v; want %v", addr, got, want)
		}
	}
	if _, err := listenTCP("127.0.0.1:nonsense"); err == nil {
		t.Error("listens at a port that is none")
	}
}

// The options are those of the listener: nothing sets them for each connection.
func TestKeepAliveIsInherited(t *testing.T) {
	l, err := listenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	on := 0
	if err := raw.Control(func(fd uintptr) { on, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) }); err != nil {
		t.Fatal(err)
	}
	if on != 1 {
		t.Error("the listener has no keep-alive for its connections")
	}
}
