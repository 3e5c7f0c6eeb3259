package wiretest

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse("a.txt", "# comment\ncase: one\ntext: a: b \nempty:\nx-json: \"\\n\"\n# inside\nx-hex: 01 fF\n\n\ncase: two\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Case{
		{Name: "one", Place: "a.txt:2", Fields: []Field{{"text", "a: b "}, {"empty", ""}, {"x", "\n"}, {"x", "\x01\xff"}}},
		{Name: "two", Place: "a.txt:10"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if all := got[0].All("x"); len(all) != 2 {
		t.Errorf("All = %q", all)
	}
	if value, ok := got[0].Get("y"); ok {
		t.Errorf("Get = %q", value)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"text", "text: outside", "case: a\ncase: b", "case: a\n\ncase: a", "case: a\nx-json: a", "case: a\nx-hex: 0", "case: a\n\nx: 1",
	} {
		if cases, err := parse("a.txt", text); err == nil {
			t.Errorf("%q gives %+v", text, cases)
		}
	}
}
