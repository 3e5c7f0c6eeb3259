package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// These are what the program needs of the shapes in ../README.md.
type (
	board struct {
		ID, Title, Role, Room string
	}
	list struct {
		ID, Title, Key string
	}
	card struct {
		ID, List, Title, Key string
		Done                 bool
	}
	state struct {
		Board board
		Lists []list
		Cards []card
	}
	change struct {
		Rev  int64
		By   holdfast.User
		Card *card
		List *list
	}
)

// signIn makes an account, or a session of one that is there.
func (t *terminal) signIn(ctx context.Context, path, email, name string) error {
	password, _ := bufio.NewReader(t.in).ReadString('\n') // without a password the server refuses
	type answer struct {
		AccessToken, RefreshToken, SessionID string
		User                                 holdfast.User
		ExpiresIn                            int // seconds
	}
	body := map[string]string{"email": email, "password": strings.TrimRight(password, "\r\n"), "name": name}
	if name == "" {
		delete(body, "name")
	}
	a, err := client.Post[answer](ctx, t.client, path, body, client.NoToken())
	if err != nil {
		return err
	}
	if a.AccessToken == "" {
		return errors.New("this account has a second factor, which this example doesn't ask for")
	}
	fmt.Fprintf(t.out, "signed in as %s\n", a.User.Name)
	return t.session.SetTokens(ctx, tokens.Session{
		Access: a.AccessToken, Refresh: a.RefreshToken, User: a.User, SessionID: a.SessionID,
		Lifetime: time.Duration(a.ExpiresIn) * time.Second,
	})
}

func (t *terminal) boards(ctx context.Context) error {
	answer, err := client.Get[struct{ Boards []board }](ctx, t.client, "/api/boards")
	for _, b := range answer.Boards {
		fmt.Fprintf(t.out, "%s  %-6s  %s\n", b.ID, b.Role, b.Title)
	}
	return err
}

func (t *terminal) create(ctx context.Context, title string) error {
	b, err := client.Post[board](ctx, t.client, "/api/boards", map[string]string{"title": title})
	if err == nil {
		fmt.Fprintln(t.out, b.ID)
	}
	return err
}

func (t *terminal) open(ctx context.Context, token string) error {
	b, err := client.Post[board](ctx, t.client, "/api/links", map[string]string{"token": token})
	if err == nil {
		fmt.Fprintf(t.out, "%s  %-6s  %s\n", b.ID, b.Role, b.Title)
	}
	return err
}

func (t *terminal) get(ctx context.Context, id string) (state, error) {
	return client.Get[state](ctx, t.client, "/api/boards/"+url.PathEscape(id))
}

// find returns the id of the list with a title.
func (t *terminal) find(ctx context.Context, id, title string) (string, error) {
	s, err := t.get(ctx, id)
	for _, l := range s.Lists {
		if strings.EqualFold(l.Title, title) {
			return l.ID, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("there is no list %q", title)
	}
	return "", err
}

func (t *terminal) add(ctx context.Context, id, title, text string) error {
	l, err := t.find(ctx, id, title)
	if err != nil {
		return err
	}
	return t.write(ctx, "card:create", map[string]any{"board": id, "list": l, "title": text})
}

func (t *terminal) move(ctx context.Context, id, c, title string) error {
	l, err := t.find(ctx, id, title)
	if err != nil {
		return err
	}
	return t.write(ctx, "card:move", map[string]any{"board": id, "card": c, "list": l})
}

// write makes one change over a socket.
func (t *terminal) write(ctx context.Context, event string, payload any) error {
	sock := t.client.Socket()
	if err := sock.Connect(ctx); err != nil {
		return err
	}
	done, err := client.EmitAck[change](ctx, sock, event, payload)
	if err == nil {
		fmt.Fprintf(t.out, "%s  %s\n", done.Card.ID, done.Card.Title)
	}
	return err
}

// show prints a board and each event, over cuts and restarts, until ctx ends
// or the board is not ours any more. It joins before it reads the board: what
// happens between the two is in both, and nothing is in neither.
func (t *terminal) show(ctx context.Context, id string) error {
	sock := t.client.Socket()
	if err := sock.Connect(ctx); err != nil {
		return err
	}
	left := make(chan error, 1)
	again := make(chan struct{}, 1)
	lines := make(chan string, 64)
	room, err := sock.Join(ctx, "board-"+id, client.JoinOptions{
		OnEvent: func(ctx context.Context, ev *holdfast.Event) {
			select {
			case lines <- describe(ev):
			case <-ctx.Done():
			}
		},
		OnReset: func(context.Context, client.Reset) {
			select {
			case again <- struct{}{}:
			default: // it will be read anyhow
			}
		},
		OnLeft: func(_ context.Context, err error) {
			select {
			case left <- err:
			default:
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = room.Leave() }() // the program ends
	if err := t.print(ctx, id); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-left:
			return fmt.Errorf("the board is not ours any more: %w", err)
		case <-again: // history is gone, as after a restart of the server
			if err := t.print(ctx, id); err != nil {
				return err
			}
		case line := <-lines:
			fmt.Fprintln(t.out, line)
		}
	}
}

// print shows all of a board.
func (t *terminal) print(ctx context.Context, id string) error {
	s, err := t.get(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s (%s)\n", s.Board.Title, s.Board.Role)
	for _, l := range s.Lists {
		fmt.Fprintf(t.out, "  %s\n", l.Title)
		for _, c := range s.Cards {
			if c.List == l.ID {
				mark := " "
				if c.Done {
					mark = "x"
				}
				fmt.Fprintf(t.out, "    [%s] %s  %s\n", mark, c.ID, c.Title)
			}
		}
	}
	return nil
}

// describe is an event as one line.
func describe(ev *holdfast.Event) string {
	var c change
	if err := json.Unmarshal(ev.Data, &c); err != nil || c.By.ID == "" {
		return fmt.Sprintf("%s %s", ev.Name, ev.Data)
	}
	what := ""
	switch {
	case c.Card != nil:
		what = c.Card.ID + " " + c.Card.Title
	case c.List != nil:
		what = c.List.Title
	}
	return strings.TrimSpace(fmt.Sprintf("%s by %s: %s", ev.Name, c.By.Name, what))
}
