package jsonscan

import (
	"encoding/json"
	"testing"
)

func TestField(t *testing.T) {
	for _, c := range []struct{ data, name, want string }{
		{`{"id":1}`, "id", `1`},
		{` { "a" : [{"id":2}] , "id" : "x y" } `, "id", `"x y"`},
		{`{"a":{"id":2},"id":-1.5e3}`, "id", `-1.5e3`},
		{`{"i\u0064":true}`, "id", `true`},
		{`{"id":1,"id":2}`, "id", `1`},
		{`{"a":"\"id\":3","id":{"b":[]}}`, "id", `{"b":[]}`},
		{`{"ID":1}`, "id", ``},
		{`{}`, "id", ``},
		{`[]`, "id", ``},
		{`"id"`, "id", ``},
		{`null`, "id", ``},
		{``, "id", ``},
		{`{"":1}`, "", `1`},
	} {
		if got := string(Field([]byte(c.data), c.name)); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.data, got, c.want)
		}
	}
	data := []byte(`{"x":10,"y":20,"id":"alice"}`)
	if n := testing.AllocsPerRun(100, func() { Field(data, "id") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzField finds what encoding/json finds, where keys are there once, and
// takes what is not JSON without harm.
func FuzzField(f *testing.F) {
	for _, seed := range []string{`{"id":1}`, `{"a":[1,{"id":2}],"id":"x"}`, `{"id"`, `{"id":`, `{"id":1,`, `{"a":"\\","id":2}`, `{,}`, `{"id":1,"id":2}`} {
		f.Add([]byte(seed), "id")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		got := Field(data, name)
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil || object == nil || Check(data, Limits{UniqueKeys: true}) != nil {
			return
		}
		if string(got) != string(object[name]) {
			t.Errorf("%q of %q: %q, want %q", name, data, got, object[name])
		}
	})
}
