package main

import (
	"context"
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// handle registers a write as an event that clients emit. The ack's data is
// what the HTTP call of the same name answers; the event's id is the write's.
func handle[In any](srv *server.Server, s *store, event string, write func(t *tx, in In) (any, error)) {
	server.Handle(srv, event, func(ctx context.Context, c *server.Conn, in In) (json.RawMessage, error) {
		return s.do(ctx, call{command: event, by: c.Identity().AsUser(), id: server.EventID(ctx)}, func(t *tx) (any, error) { return write(t, in) })
	})
}

// boardRef names a board.
type boardRef struct {
	Board string `json:"board"`
}

// handlers registers what clients may emit.
func handlers(srv *server.Server, s *store) {
	server.Handle(srv, "board:get", func(ctx context.Context, c *server.Conn, in boardRef) (BoardState, error) {
		return s.board(ctx, in.Board, c.Identity().User)
	})
	handle(srv, s, "card:create", (*tx).createCard)
	handle(srv, s, "card:update", (*tx).updateCard)
	handle(srv, s, "card:move", (*tx).moveCard)
	handle(srv, s, "card:delete", (*tx).deleteCard)
	handle(srv, s, "list:create", (*tx).createList)
	handle(srv, s, "list:update", (*tx).updateList)
	handle(srv, s, "list:move", (*tx).moveList)
	handle(srv, s, "list:delete", (*tx).deleteList)
}

// caller is who makes a request, which Require has let in.
func caller(ctx context.Context) (holdfast.User, error) {
	id, ok := holdfast.IdentityFrom(ctx)
	if !ok || id.User == "" {
		return holdfast.User{}, holdfast.Unauthenticated.New()
	}
	return id.AsUser(), nil
}
