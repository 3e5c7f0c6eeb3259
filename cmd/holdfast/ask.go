package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxAnswer bounds one line of input, in bytes.
const maxAnswer = 4096

// prompt asks for words and passwords: at the terminal where stdin is one,
// which shows no password, else a line of stdin each.
type prompt struct {
	e     *environment
	lines *bufio.Reader // nil at a terminal
	tty   *os.File
}

func (e *environment) prompt() *prompt {
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &prompt{e: e, tty: f, lines: bufio.NewReaderSize(f, maxAnswer)}
	}
	return &prompt{e: e, lines: bufio.NewReaderSize(e.stdin, maxAnswer)}
}

// word asks for something that may be seen.
func (p *prompt) word(what string) (string, error) {
	if p.tty != nil {
		fmt.Fprintf(p.e.stderr, "%s: ", what)
	}
	text, err := p.line()
	if err != nil {
		return "", usagef("%s: %w", strings.ToLower(what), err)
	}
	return strings.TrimSpace(text), nil
}

// secret asks for something that must not be seen. Spaces belong to it.
func (p *prompt) secret(what string) (string, error) {
	if p.tty == nil {
		text, err := p.line()
		if err != nil {
			return "", usagef("%s on stdin: %w", strings.ToLower(what), err)
		}
		return text, nil
	}
	fmt.Fprintf(p.e.stderr, "%s: ", what)
	text, err := p.hidden()
	fmt.Fprintln(p.e.stderr)
	if err == nil && len(text) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil && !errors.Is(err, errInterrupted) {
		err = usagef("%s: %w", strings.ToLower(what), err)
	}
	return string(text), err
}

// hidden reads a line that the terminal does not show. An interrupt leaves the
// terminal as it was.
func (p *prompt) hidden() ([]byte, error) {
	fd := int(p.tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		text []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() { // may outlive an interrupt: nothing ends a read from a terminal
		text, err := term.ReadPassword(fd)
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		return a.text, a.err
	case <-p.e.ctx.Done():
		_ = term.Restore(fd, before)
		return nil, errInterrupted
	}
}

// newPassword asks for a password to be set, at the terminal twice.
func (p *prompt) newPassword() (string, error) {
	password, err := p.secret("New password")
	if err != nil || p.tty == nil {
		return password, err
	}
	again, err := p.secret("Again")
	if err == nil && again != password {
		err = usagef("the two passwords differ")
	}
	return password, err
}

// line reads one line, without its end.
func (p *prompt) line() (string, error) {
	text, err := p.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("it is longer than %d bytes", maxAnswer)
	case err != nil && (!errors.Is(err, io.EOF) || len(text) == 0):
		if errors.Is(err, io.EOF) {
			err = errors.New("nothing was given")
		}
		return "", err
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" {
		return "", errors.New("it is empty")
	}
	return line, nil
}
