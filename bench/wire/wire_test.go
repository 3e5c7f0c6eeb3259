package wire

import "testing"

// TestParse reads the texts that "holdfast bench" sends, and broken ones.
func TestParse(t *testing.T) {
	for text, want := range map[string]struct {
		kind                 Kind
		room, event, data    string
		id                   string
		published, confirmed string
	}{
		`40`:                {kind: Connect},
		`40{"token":"a.b"}`: {kind: Connect},
		`3`:                 {},
		``:                  {},
		`42`:                {},
		`42["other",1]`:     {},
		`4217["echo",{"a":"]"}]`: {
			kind: Echo, id: "17", data: `{"a":"]"}`, confirmed: `4317[{"ok":true}]`,
		},
		`420["room:join",{"room":"bench-1"}]`: {
			kind: Join, id: "0", room: "bench-1", confirmed: `430[{"ok":true}]`,
		},
		`425["room:publish",{"room":"r","event":"bench","data":{"b":"1","pad":"}"}}]`: {
			kind: Publish, id: "5", room: "r", event: `"bench"`, data: `{"b":"1","pad":"}"}`,
			published: `42["bench",{"b":"1","pad":"}"}]`, confirmed: `435[{"ok":true}]`,
		},
		`425["room:publish",{"room":"r","event":"bench"}]`: {},
		`420["room:join",{"room":"r`:                       {},
		`420["room:join",{"room":"r]`:                      {},
	} {
		r := Parse([]byte(text))
		if r.Kind != want.kind {
			t.Errorf("%s: kind %d, want %d", text, r.Kind, want.kind)
			continue
		}
		if r.Kind == Other || r.Kind == Connect {
			continue
		}
		if string(r.ID) != want.id || string(r.Room) != want.room || string(r.Event) != want.event || string(r.Data) != want.data {
			t.Errorf("%s: id %q, room %q, event %q, data %q", text, r.ID, r.Room, r.Event, r.Data)
		}
		if got := string(AppendAck(nil, r, []byte(OK))); got != want.confirmed {
			t.Errorf("%s: acknowledged with %s", text, got)
		}
		if got := string(AppendEvent(nil, r)); want.published != "" && got != want.published {
			t.Errorf("%s: published as %s", text, got)
		}
	}
}
