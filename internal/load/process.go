package load

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// procFS reads what Linux tells about processes; it is where that is mounted.
type procFS string

const proc procFS = "/proc"

// clockTick is the unit of times in /proc/PID/stat: on Linux always 1/100 s.
const clockTick = 10 * time.Millisecond

// usage is what a process has used so far.
type usage struct {
	user, system time.Duration
	rss          int64 // bytes
}

func (u usage) cpu() time.Duration { return u.user + u.system }

// usage reads the processor time of all threads, also of those that have
// ended, and the memory of a process.
func (p procFS) usage(pid int) (u usage, err error) {
	data, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, errors.Unwrap(err))
	}
	// The name, in parentheses, may have any characters in it.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const user, system, rss = 11, 12, 21 // from the state, which is field 3, on
	if len(fields) <= rss {
		return u, fmt.Errorf("process %d: its stat file has %d fields", pid, len(fields))
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(string(fields[i]), 10, 64); return n }
	return usage{
		user: time.Duration(number(user)) * clockTick, system: time.Duration(number(system)) * clockTick,
		rss: number(rss) * int64(os.Getpagesize()),
	}, nil
}

// name is what a process calls itself; "" if that is not known.
func (p procFS) name(pid int) string {
	data, _ := os.ReadFile(p.path(pid, "comm"))
	return strings.TrimSpace(string(data))
}

// openFiles is how many files a process may open; 0 if that is not known.
func (p procFS) openFiles(pid int) int {
	data, _ := os.ReadFile(p.path(pid, "limits"))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			fields := strings.Fields(rest)
			if len(fields) > 0 {
				n, _ := strconv.Atoi(fields[0]) // "unlimited": 0
				return n
			}
		}
	}
	return 0
}

func (p procFS) path(pid int, name string) string {
	return filepath.Join(string(p), strconv.Itoa(pid), name)
}

// listener finds the process that listens on an address of this machine. It
// must be one, and this user must be allowed to look at it.
func (p procFS) listener(addr netip.AddrPort) (pid int, err error) {
	inodes := make(map[string]bool)
	for _, name := range [...]string{"net/tcp", "net/tcp6"} {
		data, err := os.ReadFile(filepath.Join(string(p), name))
		if err != nil {
			continue // no IPv6, or no Linux
		}
		for line := range strings.Lines(string(data)) {
			if inode, ok := listens(line, addr); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return 0, fmt.Errorf("nobody listens on %s", addr)
	}
	owners, err := p.owners(inodes)
	switch {
	case err != nil:
		return 0, err
	case len(owners) == 0:
		return 0, fmt.Errorf("the process that listens on %s is another user's, or in another container", addr)
	case len(owners) > 1:
		return 0, fmt.Errorf("%d processes listen on %s: %v", len(owners), addr, owners)
	}
	return owners[0], nil
}

// listens returns the inode of a line of /proc/net/tcp or tcp6, if it is that
// of a socket that listens on addr.
func listens(line string, addr netip.AddrPort) (inode string, ok bool) {
	const listening, local, state, inodeField = "0A", 1, 3, 9
	fields := strings.Fields(line)
	if len(fields) <= inodeField || fields[state] != listening {
		return "", false
	}
	host, port, found := strings.Cut(fields[local], ":")
	if n, err := strconv.ParseUint(port, 16, 16); !found || err != nil || uint16(n) != addr.Port() {
		return "", false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return "", false
	}
	for word := range slices.Chunk(raw, 4) { // each is in the machine's order: the low byte first
		slices.Reverse(word)
	}
	at, _ := netip.AddrFromSlice(raw)
	if at = at.Unmap(); !at.IsUnspecified() && at != addr.Addr().Unmap() {
		return "", false
	}
	return fields[inodeField], true
}

// owners lists the processes that have one of these sockets open.
func (p procFS) owners(sockets map[string]bool) (pids []int, err error) {
	entries, err := os.ReadDir(string(p))
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		files, err := os.ReadDir(p.path(pid, "fd"))
		if err != nil {
			continue // another user's, or gone
		}
		for _, file := range files {
			if to, err := os.Readlink(p.path(pid, "fd/"+file.Name())); err == nil && sockets[to] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids, nil
}
