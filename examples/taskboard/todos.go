package main

import (
	"context"
	"crypto/rand"

	"github.com/holdfast-dev/holdfast"
)

const selectTodo = "SELECT id, title, completed, user, created FROM todos"

func scanTodo(s scanner) (todo Todo, err error) {
	err = s.Scan(&todo.ID, &todo.Title, &todo.Completed, &todo.UserID, &todo.CreatedAt)
	return todo, err
}

// todos lists those of a user, the newest first.
func (s *store) todos(ctx context.Context, user string) ([]Todo, error) {
	return all(ctx, s.read, scanTodo, selectTodo+" WHERE user = ? ORDER BY seq DESC", user)
}

func (t *tx) todo(id string) (Todo, error) {
	todo, found, err := one(t.ctx, t.Tx, scanTodo, selectTodo+" WHERE id = ? AND user = ?", id, t.by.ID)
	if err == nil && !found {
		err = holdfast.Errorf(holdfast.NotFound, "There is no such todo")
	}
	return todo, err
}

func (t *tx) createTodo(in titled) (any, error) {
	title, err := cleanTitle(in.Title)
	if err != nil {
		return nil, err
	}
	if err := t.count(maxTodos, "todos", "SELECT count(*) FROM todos WHERE user = ?", t.by.ID); err != nil {
		return nil, err
	}
	todo := Todo{ID: rand.Text(), Title: title, UserID: t.by.ID, CreatedAt: t.now}
	if _, err := t.exec("INSERT INTO todos (id, user, title, completed, created) VALUES (?, ?, ?, 0, ?)", todo.ID, todo.UserID, todo.Title, todo.CreatedAt); err != nil {
		return nil, err
	}
	return todo, t.publish(todoRoom(t.by.ID), "todo:created", todo)
}

// todoEdit changes what is not nil.
type todoEdit struct {
	Title     *string `json:"title"`
	Completed *bool   `json:"completed"`
}

func (t *tx) updateTodo(id string, in todoEdit) (any, error) {
	todo, err := t.todo(id)
	if err != nil {
		return nil, err
	}
	if in.Title != nil {
		if todo.Title, err = cleanTitle(*in.Title); err != nil {
			return nil, err
		}
	}
	if in.Completed != nil {
		todo.Completed = *in.Completed
	}
	if _, err := t.exec("UPDATE todos SET title = ?, completed = ? WHERE id = ?", todo.Title, todo.Completed, todo.ID); err != nil {
		return nil, err
	}
	return todo, t.publish(todoRoom(t.by.ID), "todo:updated", todo)
}

func (t *tx) deleteTodo(id string) (any, error) {
	todo, err := t.todo(id)
	if err != nil {
		return nil, err
	}
	if _, err := t.exec("DELETE FROM todos WHERE id = ?", todo.ID); err != nil {
		return nil, err
	}
	return map[string]bool{"ok": true}, t.publish(todoRoom(t.by.ID), "todo:deleted", map[string]string{"id": todo.ID})
}
