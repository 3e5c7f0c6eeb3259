package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

// The exit codes; appHelp and README.md list them.
const (
	exitOK              = 0
	exitFailed          = 1
	exitUsage           = 2
	exitUnauthenticated = 3
	exitForbidden       = 4
	exitUnreachable     = 5
	exitInterrupted     = 130
)

// usageError is a mistake in flags, arguments, variables or the config file.
type usageError struct {
	err  error
	help string // the command whose output would have helped; "" for none
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef makes a usageError without a pointer to the help: the text says all.
func usagef(format string, args ...any) error { return usageError{err: fmt.Errorf(format, args...)} }

// errInterrupted says that the program was asked to stop before it was done.
var errInterrupted = errors.New("interrupted")

// fail prints an error, if there is one, and returns the exit code.
func (e *environment) fail(err error) int {
	if err == nil {
		return exitOK
	}
	list, ok := errors.AsType[problems](err)
	if !ok {
		list = problems{err}
	}
	for _, one := range list {
		fmt.Fprintf(e.stderr, "holdfast: error: %v\n", one)
	}
	if usage, ok := errors.AsType[usageError](err); ok && usage.help != "" {
		fmt.Fprintf(e.stderr, "Run %q for help.\n", usage.help)
	}
	return exitCode(err)
}

// problems is all that is wrong with a configuration.
type problems []error

func (p problems) Error() string   { return errors.Join(p...).Error() }
func (p problems) Unwrap() []error { return p }

// add adds what is wrong, if something is.
func (p *problems) add(err error) {
	if more, ok := errors.AsType[problems](err); ok {
		for _, err := range more {
			p.add(err)
		}
	} else if err != nil {
		*p = append(*p, err)
	}
}

// err returns p as an error, nil if there is none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// exitCode sorts errors into the exit codes.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return exitUnreachable
	}
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok {
		return exitCodeOf(refusal.Code)
	}
	if code, ok := errors.AsType[holdfast.Code](err); ok {
		return exitCodeOf(code)
	}
	if unreachable(err) {
		return exitUnreachable
	}
	return exitFailed
}

func exitCodeOf(code holdfast.Code) int {
	switch {
	case code.Info().HTTP == http.StatusUnauthorized:
		return exitUnauthenticated
	case code.Info().HTTP == http.StatusForbidden:
		return exitForbidden
	}
	switch code {
	case holdfast.InvalidCredentials:
		return exitUnauthenticated
	case holdfast.InvalidArgument, holdfast.MessageTooLarge:
		return exitUsage
	case holdfast.GoingAway, holdfast.ConnectionLimit, holdfast.RateLimited:
		return exitUnreachable
	}
	return exitFailed
}

// unreachable reports whether the server could not be talked to.
func unreachable(err error) bool {
	if trouble, ok := errors.AsType[net.Error](err); ok {
		// A bare errno, which is a net.Error by its methods, is of a file: those of
		// the network come in a *net.OpError.
		_, file := trouble.(syscall.Errno)
		return !file
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return true
	}
	return errors.Is(err, client.ErrConnectionLost) || errors.Is(err, client.ErrNotConnected) ||
		errors.Is(err, client.ErrPingTimeout) || errors.Is(err, client.ErrDisconnected) ||
		errors.Is(err, context.DeadlineExceeded)
}

// reason makes an error of the operating system shorter: what was wrong,
// without the call and the path, which the caller names better.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
