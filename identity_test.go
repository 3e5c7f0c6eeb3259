package holdfast_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

func TestIdentity(t *testing.T) {
	id := &holdfast.Identity{
		User: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"admin", "author"},
		Permissions: holdfast.Permissions{Actions: []string{"todo.*"}},
	}
	if !id.HasRole("guest", "author") || id.HasRole("guest") || id.HasRole() {
		t.Error("HasRole is wrong")
	}
	if !id.Can("todo.write") || id.Can("user.write") {
		t.Error("Can is wrong")
	}
	want := holdfast.User{ID: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"admin", "author"}}
	if diff := cmp.Diff(want, id.AsUser()); diff != "" {
		t.Error(diff)
	}
	text, err := json.Marshal(holdfast.User{ID: "u1"})
	if err != nil || string(text) != `{"id":"u1"}` {
		t.Errorf("%s, %v", text, err)
	}
}

func TestNobody(t *testing.T) {
	var id *holdfast.Identity
	if id.HasRole("admin") || id.Can("todo.write") || id.AsUser().ID != "" {
		t.Error("a nil identity may do something")
	}
}

func TestIdentityFrom(t *testing.T) {
	if id, ok := holdfast.IdentityFrom(t.Context()); ok || id != nil {
		t.Errorf("out of nothing: %v", id)
	}
	if id, ok := holdfast.IdentityFrom(holdfast.WithIdentity(t.Context(), nil)); ok || id != nil {
		t.Errorf("nil: %v, %v", id, ok)
	}
	want := &holdfast.Identity{User: "u1"}
	if id, ok := holdfast.IdentityFrom(holdfast.WithIdentity(t.Context(), want)); !ok || id != want {
		t.Errorf("%v, %v", id, ok)
	}
}
