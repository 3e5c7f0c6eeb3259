package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func header(values ...string) http.Header { return http.Header{"Authorization": values} }

func TestBearerToken(t *testing.T) {
	payload := func(text string) json.RawMessage { return json.RawMessage(text) }
	for _, test := range []struct {
		name string
		c    Credential
		want string
		bad  bool
	}{
		{"nothing", Credential{}, "", false},
		{"chosen", Credential{Token: "t", Payload: payload(`{"token":"p"}`), Header: header("Bearer h")}, "t", false},
		{"payload first", Credential{Payload: payload(`{"token":"p"}`), Header: header("Bearer h")}, "p", false},
		{"payload with more", Credential{Payload: payload(` { "a" : {"token":"x"} , "token" : "p\u0041" } `)}, "pA", false},
		{"header", Credential{Header: header("Bearer h")}, "h", false},
		{"header in lower case", Credential{Header: header("bearer h")}, "h", false},
		{"header with space", Credential{Header: header(" Bearer   h ")}, "h", false},
		{"payload without token", Credential{Payload: payload(`{"user":"x"}`), Header: header("Bearer h")}, "h", false},
		{"payload with null", Credential{Payload: payload(`{"token":null}`), Header: header("Bearer h")}, "h", false},
		{"payload with empty token", Credential{Payload: payload(`{"token":""}`), Header: header("Bearer h")}, "h", false},
		{"payload no object", Credential{Payload: payload(`"token"`), Header: header("Bearer h")}, "h", false},
		{"payload in another case", Credential{Payload: payload(`{"Token":"p"}`)}, "", false},
		{"other scheme", Credential{Header: header("Basic dTpw")}, "", false},
		{"other scheme alone", Credential{Header: header("Bearerx h")}, "", false},
		{"empty header", Credential{Header: header("")}, "", false},

		// What is there decides, and is not replaced by what comes later.
		{"payload of the wrong type", Credential{Payload: payload(`{"token":7}`), Header: header("Bearer h")}, "", true},
		{"payload of an object", Credential{Payload: payload(`{"token":{"t":"p"}}`), Header: header("Bearer h")}, "", true},
		{"payload with two", Credential{Payload: payload(`{"token":"p","token":"q"}`), Header: header("Bearer h")}, "", true},
		{"payload with two, one null", Credential{Payload: payload(`{"token":"p","token":null}`)}, "", true},
		{"payload broken", Credential{Payload: payload(`{"token":"p"`), Header: header("Bearer h")}, "", true},
		{"payload not UTF-8", Credential{Payload: payload("{\"token\":\"p\xff\"}")}, "", true},
		{"payload too deep", Credential{Payload: payload(`{"token":"p","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`)}, "", true},
		{"Bearer of nothing", Credential{Header: header("Bearer")}, "", true},
		{"Bearer of space", Credential{Header: header("Bearer  ")}, "", true},
		{"two words", Credential{Header: header("Bearer h i")}, "", true},
		{"two tokens", Credential{Header: header("Bearer h,Bearer i")}, "", true},
		{"two headers", Credential{Header: header("Bearer h", "Bearer i")}, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.c.BearerToken()
			if got != test.want && !test.bad || (err != nil) != test.bad {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil {
				wantRefused(t, nil, err, holdfast.Unauthenticated, "")
			}
		})
	}
}

func TestQueryTokenComesLast(t *testing.T) {
	for _, test := range []struct {
		c    Credential
		want string
	}{
		{Credential{}, "q"},
		{Credential{Header: header("Basic dTpw")}, "q"},
		{Credential{Header: header("Bearer h")}, "h"},
		{Credential{Payload: json.RawMessage(`{"token":"p"}`)}, "p"},
		{Credential{Token: "t"}, "t"},
		{Credential{Header: header("Bearer")}, ""},
		{Credential{Payload: json.RawMessage(`{"token":7}`)}, ""},
	} {
		if got, _ := test.c.WithQueryToken("q").BearerToken(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	j := newJWT(t, JWTConfig{Secret: testSecret})
	token := mint(t, SigningKey{Secret: testSecret}, Claims{User: "ada"})
	r := httptest.NewRequest("GET", "/", nil)
	id, err := j.Authenticate(t.Context(), FromRequest(r))
	wantRefused(t, id, err, holdfast.Unauthenticated, "")
	if holdfast.AsError(err).Message != "Unauthorized" {
		t.Errorf("without a credential: %v", err)
	}

	r.Header.Set("Authorization", "Bearer "+token)
	c := FromRequest(r)
	if id, err := j.Authenticate(t.Context(), c); err != nil || id.User != "ada" || c.RemoteAddr != r.RemoteAddr {
		t.Errorf("by header: %+v, %v", id, err)
	}
	c.Payload = json.RawMessage(`{"token":"` + changed(token, 50) + `"}`)
	id, err = j.Authenticate(t.Context(), c)
	wantRefused(t, id, err, holdfast.Unauthenticated, token)
	c.Payload = json.RawMessage(`{"token":{}}`)
	id, err = j.Authenticate(t.Context(), c)
	wantRefused(t, id, err, holdfast.Unauthenticated, token)
}

func TestFunc(t *testing.T) {
	var a Authenticator = Func(func(ctx context.Context, c Credential) (*holdfast.Identity, error) {
		if string(c.Payload) != `"open sesame"` {
			return nil, holdfast.Unauthenticated.New()
		}
		return &holdfast.Identity{User: "ali"}, nil
	})
	if id, err := a.Authenticate(t.Context(), Credential{Payload: json.RawMessage(`"open sesame"`)}); err != nil || id.User != "ali" {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := a.Authenticate(t.Context(), Credential{}); !errors.Is(err, holdfast.Unauthenticated) {
		t.Errorf("%v", err)
	}
}

func TestMembers(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                ``,
		` { } `:                             ``,
		`{"a":1}`:                           `a=1;`,
		`{"a":1,"b":[1,{"c":2}],"a":"x,}"}`: `a=1;b=[1,{"c":2}];a="x,}";`,
		" {\n\"a\" : { \"b\" : null } ,\t\"\\u0063\\\"\" : -1.5e3 } ": `a={ "b" : null };c"=-1.5e3;`,
		`{"":""}`: `="";`,
		`[1]`:     ``,
		`"a"`:     ``,
		`1`:       ``,
		``:        ``,
		// Not valid, and not to be given to it; it must end all the same.
		`{`:       ``,
		`{"a`:     ``,
		`{"a"`:    ``,
		`{"a":`:   ``,
		`{"a":1`:  `a=1;`,
		`{"a":[`:  ``,
		`{"a":1,`: `a=1;`,
		`{,}`:     ``,
	} {
		var got strings.Builder
		for name, value := range members([]byte(text)) {
			got.WriteString(name + "=" + string(value) + ";")
		}
		if got.String() != want {
			t.Errorf("%q has %q, want %q", text, got.String(), want)
		}
	}
	for range members([]byte(`{"a":1,"b":2}`)) {
		break // stops in the middle
	}
}
