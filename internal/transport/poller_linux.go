package transport

import (
	"os"
	"syscall"
	"unsafe"
)

// hasPoller: connections may wait in loops.
const hasPoller = true

// poller is an epoll instance. Its descriptor is itself in the runtime's poller,
// so that who waits for it parks a goroutine and no thread. What it watches is
// told by level: a descriptor that is not read to its end, or whose peer has
// closed behind its last bytes, comes up again. So one read each time is enough.
type poller struct {
	file   *os.File
	raw    syscall.RawConn // of file
	step   func(fd uintptr) bool
	events [pollerBatch]syscall.EpollEvent
	n      int // of events, of the wait under way
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // or os.NewFile would not let it be waited for
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	p.step = p.try
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// add has conn watched until it can be read; wait returns tag then, each time.
func (p *poller) add(conn syscall.RawConn, tag uint64) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(tag), Pad: int32(tag >> 32)}
	return p.control(syscall.EPOLL_CTL_ADD, conn, &event)
}

// remove ends that. What wait has returned already stays.
func (p *poller) remove(conn syscall.RawConn) error {
	return p.control(syscall.EPOLL_CTL_DEL, conn, &syscall.EpollEvent{})
}

// control holds both descriptors, so that neither is closed meanwhile.
func (p *poller) control(op int, conn syscall.RawConn, event *syscall.EpollEvent) error {
	var failed error
	err := p.raw.Control(func(epoll uintptr) {
		err := conn.Control(func(fd uintptr) {
			failed = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(epoll), op, int(fd), event))
		})
		if err != nil {
			failed = err
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// wait waits until something can be read, and appends the tags to dst. It
// returns an error once the poller is closed.
func (p *poller) wait(dst []uint64) ([]uint64, error) {
	p.n = 0
	if err := p.raw.Read(p.step); err != nil {
		return dst, err
	}
	for i := range p.events[:p.n] {
		e := &p.events[i]
		dst = append(dst, uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32)
	}
	return dst, nil
}

// try is called by the runtime's poller: at first, and whenever there may be
// something, until it returns true.
func (p *poller) try(fd uintptr) bool {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd,
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno == 0 {
		p.n = int(n)
	}
	return p.n > 0 || errno != 0 // who waits tries again
}

// close ends wait, for good.
func (p *poller) close() { p.file.Close() }
