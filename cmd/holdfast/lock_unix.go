//go:build unix

package main

import (
	"os"
	"syscall"
)

// tryLock locks a file for this program, until the file is closed. It fails if
// another program has it.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
