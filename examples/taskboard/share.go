package main

import (
	"net/http"

	"github.com/holdfast-dev/holdfast"
)

// invited is the body of what makes somebody a member.
type invited struct {
	Email string `json:"email"`
	Role  Role   `json:"role"`
}

func (a *api) shareRoutes() {
	a.mux.HandleFunc("POST /api/boards/{board}/members", a.invite)
	write(a, "PATCH /api/boards/{board}/members/{user}", "member:update", http.StatusOK, func(t *tx, r *http.Request, in linkRole) (any, error) {
		return t.setRole(r.PathValue("board"), r.PathValue("user"), in.Role)
	})
	write(a, "DELETE /api/boards/{board}/members/{user}", "member:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		return t.removeMember(r.PathValue("board"), r.PathValue("user"))
	})
	write(a, "POST /api/boards/{board}/links", "link:create", http.StatusCreated, func(t *tx, r *http.Request, in linkRole) (any, error) {
		t.id = "" // the token is kept nowhere, so there is no answer to give again
		return t.createLink(r.PathValue("board"), in)
	})
	write(a, "DELETE /api/boards/{board}/links/{role}", "link:delete", http.StatusOK, func(t *tx, r *http.Request, _ none) (any, error) {
		return t.deleteLink(r.PathValue("board"), Role(r.PathValue("role")))
	})
	write(a, "POST /api/links", "link:open", http.StatusOK, func(t *tx, _ *http.Request, in linkToken) (any, error) {
		return t.openLink(in)
	})
}

// invite makes the account with an address a member. Only the owner of a board
// learns whether there is one.
func (a *api) invite(w http.ResponseWriter, r *http.Request) {
	body, err := a.inviteFrom(w, r)
	if err != nil {
		refuse(a.log, w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

func (a *api) inviteFrom(w http.ResponseWriter, r *http.Request) (any, error) {
	user, err := caller(r.Context())
	if err != nil {
		return nil, err
	}
	var in invited
	id, err := decode(w, r, &in)
	if err != nil {
		return nil, err
	}
	board := r.PathValue("board")
	role, err := a.store.role(r.Context(), board, user.ID)
	if err != nil {
		return nil, err
	}
	// The accounts are another database: they are asked before the
	// transaction, which checks the caller's role again.
	var guest holdfast.User
	if role == Owner {
		account, err := a.accounts.UserByEmail(r.Context(), in.Email)
		if holdfast.CodeOf(err) == holdfast.NotFound {
			return nil, holdfast.Errorf(holdfast.NotFound, "Nobody has an account with this address; a link works for everybody")
		}
		if err != nil {
			return nil, err
		}
		guest = account.AsUser()
	}
	return a.store.do(r.Context(), call{command: "member:create", by: user, id: id}, func(t *tx) (any, error) {
		return t.addMember(board, guest, in.Role)
	})
}
