// Command holdfast runs a Holdfast server, makes and checks tokens, and
// listens and publishes from a shell. "holdfast --help" says how.
//
// The program is flags, files and wiring; what it does is in the packages
// server, auth and client.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(start())
}

// start runs the program on what the operating system gives it. The first
// SIGINT or SIGTERM asks it to finish, a second one ends it at once.
func start() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}
