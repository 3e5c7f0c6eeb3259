package main

import (
	"log/slog"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/identity"
)

// api are the HTTP calls. README.md lists them.
type api struct {
	store    *store
	accounts *identity.Provider
	log      *slog.Logger
	mux      *http.ServeMux
}

// newAPI lays out the routes. Whatever serves them has to say who the caller
// is, as server.Require does.
func newAPI(s *store, accounts *identity.Provider, log *slog.Logger) *api {
	a := &api{store: s, accounts: accounts, log: log, mux: http.NewServeMux()}
	a.boardRoutes()
	a.cardRoutes()
	a.shareRoutes()
	a.todoRoutes()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(log, w, r, holdfast.NotFound.New())
	})
	return a
}

// read registers a call that changes nothing.
func (a *api) read(pattern string, do func(r *http.Request, user string) (any, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		user, err := caller(r.Context())
		if err == nil {
			var body any
			if body, err = do(r, user.ID); err == nil {
				answer(w, http.StatusOK, body)
				return
			}
		}
		refuse(a.log, w, r, err)
	})
}

// write registers a call that is a write. The command is what an id is used
// for, once: that of the socket's event where there is one.
func write[In any](a *api, pattern, command string, status int, do func(t *tx, r *http.Request, in In) (any, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		user, err := caller(r.Context())
		var in In
		var id string
		if err == nil {
			id, err = decode(w, r, &in)
		}
		if err != nil {
			refuse(a.log, w, r, err)
			return
		}
		body, err := a.store.do(r.Context(), call{command: command, by: user, id: id}, func(t *tx) (any, error) { return do(t, r, in) })
		if err != nil {
			refuse(a.log, w, r, err)
			return
		}
		answer(w, status, body)
	})
}

// none is the body of a call without one.
type none struct{}

func (a *api) boardRoutes() {
	a.read("GET /api/boards", func(r *http.Request, user string) (any, error) {
		boards, err := a.store.boards(r.Context(), user)
		return map[string]any{"boards": boards}, err
	})
	a.read("GET /api/boards/{board}", func(r *http.Request, user string) (any, error) {
		return a.store.board(r.Context(), r.PathValue("board"), user)
	})
	write(a, "POST /api/boards", "board:create", http.StatusCreated, func(t *tx, _ *http.Request, in titled) (any, error) {
		return t.createBoard(in)
	})
	write(a, "PATCH /api/boards/{board}", "board:update", http.StatusOK, func(t *tx, r *http.Request, in titled) (any, error) {
		return t.renameBoard(r.PathValue("board"), in)
	})
	write(a, "DELETE /api/boards/{board}", "board:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		return t.deleteBoard(r.PathValue("board"))
	})
}

func (a *api) cardRoutes() {
	write(a, "POST /api/boards/{board}/lists", "list:create", http.StatusCreated, func(t *tx, r *http.Request, in newList) (any, error) {
		in.Board = r.PathValue("board")
		return t.createList(in)
	})
	write(a, "PATCH /api/boards/{board}/lists/{list}", "list:update", http.StatusOK, func(t *tx, r *http.Request, in listEdit) (any, error) {
		in.Board, in.List = r.PathValue("board"), r.PathValue("list")
		return t.updateList(in)
	})
	write(a, "POST /api/boards/{board}/lists/{list}/move", "list:move", http.StatusOK, func(t *tx, r *http.Request, in listMove) (any, error) {
		in.Board, in.List = r.PathValue("board"), r.PathValue("list")
		return t.moveList(in)
	})
	write(a, "DELETE /api/boards/{board}/lists/{list}", "list:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		seen, err := version(r)
		if err != nil {
			return nil, err
		}
		return t.deleteList(listRef{Board: r.PathValue("board"), List: r.PathValue("list"), Version: seen})
	})
	write(a, "POST /api/boards/{board}/cards", "card:create", http.StatusCreated, func(t *tx, r *http.Request, in newCard) (any, error) {
		in.Board = r.PathValue("board")
		return t.createCard(in)
	})
	write(a, "PATCH /api/boards/{board}/cards/{card}", "card:update", http.StatusOK, func(t *tx, r *http.Request, in cardEdit) (any, error) {
		in.Board, in.Card = r.PathValue("board"), r.PathValue("card")
		return t.updateCard(in)
	})
	write(a, "POST /api/boards/{board}/cards/{card}/move", "card:move", http.StatusOK, func(t *tx, r *http.Request, in cardMove) (any, error) {
		in.Board, in.Card = r.PathValue("board"), r.PathValue("card")
		return t.moveCard(in)
	})
	write(a, "DELETE /api/boards/{board}/cards/{card}", "card:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		seen, err := version(r)
		if err != nil {
			return nil, err
		}
		return t.deleteCard(cardRef{Board: r.PathValue("board"), Card: r.PathValue("card"), Version: seen})
	})
}

func (a *api) todoRoutes() {
	a.read("GET /api/todos", func(r *http.Request, user string) (any, error) {
		return a.store.todos(r.Context(), user)
	})
	write(a, "POST /api/todos", "todo:create", http.StatusCreated, func(t *tx, _ *http.Request, in titled) (any, error) {
		return t.createTodo(in)
	})
	write(a, "PATCH /api/todos/{todo}", "todo:update", http.StatusOK, func(t *tx, r *http.Request, in todoEdit) (any, error) {
		return t.updateTodo(r.PathValue("todo"), in)
	})
	write(a, "DELETE /api/todos/{todo}", "todo:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		return t.deleteTodo(r.PathValue("todo"))
	})
}
