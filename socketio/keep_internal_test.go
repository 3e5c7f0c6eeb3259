package socketio

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// A name that no handler can have is not kept, or a peer that sends one long
// name holds as much memory as its largest message, for as long as it is
// connected.
func TestLongNamesAreNotKept(t *testing.T) {
	var d Decoder
	for _, name := range []string{"short", strings.Repeat("n", holdfast.MaxEventName), strings.Repeat("n", 900_000), "short"} {
		p, ok, err := d.Text([]byte(`2["` + name + `",1]`))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		got, args, err := d.Event(p)
		if err != nil || got != name || args.Len() != 1 {
			t.Errorf("event is %.20q with %d arguments, %v", got, args.Len(), err)
		}
		if len(d.event) > holdfast.MaxEventName {
			t.Errorf("%d bytes of a name are kept", len(d.event))
		}
	}
	p, _, _ := d.Text([]byte(`2["short"]`))
	if n := testing.AllocsPerRun(100, func() { _, _, _ = d.Event(p) }); n != 0 {
		t.Errorf("the name of the event before costs %v allocations", n)
	}
}
