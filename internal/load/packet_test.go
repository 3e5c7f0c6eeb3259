package load

import (
	"testing"

	"github.com/holdfast-dev/holdfast/socketio"
)

func TestParsePacket(t *testing.T) {
	for text, want := range map[string]struct {
		kind      byte
		namespace string
		id        int
		data      string
	}{
		`0{"sid":"x"}`:       {sioConnect, "/", -1, `{"sid":"x"}`},
		`0`:                  {sioConnect, "/", -1, ``},
		`0/x,{"sid":"x"}`:    {sioConnect, "/x", -1, `{"sid":"x"}`},
		`4/x,{"message":""}`: {sioConnectError, "/x", -1, `{"message":""}`},
		`1`:                  {sioDisconnect, "/", -1, ``},
		`1/x`:                {sioDisconnect, "/x", -1, ``},
		`2["a",1]`:           {sioEvent, "/", -1, `["a",1]`},
		`20["a"]`:            {sioEvent, "/", 0, `["a"]`},
		`2/x,12["a"]`:        {sioEvent, "/x", 12, `["a"]`},
		`32147483647[]`:      {sioAck, "/", maxAckID, `[]`},
		`51-/x,3["a",{}]`:    {sioBinaryEvent, "/x", 3, `["a",{}]`},
		`61-3[]`:             {sioBinaryAck, "/", 3, `[]`},
	} {
		p, ok := parsePacket([]byte(text))
		if !ok || p.kind != want.kind || string(p.namespace) != want.namespace || p.id != want.id || string(p.data) != want.data {
			t.Errorf("%s: %c %s %d %s (%v)", text, p.kind, p.namespace, p.id, p.data, ok)
		}
	}
	for _, text := range []string{"", "7", "x", "51", "32147483648[]", "399999999999999999999[]"} {
		if p, ok := parsePacket([]byte(text)); ok {
			t.Errorf("%q is taken as %+v", text, p)
		}
	}
}

// FuzzParsePacket compares with the codec of the server, which is stricter.
func FuzzParsePacket(f *testing.F) {
	for _, text := range []string{`0{"sid":"x"}`, `2/x,12["a",{}]`, `31[{"ok":true}]`, `44{"message":"x"}`, `1/x`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parsePacket([]byte(text))
		var d socketio.Decoder
		want, whole, err := d.Text([]byte(text))
		if err != nil || !whole {
			return
		}
		id := -1
		if want.HasID {
			id = int(want.ID)
		}
		if id > maxAckID {
			return
		}
		if !ok || got.kind != byte(want.Type) || got.id != id || string(got.data) != string(want.Data) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	})
}
