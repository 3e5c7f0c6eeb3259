package load

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many descriptors at once, and for a moment in time.
type poller struct {
	fd, timer int
	events    [512]unix.EpollEvent
}

// timerIndex is the index of the poller's own timer among descriptors.
const timerIndex = -1

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &poller{fd: fd, timer: timer}
	// Edge-triggered, so that nobody has to read it.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: timerIndex}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, timer, &event); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	unix.Close(p.timer)
	unix.Close(p.fd)
}

// wakeIn ends a wait after d at the latest; epoll itself counts milliseconds.
func (p *poller) wakeIn(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, d.Nanoseconds()))}
	_ = unix.TimerfdSettime(p.timer, 0, &spec, nil) // its arguments are right
}

// nap waits without looking at anything. Unlike time.Sleep it wakes no other
// thread.
func nap(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&left, nil) // woken early is fine
}

// watch adds a descriptor. Events of it are reported with index and generation.
func (p *poller) watch(fd int, index, generation int32, writable bool) error {
	event := unix.EpollEvent{Events: interest(writable), Fd: index, Pad: generation}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &event)
}

// change says whether it matters that a descriptor can be written to.
func (p *poller) change(fd int, index, generation int32, writable bool) error {
	event := unix.EpollEvent{Events: interest(writable), Fd: index, Pad: generation}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &event)
}

func interest(writable bool) uint32 {
	if writable {
		return unix.EPOLLIN | unix.EPOLLOUT
	}
	return unix.EPOLLIN
}

// wait waits for events and returns how many there are.
func (p *poller) wait(timeout time.Duration) (int, error) {
	ms := int((timeout + time.Millisecond - 1) / time.Millisecond)
	n, err := unix.EpollWait(p.fd, p.events[:], max(0, ms))
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// event tells what the event i of the last wait was about. A broken connection
// is readable.
func (p *poller) event(i int) (index, generation int32, readable, writable bool) {
	e := &p.events[i]
	return e.Fd, e.Pad, e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0, e.Events&unix.EPOLLOUT != 0
}

// dial begins to connect. The descriptor becomes writable when it is done.
func dial(target netip.AddrPort, source netip.Addr) (fd int, err error) {
	domain := unix.AF_INET
	if target.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil && source.IsValid() {
		// The port is chosen at connect: one is then free again for each target.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0)))
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(target))
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
}

// dialled is the outcome of a dial whose descriptor has become writable.
func dialled(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// errAgain says that a descriptor is not ready.
var errAgain = errors.New("not ready")

func readFD(fd int, buf []byte) (int, error)   { return now(unix.Read, fd, buf) }
func writeFD(fd int, data []byte) (int, error) { return now(unix.Write, fd, data) }

// now does a system call again that was interrupted. That it can't be done now
// is errAgain.
func now(call func(int, []byte) (int, error), fd int, data []byte) (int, error) {
	for {
		n, err := call(fd, data)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, errAgain
		}
		return 0, err
	}
}

func closeFD(fd int) { unix.Close(fd) }

// openFileLimit is how many files this process may have open.
func openFileLimit() (int, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<30)), err
}
