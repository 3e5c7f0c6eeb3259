// Command client is the task board in a terminal. It signs in once, keeps the
// session in a file, and stays connected for as long as it shows a board.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

const usage = `usage: client [-url URL] [-session FILE] COMMAND

  sign-up EMAIL NAME      make an account; the password is the first line of stdin
  sign-in EMAIL           the same with an account that is there
  sign-out                end the session
  boards                  list the boards
  new TITLE               make a board
  open TOKEN              become a member by a link
  show BOARD              show a board and what happens on it, until Ctrl-C
  add BOARD LIST TITLE    put a card at the end of a list, named by its title
  move BOARD CARD LIST    put a card at the end of another list
  done BOARD CARD         tick a card off
  delete BOARD CARD       take a card away
`

func main() {
	config, _ := os.UserConfigDir() // "": the session is kept in this folder
	url := flag.String("url", "http://localhost:8080", "where the task board is")
	session := flag.String("session", filepath.Join(config, "holdfast", "taskboard.json"), "where the session is kept")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *url, *session, flag.Args(), os.Stdin, os.Stdout)
	if errors.Is(err, errUsage) {
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("no such command")

// terminal is one run of the program.
type terminal struct {
	session *tokens.Manager
	client  *client.Client
	in      io.Reader
	out     io.Writer
}

// run carries out one command.
func run(ctx context.Context, url, path string, args []string, in io.Reader, out io.Writer) (err error) {
	store, err := tokens.NewFile(path)
	if err != nil {
		return err
	}
	endpoint, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: url + "/api/auth/refresh", SignOutURL: url + "/api/auth/sign-out"})
	if err != nil {
		return err
	}
	session, err := tokens.NewManager(tokens.Config{Store: store, Refresh: endpoint.Refresh, SignOut: endpoint.SignOut})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	c, err := client.New(client.Config{BaseURL: url, Source: session})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	t := &terminal{session: session, client: c, in: in, out: out}
	return t.command(ctx, args)
}

// command finds the command that has this name and as many arguments.
func (t *terminal) command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	name, args := args[0], args[1:]
	switch fmt.Sprint(name, " ", len(args)) {
	case "sign-up 2":
		return t.signIn(ctx, "/api/auth/sign-up", args[0], args[1])
	case "sign-in 1":
		return t.signIn(ctx, "/api/auth/sign-in", args[0], "")
	case "sign-out 0":
		return t.session.Clear(ctx)
	case "boards 0":
		return t.boards(ctx)
	case "new 1":
		return t.create(ctx, args[0])
	case "open 1":
		return t.open(ctx, args[0])
	case "show 1":
		return t.show(ctx, args[0])
	case "add 3":
		return t.add(ctx, args[0], args[1], args[2])
	case "move 3":
		return t.move(ctx, args[0], args[1], args[2])
	case "done 2":
		return t.write(ctx, "card:update", map[string]any{"board": args[0], "card": args[1], "done": true})
	case "delete 2":
		return t.write(ctx, "card:delete", map[string]any{"board": args[0], "card": args[1]})
	}
	return errUsage
}
