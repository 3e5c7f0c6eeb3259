package holdfast_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestVerbs(t *testing.T) {
	for _, test := range []struct {
		verb holdfast.Verb
		text string
	}{
		{0, ""},
		{holdfast.VerbJoin, "join"},
		{holdfast.VerbPublish, "publish"},
		{holdfast.VerbPresence, "presence"},
		{holdfast.VerbJoin | holdfast.VerbPresence, "join,presence"},
		{holdfast.AllVerbs, "join,publish,presence"},
	} {
		if got := test.verb.String(); got != test.text {
			t.Errorf("%d is %q, want %q", test.verb, got, test.text)
		}
		var sum holdfast.Verb
		for _, name := range test.verb.Names() {
			v, err := holdfast.ParseVerb(name)
			if err != nil {
				t.Error(err)
			}
			sum |= v
		}
		if sum != test.verb {
			t.Errorf("%v reads back as %v", test.verb, sum)
		}
	}
	for _, name := range []string{"", "Join", "join ", "*", "join,publish"} {
		if v, err := holdfast.ParseVerb(name); v != 0 || !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("ParseVerb(%q) = %v, %v", name, v, err)
		}
	}
	if !holdfast.AllVerbs.Has(holdfast.VerbJoin) || holdfast.VerbJoin.Has(holdfast.AllVerbs) || !holdfast.VerbJoin.Has(0) {
		t.Error("Has is wrong")
	}
}

func TestCan(t *testing.T) {
	for _, test := range []struct {
		permission string
		yes, no    []string
	}{
		{"todo.write", []string{"todo.write"}, []string{"todo", "todo.read", "todo.write.all", "todo.write.", ".todo.write", "Todo.write", "todo..write", ""}},
		{"*", []string{"a", "a.b", "a.b.c"}, []string{"", ".", "a.", ".a", "a..b"}},
		{"admin.*", []string{"admin.x", "admin.x.y", "admin.*"}, []string{"admin", "admin.", "administrator.x", "x.admin"}},
		{"*.read", []string{"todo.read", "*.read"}, []string{"read", "a.b.read", "todo.readall", ".read"}},
		{"todo.*.read", []string{"todo.1.read"}, []string{"todo.read", "todo.1.2.read", "todo..read", "todo.1.read.x"}},
		{"*.*", []string{"a.b", "a.b.c"}, []string{"a"}},
		{"a.*.*", []string{"a.b.c", "a.b.c.d"}, []string{"a.b", "a"}},
		{"todo.w*", []string{"todo.w*"}, []string{"todo.write"}},
		{"**", []string{"**"}, []string{"a", "a.b"}},
		{"", nil, []string{"", "a"}},
		{"todo.", nil, []string{"todo", "todo.", "todo.x"}},
		{"größe.ändern", []string{"größe.ändern"}, []string{"größe.andern"}},
	} {
		p := holdfast.Permissions{Actions: []string{"other.thing", test.permission}}
		for _, action := range test.yes {
			if !p.Can(action) {
				t.Errorf("%q does not permit %q", test.permission, action)
			}
		}
		for _, action := range test.no {
			if p.Can(action) {
				t.Errorf("%q permits %q", test.permission, action)
			}
		}
	}
}

func TestZeroPermissions(t *testing.T) {
	var p holdfast.Permissions
	for _, name := range []string{"", "a", "*", "**"} {
		if p.Can(name) || p.Room(name) != 0 {
			t.Errorf("nothing permits %q", name)
		}
	}
}

func TestPermissionsRoom(t *testing.T) {
	p := holdfast.Permissions{Rooms: holdfast.MustRoomList("board-*")}
	if p.Room("board-7") != holdfast.AllVerbs || p.Room("other") != 0 {
		t.Error("Room is wrong")
	}
}

func BenchmarkCan(b *testing.B) {
	p := holdfast.Permissions{Actions: slices.Repeat([]string{"todo.*.read", "user.write", "admin.*"}, 10)}
	b.ReportAllocs()
	for b.Loop() {
		p.Can("billing.invoice.write")
	}
}
