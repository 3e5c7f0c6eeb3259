package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"

	"github.com/holdfast-dev/holdfast"
)

const (
	selectList = "SELECT id, title, key, version FROM lists"
	selectCard = "SELECT id, list, title, text, color, done, key, version, author, editor, created, updated FROM cards"
)

func scanList(s scanner) (l List, err error) {
	err = s.Scan(&l.ID, &l.Title, &l.Key, &l.Version)
	return l, err
}

func scanCard(s scanner) (c Card, err error) {
	err = s.Scan(&c.ID, &c.List, &c.Title, &c.Text, &c.Color, &c.Done, &c.Key, &c.Version, &c.Author, &c.Editor, &c.Created, &c.Updated)
	return c, err
}

// conflict refuses a write whose caller has not seen the present version. The
// details have that.
func conflict(now any, what string) error {
	details, err := json.Marshal(map[string]any{what: now})
	return errors.Join(err, &holdfast.Error{Code: holdfast.Conflict, Message: "Somebody else has changed this " + what, Details: details})
}

// listOf reads a list of the board.
func (t *tx) listOf(board, list string) (List, error) {
	l, found, err := one(t.ctx, t.Tx, scanList, selectList+" WHERE board = ? AND id = ?", board, list)
	if err == nil && !found {
		err = holdfast.Errorf(holdfast.NotFound, "There is no such list")
	}
	return l, err
}

// newID returns the id for what is made in a table ("cards" or "lists"): the
// one that its maker chose, so as to write more about it before the server has
// seen it, or else a new one.
func (t *tx) newID(table, chosen string) (string, error) {
	if chosen == "" {
		return rand.Text(), nil
	}
	strange := func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }
	if len(chosen) != idLength || strings.ContainsFunc(chosen, strange) {
		return "", holdfast.Errorf(holdfast.InvalidArgument, "A new id is %d digits and capital letters, as a ULID is", idLength)
	}
	n, _, err := one(t.ctx, t.Tx, scanInt, "SELECT count(*) FROM "+table+" WHERE id = ?", chosen)
	if err == nil && n > 0 {
		err = holdfast.Errorf(holdfast.Conflict, "This id is taken")
	}
	return chosen, err
}

// newCard is a card to be made. Before and After say where; without either,
// or if neither is in the list, it is at the end.
type newCard struct {
	Board  string `json:"board"`
	Card   string `json:"card"` // its id; "": a new one
	List   string `json:"list"`
	Title  string `json:"title"`
	Text   string `json:"text"`
	Color  string `json:"color"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func (t *tx) createCard(in newCard) (any, error) {
	if err := t.need(in.Board, Editor); err != nil {
		return nil, err
	}
	if _, err := t.listOf(in.Board, in.List); err != nil {
		return nil, err
	}
	title, err := cleanTitle(in.Title)
	if err := errors.Join(err, checkText(in.Text), checkColor(in.Color)); err != nil {
		return nil, err
	}
	if err := t.count(maxCards, "cards on the board", "SELECT count(*) FROM cards WHERE board = ?", in.Board); err != nil {
		return nil, err
	}
	if err := t.roomInList(in.List); err != nil {
		return nil, err
	}
	id, err := t.newID("cards", in.Card)
	if err != nil {
		return nil, err
	}
	c := Card{ID: id, List: in.List, Title: title, Text: in.Text, Color: in.Color,
		Version: 1, Author: t.by.ID, Editor: t.by.ID, Created: t.now, Updated: t.now}
	var keys map[string]string
	if c.Key, keys, err = t.place("cards", "list", in.List, c.ID, in.Before, in.After); err != nil {
		return nil, err
	}
	_, err = t.exec(`INSERT INTO cards (id, board, list, title, text, color, done, key, version, author, editor, created, updated)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)`, c.ID, in.Board, c.List, c.Title, c.Text, c.Color, c.Key, c.Version, c.Author, c.Editor, c.Created, c.Updated)
	if err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_created", Change{Card: &c, Keys: keys})
}

func (t *tx) roomInList(list string) error {
	return t.count(maxPerList, "cards in the list", "SELECT count(*) FROM cards WHERE list = ?", list)
}

// seenCard is what a caller has seen of a card, as far as it matters to what
// he writes; what is nil does not. Unlike a version it holds for writes that
// wait in a queue behind others of the same caller.
type seenCard struct {
	Title *string `json:"title"`
	Text  *string `json:"text"`
	Color *string `json:"color"`
	Done  *bool   `json:"done"`
}

// is reports whether c is still as it was seen.
func (s seenCard) is(c Card) bool {
	return same(s.Title, c.Title) && same(s.Text, c.Text) && same(s.Color, c.Color) && same(s.Done, c.Done)
}

func same[T comparable](seen *T, now T) bool { return seen == nil || *seen == now }

// cardFor reads a card for an editor of the board who writes to it, and has
// seen it at this version, if that is not 0, and as was says.
func (t *tx) cardFor(board, card string, version int64, was seenCard) (Card, error) {
	if err := t.need(board, Editor); err != nil {
		return Card{}, err
	}
	c, found, err := one(t.ctx, t.Tx, scanCard, selectCard+" WHERE board = ? AND id = ?", board, card)
	switch {
	case err != nil:
		return c, err
	case !found:
		return c, holdfast.Errorf(holdfast.NotFound, "There is no such card")
	case version != 0 && version != c.Version || !was.is(c):
		return c, conflict(c, "card")
	}
	return c, nil
}

// cardEdit changes what of a card is not nil. Version, if it is not 0, and Was
// are what the caller has seen.
type cardEdit struct {
	Board   string   `json:"board"`
	Card    string   `json:"card"`
	Version int64    `json:"version"`
	Was     seenCard `json:"was"`
	Title   *string  `json:"title"`
	Text    *string  `json:"text"`
	Color   *string  `json:"color"`
	Done    *bool    `json:"done"`
}

// apply changes c, or says what is wrong with the edit.
func (in cardEdit) apply(c *Card) (err error) {
	if in.Title != nil {
		if c.Title, err = cleanTitle(*in.Title); err != nil {
			return err
		}
	}
	if in.Text != nil {
		c.Text = *in.Text
	}
	if in.Color != nil {
		c.Color = *in.Color
	}
	if in.Done != nil {
		c.Done = *in.Done
	}
	return errors.Join(checkText(c.Text), checkColor(c.Color))
}

func (t *tx) updateCard(in cardEdit) (any, error) {
	c, err := t.cardFor(in.Board, in.Card, in.Version, in.Was)
	if err != nil {
		return nil, err
	}
	if err := in.apply(&c); err != nil {
		return nil, err
	}
	c.Version++
	c.Editor, c.Updated = t.by.ID, t.now
	_, err = t.exec("UPDATE cards SET title = ?, text = ?, color = ?, done = ?, version = ?, editor = ?, updated = ? WHERE id = ?",
		c.Title, c.Text, c.Color, c.Done, c.Version, c.Editor, c.Updated, c.ID)
	if err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_updated", Change{Card: &c})
}

// cardMove puts a card into a list ("": the one it is in), before one card or
// after another: see newCard.
type cardMove struct {
	Board  string `json:"board"`
	Card   string `json:"card"`
	List   string `json:"list"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// moveCard looks at no version: where a card is and what it says are changed
// apart, and the last move counts.
func (t *tx) moveCard(in cardMove) (any, error) {
	c, err := t.cardFor(in.Board, in.Card, 0, seenCard{})
	if err != nil {
		return nil, err
	}
	from := c.List
	if in.List != "" && in.List != from {
		if _, err := t.listOf(in.Board, in.List); err != nil {
			return nil, err
		}
		if err := t.roomInList(in.List); err != nil {
			return nil, err
		}
		c.List = in.List
	}
	key, keys, err := t.place("cards", "list", c.List, c.ID, in.Before, in.After)
	if err != nil {
		return nil, err
	}
	c.Key = key
	if _, err := t.exec("UPDATE cards SET list = ?, key = ? WHERE id = ?", c.List, c.Key, c.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_moved", Change{Card: &c, From: from, Keys: keys})
}

// cardRef names a card. Version and Was are as with cardEdit.
type cardRef struct {
	Board   string   `json:"board"`
	Card    string   `json:"card"`
	Version int64    `json:"version"`
	Was     seenCard `json:"was"`
}

func (t *tx) deleteCard(in cardRef) (any, error) {
	c, err := t.cardFor(in.Board, in.Card, in.Version, in.Was)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec("DELETE FROM cards WHERE id = ?", c.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_deleted", Change{Card: &c})
}
