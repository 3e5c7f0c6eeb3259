//go:build !linux

package main

import "errors"

// serve needs epoll.
func serve() error { return errors.New("this server needs Linux: it waits by epoll") }
