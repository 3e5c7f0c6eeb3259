package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
)

// What is remembered of writes with an id, as the protocol has it of events
// (docs/protocol.md §4).
const (
	answersKept = 10_000 // of one user
	answersFor  = 24 * time.Hour
	maxWriteID  = 128 // bytes
)

// call is one write that somebody asks for.
type call struct {
	command string        // such as "card:move"
	by      holdfast.User // whose it is; the id is set
	id      string        // the write's own, unique among the user's; "" for none
}

// tx is a transaction of one write.
type tx struct {
	*sql.Tx
	ctx context.Context // ends the transaction with the call
	call
	now int64 // epoch milliseconds
	// letter is the number of the last letter in the outbox; 0 for none.
	letter int64
}

func (t *tx) exec(statement string, args ...any) (int64, error) {
	result, err := t.ExecContext(t.ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// do carries out a write in a transaction of its own, and returns the answer
// as JSON. Under an id that was answered before it does nothing, and returns
// the first answer, whether that was a result or a refusal that is final: the
// record of it is part of the transaction, so that there is one exactly where
// there is an effect. The rooms have been told when it returns.
func (s *store) do(ctx context.Context, c call, write func(t *tx) (any, error)) (json.RawMessage, error) {
	if err := checkWriteID(c.id); err != nil {
		return nil, err
	}
	sqlTx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sqlTx.Rollback() }() // after a commit it does nothing
	t := &tx{Tx: sqlTx, ctx: ctx, call: c, now: time.Now().UnixMilli()}
	if answer, err := t.answered(); answer != nil || err != nil {
		return answer, err
	}
	answer, refusal, err := t.attempt(write)
	if err != nil {
		return nil, err
	}
	if refusal != nil && c.id == "" {
		return nil, refusal // there is nothing to keep
	}
	if err := t.remember(answer, refusal); err != nil {
		return nil, err
	}
	if err := t.Commit(); err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	if t.letter != 0 {
		s.wakeOutbox()
		s.told.wait(ctx, t.letter)
	}
	return answer, nil
}

// attempt calls write. A final refusal undoes what write did and nothing else;
// any other error is the end of the transaction.
func (t *tx) attempt(write func(t *tx) (any, error)) (answer json.RawMessage, refusal *holdfast.Error, err error) {
	if _, err := t.exec("SAVEPOINT attempt"); err != nil {
		return nil, nil, err
	}
	if err := t.meet(); err != nil {
		return nil, nil, err
	}
	result, err := write(t)
	if errors.As(err, &refusal) && refusal.Code.Info().Action == holdfast.ActionStop {
		_, err := t.exec("ROLLBACK TO attempt")
		return nil, refusal, err
	}
	if err != nil {
		return nil, nil, err
	}
	answer, err = json.Marshal(result)
	return answer, nil, err
}

// meet notes the name and the address of whose write it is, for the members of
// boards to see.
func (t *tx) meet() error {
	_, err := t.exec(`INSERT INTO people (id, name, email) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email`, t.by.ID, t.by.Name, t.by.Email)
	return err
}

// refusalRecord is how a refusal is kept.
type refusalRecord struct {
	Code    holdfast.Code   `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

// answered returns what the write was answered before: nil and nil where it
// was not.
func (t *tx) answered() (json.RawMessage, error) {
	if t.id == "" {
		return nil, nil
	}
	type record struct {
		command, answer string
		refused         bool
	}
	r, found, err := one(t.ctx, t.Tx, func(s scanner) (r record, err error) {
		err = s.Scan(&r.command, &r.answer, &r.refused)
		return r, err
	}, "SELECT command, answer, refused FROM answers WHERE user = ? AND id = ? AND at > ?", t.by.ID, t.id, t.now-answersFor.Milliseconds())
	switch {
	case err != nil || !found:
		return nil, err
	case r.command != t.command:
		return nil, holdfast.Errorf(holdfast.Conflict, "This id was used for another call")
	case !r.refused:
		return json.RawMessage(r.answer), nil
	}
	var refusal refusalRecord
	if err := json.Unmarshal([]byte(r.answer), &refusal); err != nil {
		return nil, err
	}
	return nil, &holdfast.Error{Code: refusal.Code, Message: refusal.Message, Details: refusal.Details}
}

// remember keeps an answer, and forgets those that are too old or too many.
func (t *tx) remember(answer json.RawMessage, refusal *holdfast.Error) error {
	if t.id == "" {
		return nil
	}
	text := []byte(answer)
	if refusal != nil {
		var err error
		text, err = json.Marshal(refusalRecord{refusal.Code, refusal.PublicMessage(), refusal.Details})
		if err != nil {
			return err
		}
	}
	if _, err := t.exec("DELETE FROM answers WHERE at <= ?", t.now-answersFor.Milliseconds()); err != nil {
		return err
	}
	result, err := t.ExecContext(t.ctx, "INSERT INTO answers (user, id, command, answer, refused, at) VALUES (?, ?, ?, ?, ?, ?)",
		t.by.ID, t.id, t.command, string(text), refusal != nil, t.now)
	if err != nil {
		return err
	}
	seq, err := result.LastInsertId()
	if err != nil || seq%100 != 0 { // counting is dear, and a hundred more do no harm
		return err
	}
	_, err = t.exec(`DELETE FROM answers WHERE user = ?1 AND seq <=
		(SELECT seq FROM answers WHERE user = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)`, t.by.ID, answersKept)
	return err
}

// publish tells a room of the write, once the transaction is committed. The
// caller has his answer after that, unless the outbox is in trouble.
func (t *tx) publish(room, event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return t.post(letter{room: room, name: event, data: string(text), id: t.id, sender: t.by.ID})
}

// putOut takes a user out of a room, or everybody for "", once the transaction
// is committed: what is published after it does not reach them.
func (t *tx) putOut(room, user string, code holdfast.Code) error {
	return t.post(letter{room: room, data: string(code), leaver: user})
}

// post puts a letter into the outbox.
func (t *tx) post(l letter) error {
	result, err := t.ExecContext(t.ctx, "INSERT INTO outbox (room, name, data, id, sender, leaver) VALUES (?, ?, ?, ?, ?, ?)",
		l.room, l.name, l.data, l.id, l.sender, l.leaver)
	if err != nil {
		return err
	}
	t.letter, err = result.LastInsertId()
	return err
}

func checkWriteID(id string) error {
	if len(id) > maxWriteID || !utf8.ValidString(id) {
		return holdfast.Errorf(holdfast.InvalidArgument, "An id has at most %d bytes of UTF-8", maxWriteID)
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return holdfast.Errorf(holdfast.InvalidArgument, "An id has no control characters")
		}
	}
	return nil
}
