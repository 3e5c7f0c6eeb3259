package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

type emitCmd struct {
	clientFlags
	String bool   `help:"DATA is plain text, not JSON."`
	ID     string `name:"id" placeholder:"ID" help:"The event's own id: publishing it again has no effect."`
	Queue  string `placeholder:"DIR" help:"Keep the event in this folder until the server has it, and send what is there first. If the server can't be reached, that is for the next time."`

	URL   string `arg:"" name:"url" help:"The server's address, such as http://127.0.0.1:8080."`
	Room  string `arg:"" help:"The room to publish to."`
	Event string `arg:"" help:"The event's name."`
	Data  string `arg:"" optional:"" placeholder:"-" help:"JSON; - reads it from stdin. Without it the event's data is null."`
}

// maxInput bounds what is read from stdin as an event's data.
const maxInput = 16 << 20

// Run publishes the event and prints its position.
func (c *emitCmd) Run(e *environment) error {
	data, err := c.data(e)
	if err != nil {
		return err
	}
	if c.Queue != "" {
		return c.queued(e, data)
	}
	conn, err := c.connect(e, c.URL)
	if err != nil {
		return err
	}
	defer conn.close()
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	position, err := conn.socket.Publish(ctx, c.Room, c.Event, data, c.ID)
	switch {
	case err == nil:
		return printLine(e, position)
	case e.ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, client.ErrConnectionLost), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w; the event may have been published or not: with --id it can be published again without harm", err)
	}
	return err
}

// data returns the event's data, and checks the other arguments.
func (c *emitCmd) data(e *environment) (json.RawMessage, error) {
	for _, check := range []error{holdfast.CheckRoom(c.Room), holdfast.CheckPublish(c.Event), holdfast.CheckEventID(c.ID)} {
		if check != nil {
			return nil, usagef("%s", holdfast.AsError(check).Message)
		}
	}
	text := []byte(c.Data)
	if c.Data == "-" {
		if c.usesStdin() {
			return nil, usagef("the token and DATA can't both come from stdin")
		}
		var err error
		if text, err = io.ReadAll(io.LimitReader(e.stdin, maxInput)); err != nil {
			return nil, fmt.Errorf("stdin: %w", reason(err))
		}
	}
	if c.String {
		return json.Marshal(string(text))
	}
	if len(text) == 0 && c.Data == "" {
		return nil, nil
	}
	if !json.Valid(text) {
		return nil, usagef("DATA is not JSON: quote text as '\"text\"', or use --string")
	}
	return text, nil
}
