package httpjson_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

type form struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	Count    int    `json:"count"`
	Inner    struct {
		Any json.RawMessage `json:"any"`
	} `json:"inner"`
}

func decode(body, contentType string, limit int64) (form, error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	var f form
	err := httpjson.Decode(httptest.NewRecorder(), r, limit, &f)
	return f, err
}

func TestDecode(t *testing.T) {
	const kind = "application/json"
	deep := func(n int) string {
		return `{"inner":{"any":` + strings.Repeat("[", n-2) + strings.Repeat("]", n-2) + `}}`
	}
	for _, test := range []struct {
		name, body, kind string
		want             holdfast.Code
	}{
		{"plain", `{"email":"a","count":1}`, kind, ""},
		{"with parameter", `{}`, "application/json; charset=utf-8", ""},
		{"in another case", `{}`, "Application/JSON", ""},
		{"space around", " \n{}\t", kind, ""},
		{"unknown field", `{"other":1}`, kind, ""},
		{"same key in two objects", `{"email":"a","inner":{"email":"b"}}`, kind, ""},
		{"depth 32", deep(32), kind, ""},

		{"no content type", `{}`, "", holdfast.InvalidArgument},
		{"form", `{}`, "application/x-www-form-urlencoded", holdfast.InvalidArgument},
		{"plain text", `{}`, "text/plain", holdfast.InvalidArgument},
		{"text with json in it", `{}`, "text/plain; application/json", holdfast.InvalidArgument},
		{"longer name", `{}`, "application/json-seq", holdfast.InvalidArgument},
		{"bad parameter", `{}`, "application/json; charset", holdfast.InvalidArgument},

		{"empty", ``, kind, holdfast.InvalidArgument},
		{"space", ` `, kind, holdfast.InvalidArgument},
		{"cut", `{"email":"a"`, kind, holdfast.InvalidArgument},
		{"two values", `{}{}`, kind, holdfast.InvalidArgument},
		{"trailing data", `{} x`, kind, holdfast.InvalidArgument},
		{"trailing comma", `{"email":"a",}`, kind, holdfast.InvalidArgument},
		{"comment", `{/**/}`, kind, holdfast.InvalidArgument},
		{"key twice", `{"email":"a","email":"b"}`, kind, holdfast.InvalidArgument},
		{"key twice, escaped", `{"email":"a","\u0065mail":"b"}`, kind, holdfast.InvalidArgument},
		{"key in two cases", `{"email":"a","Email":"b"}`, kind, holdfast.InvalidArgument},
		{"key twice inside", `{"inner":{"any":1,"ANY":2}}`, kind, holdfast.InvalidArgument},
		{"depth 33", deep(33), kind, holdfast.InvalidArgument},
		{"very deep", strings.Repeat("[", 900), kind, holdfast.InvalidArgument},
		{"not UTF-8", "{\"email\":\"\xff\"}", kind, holdfast.InvalidArgument},
		{"wrong type", `{"password":["canary-5f1c"]}`, kind, holdfast.InvalidArgument},
		{"wrong type of number", `{"count":"canary-5f1c"}`, kind, holdfast.InvalidArgument},
		{"number too large", `{"count":99999999999999999999}`, kind, holdfast.InvalidArgument},
		{"list", `[]`, kind, holdfast.InvalidArgument},

		{"as long as allowed", `"` + strings.Repeat("a", 998) + `"`, kind, holdfast.InvalidArgument},
		{"too long", `{"email":"` + strings.Repeat("a", 1000) + `"}`, kind, holdfast.MessageTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := decode(test.body, test.kind, 1000)
			if got := holdfast.CodeOf(err); got != test.want {
				t.Fatalf("code %q, want %q: %v", got, test.want, err)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the message tells a value: %v", err)
			}
		})
	}
	f, err := decode(`{"email":"a@example.org","count":7}`, kind, 100)
	if err != nil || f.Email != "a@example.org" || f.Count != 7 {
		t.Errorf("%+v, %v", f, err)
	}
}

// A body over the limit is refused whether it declares its length or not. Some
// of the rest is read, so that the client can finish sending and see the
// answer, and no more than that.
func TestDecodeOverTheLimit(t *testing.T) {
	for _, declared := range []int64{1 << 40, -1} {
		body := new(endlessReader)
		r := httptest.NewRequest("POST", "/", body)
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = declared
		var f form
		if err := httpjson.Decode(httptest.NewRecorder(), r, 1000, &f); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Errorf("declared %d: %v", declared, err)
		}
		if body.read < 256<<10 || body.read > 2<<20 {
			t.Errorf("declared %d: read %d bytes", declared, body.read)
		}
	}
}

type endlessReader struct{ read int }

func (r *endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	r.read += len(p)
	return len(p), nil
}

func TestDecodeBrokenBody(t *testing.T) {
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(`{"email":`), brokenReader{}))
	r.Header.Set("Content-Type", "application/json")
	var f form
	err := httpjson.Decode(httptest.NewRecorder(), r, 1000, &f)
	if !errors.Is(err, holdfast.InvalidArgument) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestDecodeEncodedBody(t *testing.T) {
	for encoding, ok := range map[string]bool{"identity": true, "gzip": false, "br": false, "deflate, gzip": false} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(`{}`))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {encoding}}
		var f form
		if err := httpjson.Decode(httptest.NewRecorder(), r, 1000, &f); (err == nil) != ok {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

// fussy refuses in its own words while it is decoded.
type fussy struct{}

func (*fussy) UnmarshalJSON([]byte) error { return holdfast.Errorf(holdfast.Forbidden, "not this") }

func TestDecodeKeepsTheTypesOwnError(t *testing.T) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(`{}`))
	r.Header.Set("Content-Type", "application/json")
	if err := httpjson.Decode(httptest.NewRecorder(), r, 1000, &fussy{}); !errors.Is(err, holdfast.Forbidden) {
		t.Errorf("%v", err)
	}
}
