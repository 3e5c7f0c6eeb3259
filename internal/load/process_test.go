package load

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeProc makes a /proc of some files and links.
func fakeProc(t *testing.T, files, links map[string]string) procFS {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	return procFS(dir)
}

func TestUsage(t *testing.T) {
	p := fakeProc(t, map[string]string{
		// The name has a parenthesis and a space; 123 and 45 are the times, 1000 the pages.
		"7/stat":   "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 123 45 6 7 20 0 9 0 100 99999 1000 18446744073709551615 1\n",
		"7/comm":   "a) b\n",
		"7/limits": "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n",
		"8/stat":   "8 (short) S 1\n",
		"8/limits": "Max open files            unlimited            unlimited            files\n",
	}, nil)
	u, err := p.usage(7)
	if err != nil || u.user != 1230*time.Millisecond || u.system != 450*time.Millisecond || u.rss != 1000*int64(os.Getpagesize()) {
		t.Errorf("%+v, %v", u, err)
	}
	if p.name(7) != "a) b" || p.openFiles(7) != 1024 || p.openFiles(8) != 0 || p.openFiles(9) != 0 {
		t.Errorf("%q, %d, %d", p.name(7), p.openFiles(7), p.openFiles(8))
	}
	for _, pid := range []int{8, 9} {
		if _, err := p.usage(pid); err == nil || !strings.Contains(err.Error(), fmt.Sprint(pid)) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

func TestListener(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(local, state, inode string) string {
		return "   0: " + local + " 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 " + inode + " 1 0 100 0 0 10 0\n"
	}
	p := fakeProc(t, map[string]string{
		"net/tcp": head + line("0100007F:1F90", "0A", "11") + // 127.0.0.1:8080
			line("00000000:1F91", "0A", "12") + // 0.0.0.0:8081
			line("0100007F:1F92", "01", "13") + // connected
			line("0200007F:1F93", "0A", "14") + // 127.0.0.2:8083
			line("0100007F:1F94", "0A", "15") + line("00000000:1F94", "0A", "16"),
		"net/tcp6": head + line("00000000000000000000000000000000:1F95", "0A", "17") + line("00000000000000000000000001000000:1F96", "0A", "18"),
		"21/comm":  "one", "22/comm": "two", "self/comm": "not a number",
	}, map[string]string{
		"21/fd/3": "socket:[11]", "21/fd/4": "socket:[12]", "21/fd/5": "/dev/null", "21/fd/6": "socket:[15]", "21/fd/7": "socket:[18]",
		"22/fd/3": "socket:[16]", "22/fd/4": "socket:[17]",
	})
	for addr, want := range map[string]any{
		"127.0.0.1:8080": 21, "127.0.0.1:8081": 21, "127.0.0.1:8085": 22, "[::1]:8085": 22, "[::1]:8086": 21,
		"127.0.0.1:8082": "nobody listens", "127.0.0.1:8083": "nobody listens", "127.0.0.2:8083": "another user's",
		"127.0.0.1:8084": "2 processes",
	} {
		pid, err := p.listener(netip.MustParseAddrPort(addr))
		switch want := want.(type) {
		case int:
			if pid != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", addr, pid, err, want)
			}
		case string:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %d, %v; want %q", addr, pid, err, want)
			}
		}
	}
}
