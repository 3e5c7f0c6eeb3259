package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file for this program, until the file is closed. It fails if
// another program has it.
func tryLock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
}
