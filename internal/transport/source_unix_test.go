//go:build unix

package transport

import (
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
)

// socketPair returns two ends of a connection within the kernel, which are read
// as TCP is and use up no ports.
func socketPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return ends[0], ends[1]
}

// FuzzSource: what the two ways of reading a connection hand to the reader is what
// was written to it, in whatever pieces.
func FuzzSource(f *testing.F) {
	addFrames(f)
	const limit = 1000
	f.Fuzz(func(t *testing.T, data []byte) {
		want := (&model{limit: limit}).read(data)
		for _, bare := range []bool{true, false} {
			client, server := socketPair(t)
			var raw syscall.RawConn
			if bare {
				raw, _ = server.(syscall.Conn).SyscallConn()
			}
			written := make(chan struct{})
			go func() {
				defer close(written)
				dice := diceOf(data)
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+dice.IntN(60))
					if _, err := client.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				client.Close()
			}()
			got := readAll(newSource(server, raw), limit, nil)
			server.Close()
			<-written
			client.Close()
			if !slices.Equal(got, want) {
				t.Fatalf("bare %v: %v\nthe model: %v", bare, got, want)
			}
		}
	})
}
