package main

import (
	"context"
	"crypto/rand"
	"database/sql"

	"github.com/holdfast-dev/holdfast"
)

func errNoBoard() error { return holdfast.Errorf(holdfast.NotFound, "There is no such board") }

// access is what somebody is on a board.
type access struct {
	role Role
	link bool
}

func scanAccess(s scanner) (a access, err error) {
	err = s.Scan(&a.role, &a.link)
	return a, err
}

const selectAccess = "SELECT role, link FROM members WHERE board = ? AND user = ?"

// role returns what a user may do on a board now; "" for nothing, also where
// there is no such board.
func (s *store) role(ctx context.Context, board, user string) (Role, error) {
	a, _, err := one(ctx, s.read, scanAccess, selectAccess, board, user)
	return a.role, err
}

// need returns nil if the caller is a member of the board with at least the
// role: NOT_FOUND to strangers, who do not learn which boards there are.
func (t *tx) need(board string, role Role) error {
	a, found, err := one(t.ctx, t.Tx, scanAccess, selectAccess, board, t.by.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return errNoBoard()
	case !a.role.covers(role):
		return holdfast.Errorf(holdfast.Forbidden, "This needs the role %s", role)
	}
	return nil
}

// tell finishes a write to a board: it counts it, and publishes the change.
func (t *tx) tell(board, event string, c Change) (Change, error) {
	rev, _, err := one(t.ctx, t.Tx, scanInt, "UPDATE boards SET rev = rev + 1 WHERE id = ? RETURNING rev", board)
	if err != nil {
		return c, err
	}
	c.Rev, c.By = rev, holdfast.User{ID: t.by.ID, Name: t.by.Name}
	return c, t.publish(roomOf(board), event, c)
}

// count refuses with CONFLICT where a query counts limit or more.
func (t *tx) count(limit int64, what, query string, args ...any) error {
	n, _, err := one(t.ctx, t.Tx, scanInt, query, args...)
	if err == nil && n >= limit {
		err = holdfast.Errorf(holdfast.Conflict, "There are %d %s already, which is the limit", limit, what)
	}
	return err
}

const selectBoard = `SELECT b.id, b.title, b.rev, b.created, m.role, m.link
	FROM boards b JOIN members m ON m.board = b.id WHERE m.user = ?`

func scanBoard(s scanner) (b Board, err error) {
	err = s.Scan(&b.ID, &b.Title, &b.Rev, &b.Created, &b.Role, &b.Link)
	b.Room = roomOf(b.ID)
	return b, err
}

// boards lists those of a user, the oldest membership first.
func (s *store) boards(ctx context.Context, user string) ([]Board, error) {
	return all(ctx, s.read, scanBoard, selectBoard+" ORDER BY m.added, b.id", user)
}

// board reads all of a board as one of its members sees it, at one moment.
func (s *store) board(ctx context.Context, id, user string) (state BoardState, err error) {
	view, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return state, err
	}
	defer func() { _ = view.Rollback() }() // nothing was written
	var found bool
	if state.Board, found, err = one(ctx, view, scanBoard, selectBoard+" AND b.id = ?", user, id); err != nil {
		return state, err
	}
	if !found {
		return state, errNoBoard()
	}
	if state.Lists, err = all(ctx, view, scanList, selectList+" WHERE board = ? ORDER BY key", id); err != nil {
		return state, err
	}
	if state.Cards, err = all(ctx, view, scanCard, selectCard+" WHERE board = ? ORDER BY list, key", id); err != nil {
		return state, err
	}
	if state.Members, err = all(ctx, view, scanMember, selectMember+" WHERE board = ? ORDER BY added, user", id); err != nil {
		return state, err
	}
	if state.Board.Role != Owner {
		for i := range state.Members {
			state.Members[i].Email = ""
		}
		return state, nil
	}
	state.Links, err = all(ctx, view, scanLink, "SELECT role, created FROM links WHERE board = ? ORDER BY role", id)
	return state, err
}

// titled is the body of what makes or renames a board.
type titled struct {
	Title string `json:"title"`
}

// createBoard makes a board with three lists to begin with.
func (t *tx) createBoard(in titled) (any, error) {
	title, err := cleanTitle(in.Title)
	if err != nil {
		return nil, err
	}
	if err := t.roomForBoard(t.by.ID); err != nil {
		return nil, err
	}
	b := Board{ID: rand.Text(), Title: title, Role: Owner, Rev: 1, Created: t.now}
	b.Room = roomOf(b.ID)
	if _, err := t.exec("INSERT INTO boards (id, title, rev, created) VALUES (?, ?, ?, ?)", b.ID, b.Title, b.Rev, b.Created); err != nil {
		return nil, err
	}
	if err := t.admit(b.ID, t.by.ID, access{role: Owner}); err != nil {
		return nil, err
	}
	for i, key := range evenKeys(3) {
		_, err := t.exec("INSERT INTO lists (id, board, title, key, version) VALUES (?, ?, ?, ?, 1)",
			rand.Text(), b.ID, []string{"To do", "Doing", "Done"}[i], key)
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (t *tx) renameBoard(board string, in titled) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	title, err := cleanTitle(in.Title)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec("UPDATE boards SET title = ? WHERE id = ?", title, board); err != nil {
		return nil, err
	}
	return t.tell(board, "board_updated", Change{Title: title})
}

// deleteBoard tells the room, and then nobody is in it any more.
func (t *tx) deleteBoard(board string) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	change, err := t.tell(board, "board_deleted", Change{})
	if err != nil {
		return nil, err
	}
	if err := t.putOut(roomOf(board), "", holdfast.NotFound); err != nil {
		return nil, err
	}
	_, err = t.exec("DELETE FROM boards WHERE id = ?", board)
	return change, err
}
