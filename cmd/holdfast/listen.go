package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/socketio"
)

type listenCmd struct {
	clientFlags
	Since string `placeholder:"EPOCH:OFFSET" help:"Begin with what came after this place in the room's history. For one room."`
	Count int    `placeholder:"N" help:"Stop after N events."`
	execFlags

	URL   string   `arg:"" name:"url" help:"The server's address, such as http://127.0.0.1:8080."`
	Rooms []string `arg:"" name:"room" help:"Rooms to join."`
}

// line is what is printed for one event.
type line struct {
	Room  string          `json:"room"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	holdfast.Position
	ID   string `json:"id,omitempty"`
	From string `json:"from,omitempty"`
}

// Run joins the rooms and prints their events, or runs a command for each.
func (l *listenCmd) Run(e *environment) error {
	since, err := l.check()
	if err != nil {
		return err
	}
	handle := printEvent
	var runner *runner
	if l.Exec != "" {
		if runner, err = l.runner(); err != nil {
			return err
		}
		handle = runner.run
	}
	conn, err := l.connect(e, l.URL)
	if err != nil {
		return err
	}
	err = l.listen(e, conn, since, handle)
	conn.close() // which ends a command that is running
	if runner != nil && runner.failed > 0 {
		e.note("--exec: %d of %d commands failed", runner.failed, runner.ran)
	}
	return err
}

// listen hands events to handle until it is to end.
func (l *listenCmd) listen(e *environment, conn *connection, since *holdfast.Position, handle func(context.Context, *environment, *holdfast.Event) error) error {
	done := make(chan error, 1)
	stop := func(err error) {
		select {
		case done <- err:
		default: // it ends already
		}
	}
	left, over := l.Count, false // used by OnEvent alone, whose calls follow one another
	options := client.JoinOptions{
		Since: since,
		OnEvent: func(ctx context.Context, ev *holdfast.Event) {
			if over {
				return
			}
			if err := handle(ctx, e, ev); err != nil {
				over = true
				stop(err)
				return
			}
			if left--; left == 0 {
				over = true
				stop(nil)
			}
		},
		OnReset: func(_ context.Context, r client.Reset) {
			e.note("room %s: events were missed and are gone from its history; going on after %s:%d", r.Room, r.Position.Epoch, r.Position.Offset)
		},
		OnLeft: func(_ context.Context, err error) { stop(conn.left(err)) },
	}
	for _, name := range l.Rooms {
		if err := l.join(e, conn.socket, name, options); err != nil {
			return err
		}
	}
	login := ""
	if conn.login != nil {
		login = conn.login.SessionID()
	}
	for {
		select {
		case err := <-done:
			return err
		case err := <-conn.final:
			if conn.login == nil || !conn.login.renewed(e.ctx, login) {
				return conn.explain(e, err)
			}
			login = conn.login.SessionID()
			e.note("logged in anew by another program; connecting again")
			if err := conn.up(e, l.Timeout); err != nil {
				return err
			}
		case <-e.ctx.Done():
			if l.Count > 0 {
				return errInterrupted
			}
			return nil
		}
	}
}

// left is why listening ends when a room is lost.
func (c *connection) left(err error) error {
	if holdfast.CodeOf(err) != holdfast.Internal || c.login == nil {
		return err
	}
	if user := c.login.User(); user.ID != c.user {
		return holdfast.Errorf(holdfast.Unauthenticated, "another user, %s, has logged in to %s", user.ID, c.login.server)
	}
	return err
}

func (l *listenCmd) join(e *environment, socket *client.Socket, name string, options client.JoinOptions) error {
	ctx, cancel := context.WithTimeout(e.ctx, l.Timeout)
	defer cancel()
	room, err := socket.Join(ctx, name, options)
	if err != nil {
		if e.ctx.Err() != nil {
			return errInterrupted
		}
		return fmt.Errorf("room %s: %w", name, err)
	}
	who := ""
	if session, ok := socket.Session(); ok {
		who = " as " + session.User.ID
	}
	at := room.Position()
	e.note("in room %s%s, at %s:%d", name, who, at.Epoch, at.Offset)
	return nil
}

// check looks at the arguments before anything is dialled.
func (l *listenCmd) check() (*holdfast.Position, error) {
	for _, room := range l.Rooms {
		if err := holdfast.CheckRoom(room); err != nil {
			return nil, usagef("room %q: %s", room, holdfast.AsError(err).Message)
		}
	}
	if l.Count < 0 {
		return nil, usagef("--count can't be negative")
	}
	if l.Since == "" {
		return nil, nil
	}
	if len(l.Rooms) > 1 {
		return nil, usagef("--since is a place in one room's history: name one room, or listen without it")
	}
	i := strings.LastIndexByte(l.Since, ':')
	if i <= 0 {
		return nil, usagef("--since %q must be EPOCH:OFFSET, as emit and listen print them", l.Since)
	}
	offset, err := strconv.ParseUint(l.Since[i+1:], 10, 64)
	if err != nil || offset > holdfast.MaxOffset {
		return nil, usagef("--since %q must be EPOCH:OFFSET, with a whole number as the offset", l.Since)
	}
	return &holdfast.Position{Epoch: l.Since[:i], Offset: offset}, nil
}

// printEvent writes an event as one line.
func printEvent(_ context.Context, e *environment, ev *holdfast.Event) error {
	text, err := eventLine(ev)
	if err == nil {
		_, err = e.stdout.Write(text)
	}
	return err
}

// eventLine is an event as one line of JSON.
func eventLine(ev *holdfast.Event) ([]byte, error) {
	data := ev.Data
	if len(ev.Attachments) > 0 {
		portable, err := socketio.Args{Values: []json.RawMessage{data}, Attachments: ev.Attachments}.Portable()
		if err != nil {
			return nil, err
		}
		data = portable.Values[0]
	}
	if data == nil {
		data = json.RawMessage("null")
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false) // data stays as it was written
	err := out.Encode(line{Room: ev.Room, Event: ev.Name, Data: data, Position: ev.Position, ID: ev.ID, From: ev.From})
	return text.Bytes(), err
}
