package jsonws_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
)

// Objects of any size may not have a key twice, and need time that grows with
// their size alone.
func TestManyKeys(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 10, 100, 20_000} {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprintf(`"k%d":{}`, i))
		}
		keys := strings.Join(members, ",")
		for text, good := range map[string]bool{
			`{"type":"ping",` + keys + `}`:                                       true,
			`{"type":"ping",` + keys + `,"k0":1}`:                                false,
			`{"type":"ping",` + keys + fmt.Sprintf(`,"\u006b%d":1}`, n-1):        false,
			`{"type":"event","data":[0,{` + keys + `}]}`:                         true,
			`{"type":"event","data":[0,{` + keys + `,"k0":1}]}`:                  false,
			`{"type":"event","data":[{` + keys + fmt.Sprintf(`,"k%d":1}]}`, n-1): false,
			`{"type":"event","data":[{` + keys + `},{` + keys + `}],"x":"k0"}`:   true,
		} {
			if _, err := jsonws.Parse([]byte(text)); (err == nil) != good {
				t.Errorf("%d keys, %.60s…: %v", n, text, err)
			}
		}
	}
}

// What is wrong is told without any of the text, which may hold secrets.
func TestErrorsHoldNoText(t *testing.T) {
	const canary = "canary-5f1c"
	for _, text := range []string{
		canary, `"` + canary + `"`, `{"type":"` + canary + `"}`, `{"` + canary + `":1,"` + canary + `":1}`,
		`{"type":"auth","token":["` + canary + `"]}`, `{"type":"ping","ref":["` + canary + `"]}`,
		`{"type":"join","since":"` + canary + `"}`, `{"type":"join","since":{"epoch":" ` + canary + `","offset":1}}`,
		`{"type":"join","room":"` + canary + `","boardId":"x"}`, `{"type":"auth","token":"` + canary + `"`,
	} {
		m, err := jsonws.Parse([]byte(text))
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		for cause := error(err); cause != nil; cause = holdfastCause(cause) {
			if strings.Contains(cause.Error(), canary) {
				t.Errorf("%s: %v", text, cause)
			}
		}
		if m.Token != "" || m.Room != "" {
			t.Errorf("%s: %+v", text, m)
		}
	}
}

func holdfastCause(err error) error {
	if e, ok := err.(*holdfast.Error); ok {
		return e.Err
	}
	return nil
}

// The limit of a ref is one of its text, not of how it is written.
func TestRefOfEscapes(t *testing.T) {
	for n, good := range map[int]bool{127: true, 128: true, 129: false, 1000: false} {
		ref := `"` + strings.Repeat(`\u0061`, n) + `"`
		m, err := jsonws.Parse([]byte(`{"type":"ping","ref":` + ref + `}`))
		if (err == nil) != good || good && string(m.Ref) != ref {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := jsonws.Parse([]byte(`{"type":"ping","ref":` + strings.Repeat("1", 1000) + `}`)); err == nil {
		t.Error("a very long number")
	}
}

// Data and Ref alias the text, and appending to them does not reach what
// follows.
func TestAliases(t *testing.T) {
	text := []byte(`{"type":"event","event":"e","data":[1],"ref":12}`)
	m, err := jsonws.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(m.Data, "#####"...)
	_ = append(m.Ref, "#####"...)
	if !json.Valid(text) {
		t.Errorf("%s", text)
	}
	text[strings.IndexByte(string(text), '1')] = '7'
	if string(m.Data) != "[7]" || m.Event != "e" {
		t.Errorf("%+v", m)
	}
}

func TestAppendOfNilErrors(t *testing.T) {
	for got, want := range map[string]string{
		string(jsonws.AppendError(nil, nil, nil)):      `{"error":"Internal error","code":"INTERNAL"}`,
		string(jsonws.AppendAuthClosing(nil, nil)):     `{"type":"auth_closing","code":"INTERNAL","message":"Internal error"}`,
		string(jsonws.AppendRoomLeft(nil, "r", nil)):   `{"type":"room_left","room":"r","code":"INTERNAL","message":"Internal error"}`,
		string(jsonws.AppendOK([]byte("x"), nil, nil)): `x{"type":"ok","data":null}`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
