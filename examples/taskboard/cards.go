package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/holdfast-dev/holdfast"
)

const (
	selectList = "SELECT id, title, key, version FROM lists"
	selectCard = "SELECT id, list, title, text, color, done, key, version, author, created, updated FROM cards"
)

func scanList(s scanner) (l List, err error) {
	err = s.Scan(&l.ID, &l.Title, &l.Key, &l.Version)
	return l, err
}

func scanCard(s scanner) (c Card, err error) {
	err = s.Scan(&c.ID, &c.List, &c.Title, &c.Text, &c.Color, &c.Done, &c.Key, &c.Version, &c.Author, &c.Created, &c.Updated)
	return c, err
}

// conflict refuses a write whose caller has not seen the present version. The
// details have that.
func conflict(now any, what string) error {
	details, err := json.Marshal(map[string]any{what: now})
	return errors.Join(err, &holdfast.Error{Code: holdfast.Conflict, Message: "Somebody else has changed this " + what, Details: details})
}

// cardOf reads a card of the board.
func (t *tx) cardOf(board, card string) (Card, error) {
	c, found, err := one(t.ctx, t.Tx, scanCard, selectCard+" WHERE board = ? AND id = ?", board, card)
	if err == nil && !found {
		err = holdfast.Errorf(holdfast.NotFound, "There is no such card")
	}
	return c, err
}

// listOf reads a list of the board.
func (t *tx) listOf(board, list string) (List, error) {
	l, found, err := one(t.ctx, t.Tx, scanList, selectList+" WHERE board = ? AND id = ?", board, list)
	if err == nil && !found {
		err = holdfast.Errorf(holdfast.NotFound, "There is no such list")
	}
	return l, err
}

// newCard is a card to be made. Before and After say where; without either,
// or if neither is in the list, it is at the end.
type newCard struct {
	Board  string `json:"board"`
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
	c := Card{ID: rand.Text(), List: in.List, Title: title, Text: in.Text, Color: in.Color,
		Version: 1, Author: t.by.ID, Created: t.now, Updated: t.now}
	var keys map[string]string
	if c.Key, keys, err = t.place("cards", "list", in.List, c.ID, in.Before, in.After); err != nil {
		return nil, err
	}
	_, err = t.exec(`INSERT INTO cards (id, board, list, title, text, color, done, key, version, author, created, updated)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)`, c.ID, in.Board, c.List, c.Title, c.Text, c.Color, c.Key, c.Version, c.Author, c.Created, c.Updated)
	if err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_created", Change{Card: &c, Keys: keys})
}

func (t *tx) roomInList(list string) error {
	return t.count(maxPerList, "cards in the list", "SELECT count(*) FROM cards WHERE list = ?", list)
}

// cardEdit changes what of a card is not nil. Version, if it is not 0, is what
// the caller has seen.
type cardEdit struct {
	Board   string  `json:"board"`
	Card    string  `json:"card"`
	Version int64   `json:"version"`
	Title   *string `json:"title"`
	Text    *string `json:"text"`
	Color   *string `json:"color"`
	Done    *bool   `json:"done"`
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
	if err := t.need(in.Board, Editor); err != nil {
		return nil, err
	}
	c, err := t.cardOf(in.Board, in.Card)
	if err != nil {
		return nil, err
	}
	if in.Version != 0 && in.Version != c.Version {
		return nil, conflict(c, "card")
	}
	if err := in.apply(&c); err != nil {
		return nil, err
	}
	c.Version++
	c.Updated = t.now
	_, err = t.exec("UPDATE cards SET title = ?, text = ?, color = ?, done = ?, version = ?, updated = ? WHERE id = ?",
		c.Title, c.Text, c.Color, c.Done, c.Version, c.Updated, c.ID)
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
	if err := t.need(in.Board, Editor); err != nil {
		return nil, err
	}
	c, err := t.cardOf(in.Board, in.Card)
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

// cardRef names a card. Version is as with cardEdit.
type cardRef struct {
	Board   string `json:"board"`
	Card    string `json:"card"`
	Version int64  `json:"version"`
}

func (t *tx) deleteCard(in cardRef) (any, error) {
	if err := t.need(in.Board, Editor); err != nil {
		return nil, err
	}
	c, err := t.cardOf(in.Board, in.Card)
	if err != nil {
		return nil, err
	}
	if in.Version != 0 && in.Version != c.Version {
		return nil, conflict(c, "card")
	}
	if _, err := t.exec("DELETE FROM cards WHERE id = ?", c.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "task_deleted", Change{Card: &c})
}
