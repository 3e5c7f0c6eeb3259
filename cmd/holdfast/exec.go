package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// execFlags have "listen" run a command for each event.
type execFlags struct {
	Exec     string `placeholder:"COMMAND" help:"Run this for each event, one after another, instead of printing it: a program and its arguments, without a shell. The event is on its stdin."`
	ExecStop bool   `help:"End when such a command fails."`
}

// execGrace is how long a command has to end after it was asked to.
const execGrace = 5 * time.Second

// runner runs a command for each event. Its calls follow one another, so that
// events wait, in the client and then at the server, while one is running.
type runner struct {
	argv        []string
	stop        bool
	ran, failed int
}

// runner makes a runner of the flags, if there is such a program.
func (f *execFlags) runner() (*runner, error) {
	argv, err := splitWords(f.Exec)
	if err == nil {
		_, err = exec.LookPath(argv[0])
	}
	if missing, ok := errors.AsType[*exec.Error](err); ok {
		return nil, usagef("exec: %s: %w", missing.Name, missing.Err)
	}
	if err != nil {
		return nil, usagef("exec: %w", err)
	}
	return &runner{argv: argv, stop: f.ExecStop}, nil
}

// run runs the command for one event. It is killed when ctx ends.
func (r *runner) run(ctx context.Context, e *environment, ev *holdfast.Event) error {
	text, err := eventLine(ev)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, r.argv[0], r.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), e.stdout, e.stderr
	cmd.Env = append(os.Environ(), eventVariables(ev)...)
	cmd.WaitDelay = execGrace
	ownGroup(cmd)
	err = cmd.Run()
	r.ran++
	if ctx.Err() != nil {
		endGroup(cmd)
		return nil // it was ended, together with everything
	}
	if err == nil {
		return nil
	}
	r.failed++
	failed := fmt.Errorf("--exec: %s failed on event %s of room %s at %s:%d: %w", r.argv[0], ev.Name, ev.Room, ev.Position.Epoch, ev.Position.Offset, err)
	if r.stop {
		return failed
	}
	e.note("%v", failed)
	return nil
}

// eventVariables tell a command about an event. They all begin as no variable
// of a flag does, so that a "holdfast" that the command runs doesn't take them
// for its own.
func eventVariables(ev *holdfast.Event) []string {
	return []string{
		"HOLDFAST_EVENT=" + ev.Name,
		"HOLDFAST_EVENT_ROOM=" + ev.Room,
		"HOLDFAST_EVENT_EPOCH=" + ev.Position.Epoch,
		"HOLDFAST_EVENT_OFFSET=" + strconv.FormatUint(ev.Position.Offset, 10),
		"HOLDFAST_EVENT_ID=" + ev.ID,
		"HOLDFAST_EVENT_FROM=" + ev.From,
		"HOLDFAST_EXEC=", // nor does a "holdfast listen" run itself
	}
}

// splitWords splits a command into words as a shell does: at spaces, with
// '…', "…" and \ to quote. Nothing else means anything: no variables, no
// globs, no pipes.
func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			in, escaped = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			in, quote = true, c
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(c)
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("there is no program in it")
	}
	return words, nil
}
