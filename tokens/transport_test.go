package tokens

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// 10,000 requests at once are refused: one refresh, and each is sent once more.
func TestL01RequestsRefusedAtOnce(t *testing.T) {
	const many = 10_000
	i := &issuer{slow: time.Second}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, e *events) {
		var first, second, other atomic.Int32
		tr := &Transport{Source: m, Base: answers(func(req *http.Request) (int, string) {
			switch req.Header.Get("Authorization") {
			case "Bearer a1":
				first.Add(1)
				return 401, `{"code":"TOKEN_EXPIRED"}`
			case "Bearer a2":
				second.Add(1)
				return 200, ""
			}
			other.Add(1)
			return 500, ""
		})}
		var good atomic.Int32
		var wg sync.WaitGroup
		for range many {
			wg.Go(func() {
				resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://a.example.com/", nil))
				if err == nil && resp.StatusCode == 200 {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		if i.count() != 1 || good.Load() != many || first.Load() != many || second.Load() != many || other.Load() != 0 {
			t.Errorf("%d refreshes; %d good; %d, %d, %d requests", i.count(), good.Load(), first.Load(), second.Load(), other.Load())
		}
		e.expect(t, "refresh")
	})
}

// A request that was sent with an old token is sent again with the present one.
func TestL02ALateRefusal(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		tr := &Transport{Source: m, Base: answers(func(req *http.Request) (int, string) {
			if req.Header.Get("Authorization") == "Bearer a1" {
				if err := m.Refresh(t.Context()); err != nil { // while it was on its way
					t.Error(err)
				}
				return 401, ""
			}
			return 200, req.Header.Get("Authorization")
		})}
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://a.example.com/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != "Bearer a2" || i.count() != 1 {
			t.Errorf("%q after %d refreshes", text, i.count())
		}
	})
}

// The machine slept: no request goes out with the token from before.
func TestL13NoRequestWithAnEndedToken(t *testing.T) {
	i := &issuer{lifetime: 15 * time.Minute}
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		m, err := newManager(Config{Refresh: i.refresh}, func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) })
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.SetTokens(t.Context(), i.session()); err != nil {
			t.Fatal(err)
		}
		slept.Store(int64(time.Hour))
		tr := &Transport{Source: m, Base: answers(func(req *http.Request) (int, string) {
			if got := req.Header.Get("Authorization"); got != "Bearer a2" {
				t.Errorf("sent with %q", got)
			}
			return 200, ""
		})}
		if _, err := tr.RoundTrip(httptest.NewRequest("GET", "https://a.example.com/", nil)); err != nil || i.count() != 1 {
			t.Error(err, i.count())
		}
	})
}

func TestL20ARequestWithStaleRights(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, e *events) {
		tr := &Transport{Source: m, Base: answers(func(req *http.Request) (int, string) {
			if req.Header.Get("Authorization") == "Bearer a1" {
				return 401, `{"code":"PERMISSION_VERSION_STALE"}`
			}
			return 200, ""
		})}
		if resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://a.example.com/", nil)); err != nil || resp.StatusCode != 200 {
			t.Error(resp, err)
		}
		e.expect(t, "refresh")
	})
}

// The token goes to no origin but those that are meant.
func TestL30TheFence(t *testing.T) {
	for name, test := range map[string]struct {
		origins  []string
		url      string
		redirect string // where url leads
		want     string // who gets the token, in order
	}{
		"any, the first":        {nil, "https://a.example.com/x", "", "a.example.com"},
		"any, a redirect away":  {nil, "https://a.example.com/x", "https://b.example.com/", "a.example.com -"},
		"any, to itself":        {nil, "https://a.example.com/x", "https://a.example.com:443/y", "a.example.com a.example.com:443"},
		"any, without TLS":      {nil, "https://a.example.com/x", "http://a.example.com/y", "a.example.com -"},
		"one":                   {[]string{"https://a.example.com"}, "https://a.example.com/x", "", "a.example.com"},
		"one, another":          {[]string{"https://a.example.com"}, "https://b.example.com/x", "", "-"},
		"one, a subdomain":      {[]string{"https://a.example.com"}, "https://x.a.example.com/", "", "-"},
		"one, a longer name":    {[]string{"https://a.example.com"}, "https://a.example.com.evil.example/", "", "-"},
		"one, as a user":        {[]string{"https://a.example.com"}, "https://a.example.com@b.example.com/", "", "Basic YS5leGFtcGxlLmNvbTo="},
		"one, another port":     {[]string{"https://a.example.com"}, "https://a.example.com:8443/", "", "-"},
		"one, its port":         {[]string{"https://a.example.com"}, "https://a.example.com:443/", "", "a.example.com:443"},
		"one, in capitals":      {[]string{"HTTPS://A.Example.com/"}, "https://a.example.com/", "", "a.example.com"},
		"one, without TLS":      {[]string{"https://a.example.com"}, "http://a.example.com/", "", "-"},
		"two, a redirect":       {[]string{"https://a.example.com", "https://b.example.com"}, "https://a.example.com/", "https://b.example.com/", "a.example.com b.example.com"},
		"an origin without any": {[]string{"::", ""}, "https://a.example.com/", "", "-"},
	} {
		var got []string
		tr := &Transport{Source: Static("secret"), Origins: test.origins, Base: answers(func(req *http.Request) (int, string) {
			switch req.Header.Get("Authorization") {
			case "Bearer secret":
				got = append(got, req.URL.Host)
			case "":
				got = append(got, "-")
			default: // of a user in the URL
				got = append(got, req.Header.Get("Authorization"))
			}
			return 200, ""
		})}
		if test.redirect != "" {
			tr.Base = redirecting{tr.Base, test.redirect}
		}
		resp, err := (&http.Client{Transport: tr}).Get(test.url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %q, want %q", name, s, test.want)
		}
	}
}

// redirecting answers the first request by a redirect.
type redirecting struct {
	base http.RoundTripper
	to   string
}

func (r redirecting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.base.RoundTrip(req)
	if err == nil && req.Response == nil {
		resp.StatusCode = http.StatusTemporaryRedirect
		resp.Header.Set("Location", r.to)
	}
	return resp, err
}

func TestL32Bodies(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		oneShot, sent := 0, ""
		tr := &Transport{Source: m, OneShot: func(*http.Request) { oneShot++ }, Base: answers(func(req *http.Request) (int, string) {
			text, _ := io.ReadAll(req.Body)
			sent += string(text) + "."
			if strings.HasSuffix(sent, "again.again.") {
				return 200, ""
			}
			return 401, "why"
		})}
		req := httptest.NewRequest("POST", "https://a.example.com/", strings.NewReader("again"))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("again")), nil }
		if resp, err := tr.RoundTrip(req); err != nil || resp.StatusCode != 200 || sent != "again.again." {
			t.Error(resp, err, sent)
		}
		sent = ""
		resp, err := tr.RoundTrip(httptest.NewRequest("POST", "https://a.example.com/", io.MultiReader(strings.NewReader("once"))))
		if err != nil || resp.StatusCode != 401 || oneShot != 1 || sent != "once." {
			t.Error(resp, err, oneShot, sent)
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != "why" {
			t.Errorf("the answer is %q", text)
		}
		if access(t, m) != "a3" {
			t.Error("the token was not renewed for the next request")
		}
		fails := errors.New("gone")
		req.Body, req.GetBody = io.NopCloser(strings.NewReader("x")), func() (io.ReadCloser, error) { return nil, fails }
		if _, err := tr.RoundTrip(req); !errors.Is(err, fails) {
			t.Error(err)
		}
	})
}

// closing notes that a body was closed, as a RoundTripper must.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportErrors(t *testing.T) {
	base := answers(func(req *http.Request) (int, string) { return 401, req.Header.Get("Authorization") })
	for name, test := range map[string]struct {
		source Source
		err    string // "": none, and the 401 is returned
	}{
		"none":         {nil, "tokens: Transport.Source is not set"},
		"signed out":   {Static(""), ErrNone.Error()},
		"network":      {Func(func(context.Context) (Token, error) { return Token{}, io.ErrUnexpectedEOF }), "tokens: unexpected EOF"},
		"refused":      {Static("a"), ""},
		"not renewed":  {refresher{Func: to("a"), err: io.ErrUnexpectedEOF}, "tokens: refresh after a 401: unexpected EOF"},
		"closed":       {refresher{Func: to("a"), err: ErrClosed}, "tokens: refresh after a 401: the manager is closed"},
		"signed out 2": {refresher{Func: to("a"), err: holdfast.SessionRevoked.New()}, ""},
	} {
		body := &closing{Reader: strings.NewReader("x")}
		req := httptest.NewRequest("POST", "https://a.example.com/", body)
		resp, err := (&Transport{Source: test.source, Base: base}).RoundTrip(req)
		switch {
		case test.err == "" && (err != nil || resp.StatusCode != 401):
			t.Errorf("%s: %v %v", name, resp, err)
		case test.err != "" && (err == nil || err.Error() != test.err):
			t.Errorf("%s: %v, want %v", name, err, test.err)
		case name == "signed out" && !errors.Is(err, ErrNone), name == "closed" && !errors.Is(err, ErrClosed):
			t.Errorf("%s: %#v", name, err)
		case (name == "none" || name == "signed out") && !body.closed:
			t.Errorf("%s: the body is left open", name)
		}
	}
	req := httptest.NewRequest("GET", "https://a.example.com/", nil)
	req.Header.Set("Authorization", "Basic x")
	resp, err := (&Transport{Source: Static("a"), Base: base}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(resp.Body); string(text) != "Basic x" || req.Header.Get("Authorization") != "Basic x" {
		t.Errorf("%s", text)
	}
	if req := httptest.NewRequest("GET", "https://a.example.com/", nil); req.Header.Get("Authorization") != "" {
		t.Error("the request was changed")
	}
}

func to(access string) Func {
	return func(context.Context) (Token, error) { return Token{Access: access}, nil }
}
