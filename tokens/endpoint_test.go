package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestEndpointRequests(t *testing.T) {
	old := Session{Access: "a", Refresh: "r"}
	for name, test := range map[string]struct {
		cfg  EndpointConfig
		out  bool // SignOut
		old  Session
		want string
	}{
		"refresh":         {EndpointConfig{}, false, old, `POST /api/auth/refresh "" application/json {"refreshToken":"r"}`},
		"without a token": {EndpointConfig{}, false, Session{Access: "a"}, `POST /api/auth/refresh "" `},
		"GET":             {EndpointConfig{Method: "GET"}, false, old, `GET /api/auth/refresh "" `},
		"another body":    {EndpointConfig{Body: func(s Session) (any, error) { return []string{s.Refresh}, nil }}, false, old, `POST /api/auth/refresh "" application/json ["r"]`},
		"a form": {EndpointConfig{Body: func(s Session) (any, error) {
			return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.Refresh + "&"}}, nil
		}}, false, old, `POST /api/auth/refresh "" application/x-www-form-urlencoded grant_type=refresh_token&refresh_token=r%26`},
		"no body":           {EndpointConfig{Body: func(s Session) (any, error) { return nil, nil }}, false, old, `POST /api/auth/refresh "" `},
		"headers":           {EndpointConfig{Header: http.Header{"authorization": {"Key k"}}}, false, old, `POST /api/auth/refresh "Key k" application/json {"refreshToken":"r"}`},
		"prepared":          {EndpointConfig{Prepare: func(r *http.Request, s Session) error { r.Header.Set("Authorization", s.Access); return nil }}, false, old, `POST /api/auth/refresh "a" application/json {"refreshToken":"r"}`},
		"sign-out":          {EndpointConfig{SignOutURL: "https://rt.example.com/out"}, true, old, `POST /out "Bearer a" application/json {"refreshToken":"r"}`},
		"sign-out, GET":     {EndpointConfig{SignOutURL: "https://rt.example.com/out", Method: "GET"}, true, old, `POST /out "Bearer a" application/json {"refreshToken":"r"}`},
		"sign-out, nowhere": {EndpointConfig{}, true, old, ""},
	} {
		var got string
		e := endpoint(t, test.cfg, func(req *http.Request) (int, string) {
			var body []byte
			if req.Body != nil {
				body, _ = io.ReadAll(req.Body)
			}
			got = strings.TrimSuffix(fmt.Sprintf("%s %s %q %s %s", req.Method, req.URL.Path, req.Header.Get("Authorization"), req.Header.Get("Content-Type"), body), " ")
			return 200, `{"accessToken":"b"}`
		})
		var err error
		if test.out {
			err = e.SignOut(t.Context(), test.old)
		} else {
			_, err = e.Refresh(t.Context(), test.old)
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %s, want %s; %v", name, got, test.want, err)
		}
	}
}

func TestL10AnswersOfAnEndpoint(t *testing.T) {
	const end = 1767226500
	date := http.Header{"Date": {time.Unix(end-600, 0).UTC().Format(http.TimeFormat)}}
	for text, want := range map[string]struct {
		lifetime time.Duration
		expires  int64
	}{
		`{"accessToken":"a","expiresIn":900,"expiresAt":1767226500000}`:         {900 * time.Second, end},
		`{"access_token":"a","expires_in":0.25}`:                                {250 * time.Millisecond, 0},
		`{"token":"a","expiresIn":3153600000}`:                                  {100 * 365 * 24 * time.Hour, 0}, // a century
		`{"token":"a","expiresIn":1e300}`:                                       {maxLifetime, 0},
		`{"accessToken":"a","expiresAt":1767226500000}`:                         {600 * time.Second, end}, // by the answer's Date
		`{"accessToken":"a","expiresAt":1767220000000}`:                         {0, 1767220000},
		`{"accessToken":"a","expiresAt":1e300,"expiresIn":-5}`:                  {0, 0},
		`{"accessToken":"a","expiresAt":253402300799000,"expiresIn":1}`:         {time.Second, maxExpiry},
		`{"accessToken":"a","expiresAt":253402300800000,"expiresIn":1}`:         {time.Second, 0},
		`{"accessToken":"` + jwt(`{"exp":1767226500}`) + `"}`:                   {600 * time.Second, 0},
		`{"accessToken":"` + jwt(`{"exp":1767226500,"iat":1767226440}`) + `"}`:  {0, 0}, // left to the claims
		`{"accessToken":"` + jwt(`{"exp":1767226500}`) + `","expiresIn":120}`:   {120 * time.Second, 0},
		`{"accessToken":"a","expiresIn":[900],"user":"ann","refreshToken":"r"}`: {0, 0},
		`{"access_token":"a","expires_in":"3600"}`:                              {time.Hour, 0}, // as some OAuth servers write it
		`{"accessToken":"a","expiresIn":" 7.5","expiresAt":"1767226500000"}`:    {7500 * time.Millisecond, end},
		`{"accessToken":"a","expiresIn":"soon","expiresAt":null}`:               {0, 0},
		`{"accessToken":"a","expiresIn":"Inf","expires_in":"NaN"}`:              {0, 0},
	} {
		s, err := parseSession(&http.Response{Header: date}, []byte(text))
		if err != nil || s.Access == "" || s.Lifetime != want.lifetime || want.expires == 0 && !s.Expires.IsZero() || want.expires != 0 && s.Expires.Unix() != want.expires {
			t.Errorf("%s: %v %v %v", text, s.Lifetime, s.Expires, err)
		}
	}
}

func TestEndpointErrors(t *testing.T) {
	for _, cfg := range []EndpointConfig{{}, {URL: "/api"}, {URL: "ftp://a.example.com/"}, {URL: "https://a.example.com/", Method: "PUT"}, {URL: "https://a.example.com/", SignOutURL: "x"}, {URL: "https://a b/"}} {
		if _, err := NewEndpoint(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
	fails := errors.New("no")
	for name, cfg := range map[string]EndpointConfig{
		"body":    {Body: func(Session) (any, error) { return nil, fails }},
		"prepare": {Prepare: func(*http.Request, Session) error { return fails }},
		"parse":   {Parse: func(*http.Response, []byte) (Session, error) { return Session{}, fails }},
	} {
		e := endpoint(t, cfg, func(*http.Request) (int, string) { return 200, "{}" })
		if _, err := e.Refresh(t.Context(), Session{}); !errors.Is(err, fails) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := endpoint(t, EndpointConfig{SignOutURL: "https://rt.example.com/out"}, func(*http.Request) (int, string) { return 200, strings.Repeat(" ", maxAnswer+1) })
	if _, err := e.Refresh(t.Context(), Session{}); err == nil || Final(err) {
		t.Error(err)
	}
	for status, ok := range map[int]bool{204: true, 401: true, 400: true, 500: false, 404: false} {
		e := endpoint(t, EndpointConfig{SignOutURL: "https://rt.example.com/out"}, func(*http.Request) (int, string) { return status, "" })
		if err := e.SignOut(t.Context(), Session{Access: "a"}); (err == nil) != ok {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// The refresh token is sent nowhere else, and a Retry-After counts.
func TestEndpointOverTheNetwork(t *testing.T) {
	away := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { away++ }))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/busy":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"accessToken": "b", "user": holdfast.User{ID: "ann"}})
		}
	}))
	defer srv.Close()
	client := srv.Client()
	defer client.CloseIdleConnections()
	for path, check := range map[string]func(Session, error) bool{
		"/redirect": func(_ Session, err error) bool { return err != nil && !Final(err) && away == 0 },
		"/busy": func(_ Session, err error) bool {
			e, ok := errors.AsType[*holdfast.Error](err)
			return ok && e.RetryAfter == 7*time.Second && !Final(err)
		},
		"/good": func(s Session, err error) bool { return err == nil && s.User.ID == "ann" && s.Access == "b" },
	} {
		e, err := NewEndpoint(EndpointConfig{URL: srv.URL + path, HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := e.Refresh(t.Context(), Session{Refresh: "r"}); !check(s, err) {
			t.Errorf("%s: %v %v", path, s, err)
		}
	}
}

// An answer of exactly the bound is read, and none of a byte more.
func TestEndpointLargestAnswer(t *testing.T) {
	const answer = `{"accessToken":"b"}`
	for more, ok := range map[int]bool{0: true, 1: false} {
		e := endpoint(t, EndpointConfig{}, func(*http.Request) (int, string) {
			return 200, answer + strings.Repeat(" ", maxAnswer-len(answer)+more)
		})
		if _, err := e.Refresh(t.Context(), Session{}); (err == nil) != ok {
			t.Errorf("%d over: %v", more, err)
		}
	}
}
