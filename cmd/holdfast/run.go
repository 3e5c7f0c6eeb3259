package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// environment is what a command works with besides its flags.
type environment struct {
	ctx    context.Context // ends when the program is asked to finish
	stdin  io.Reader
	stdout io.Writer // results, for programs to read
	stderr io.Writer // notes and errors, for people
	getenv func(string) string
	flags  *sources // where the values of flags came from
}

// note prints a line for people.
func (e *environment) note(format string, args ...any) {
	fmt.Fprintf(e.stderr, "holdfast: "+format+"\n", args...)
}

// exited is what the parser's Exit panics with, which must not return.
type exited int

// run is the program: it returns the exit code. ctx ends when it is asked to
// finish.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) (code int) {
	defer func() {
		if v := recover(); v != nil {
			early, ok := v.(exited)
			if !ok {
				panic(v)
			}
			code = int(early)
		}
	}()
	env := &environment{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, flags: newSources(getenv)}
	parser, err := newParser(env)
	if err != nil {
		panic(err) // the grammar is wrong, which every test would see
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return env.fail(usageError{err: err, help: helpFor(parser, err)})
	}
	return env.fail(parsed.Run(env))
}

// newParser makes the parser of the command line.
func newParser(env *environment) (*kong.Kong, error) {
	parser, err := kong.New(&grammar{},
		kong.Name("holdfast"),
		kong.Description(appHelp),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100, NoAppDescFormat: true}),
		kong.ValueFormatter(describe),
		kong.ExplicitGroups(flagGroups()),
		kong.Bind(env),
		kong.WithBeforeResolve(env.flags.load),
	)
	return parser, err
}

// helpFor names the help that belongs to an error of the command line.
func helpFor(parser *kong.Kong, err error) string {
	name := parser.Model.Name
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context != nil {
		if at := parse.Context.Selected(); at != nil {
			name = at.FullPath()
		}
	}
	return name + " --help"
}

// describe is the help of one flag or argument, with the variable's name.
func describe(v *kong.Value) string {
	if v.Flag == nil || v.Name == "help" {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " ($" + envName(v.Name) + ")."
}
