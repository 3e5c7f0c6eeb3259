package transport

import (
	"syscall"
	"unsafe"
)

// Package syscall announces each call to the scheduler, which then looks every
// 20 µs whether it lasts, and gives its processor to another thread if it does.
// What does not wait need not be announced: these take a few microseconds,
// and where the machine is busy they were what the scheduler took for waiting.

// readNow is read(2) of a descriptor that does not block.
func readNow(fd uintptr, p []byte) (int, syscall.Errno) {
	return now(syscall.SYS_READ, fd, p)
}

// writeNow is write(2) to a descriptor that does not block.
func writeNow(fd uintptr, p []byte) (int, syscall.Errno) {
	return now(syscall.SYS_WRITE, fd, p)
}

func now(call, fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
