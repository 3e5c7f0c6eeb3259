package main

// newList is a list to be made. Before and After are lists, as with newCard.
type newList struct {
	Board  string `json:"board"`
	List   string `json:"list"` // its id; "": a new one
	Title  string `json:"title"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func (t *tx) createList(in newList) (any, error) {
	if err := t.need(in.Board, Editor); err != nil {
		return nil, err
	}
	title, err := cleanTitle(in.Title)
	if err != nil {
		return nil, err
	}
	if err := t.count(maxLists, "lists", "SELECT count(*) FROM lists WHERE board = ?", in.Board); err != nil {
		return nil, err
	}
	id, err := t.newID("lists", in.List)
	if err != nil {
		return nil, err
	}
	l := List{ID: id, Title: title, Version: 1}
	var keys map[string]string
	if l.Key, keys, err = t.place("lists", "board", in.Board, l.ID, in.Before, in.After); err != nil {
		return nil, err
	}
	if _, err := t.exec("INSERT INTO lists (id, board, title, key, version) VALUES (?, ?, ?, ?, ?)", l.ID, in.Board, l.Title, l.Key, l.Version); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "list_created", Change{List: &l, Keys: keys})
}

// listFor reads a list for an editor of the board who writes to it, and has
// seen it at this version, if that is not 0.
func (t *tx) listFor(board, list string, version int64) (List, error) {
	if err := t.need(board, Editor); err != nil {
		return List{}, err
	}
	l, err := t.listOf(board, list)
	if err == nil && version != 0 && version != l.Version {
		err = conflict(l, "list")
	}
	return l, err
}

// listEdit renames a list. Version, if it is not 0, is what the caller has
// seen.
type listEdit struct {
	Board   string `json:"board"`
	List    string `json:"list"`
	Version int64  `json:"version"`
	Title   string `json:"title"`
}

func (t *tx) updateList(in listEdit) (any, error) {
	l, err := t.listFor(in.Board, in.List, in.Version)
	if err != nil {
		return nil, err
	}
	if l.Title, err = cleanTitle(in.Title); err != nil {
		return nil, err
	}
	l.Version++
	if _, err := t.exec("UPDATE lists SET title = ?, version = ? WHERE id = ?", l.Title, l.Version, l.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "list_updated", Change{List: &l})
}

// listMove puts a list before one list or after another; without either, or
// if they are gone, at the end.
type listMove struct {
	Board  string `json:"board"`
	List   string `json:"list"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func (t *tx) moveList(in listMove) (any, error) {
	l, err := t.listFor(in.Board, in.List, 0)
	if err != nil {
		return nil, err
	}
	key, keys, err := t.place("lists", "board", in.Board, l.ID, in.Before, in.After)
	if err != nil {
		return nil, err
	}
	l.Key = key
	if _, err := t.exec("UPDATE lists SET key = ? WHERE id = ?", l.Key, l.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "list_moved", Change{List: &l, Keys: keys})
}

// listRef names a list. Version is as with listEdit.
type listRef struct {
	Board   string `json:"board"`
	List    string `json:"list"`
	Version int64  `json:"version"`
}

// deleteList deletes a list and the cards in it, of which there are no events
// of their own.
func (t *tx) deleteList(in listRef) (any, error) {
	l, err := t.listFor(in.Board, in.List, in.Version)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec("DELETE FROM lists WHERE id = ?", l.ID); err != nil {
		return nil, err
	}
	return t.tell(in.Board, "list_deleted", Change{List: &l})
}
