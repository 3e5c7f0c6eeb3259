package oauth2tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	// An OAuth 2 provider, whose sessions a Manager keeps and renews.
	provider := &oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: "https://id.example.com/token"}}
	m, err := tokens.NewManager(tokens.Config{Refresh: Refresh(provider, nil)})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	signedIn := &oauth2.Token{AccessToken: "…", RefreshToken: "…", ExpiresIn: 3600} // of provider.Exchange
	if err := m.SetTokens(context.Background(), Session(signedIn)); err != nil {
		panic(err)
	}
	// Another library takes it from there.
	t, err := From(context.Background(), m).Token()
	fmt.Println(t.Type(), t.AccessToken, err)
	// Output: Bearer … <nil>
}

func TestFrom(t *testing.T) {
	end := time.Unix(1767226500, 0)
	var err error
	src := tokens.Func(func(context.Context) (tokens.Token, error) { return tokens.Token{Access: "a", Expires: end}, err })
	ts := From(t.Context(), src)
	if got, err := ts.Token(); err != nil || got.AccessToken != "a" || got.Type() != "Bearer" || !got.Expiry.Equal(end) {
		t.Error(got, err)
	}
	err = io.EOF
	if got, err := ts.Token(); got != nil || err != io.EOF {
		t.Error(got, err)
	}
}

type source struct {
	t   *oauth2.Token
	err error
}

func (s source) Token() (*oauth2.Token, error) { return s.t, s.err }

func TestTo(t *testing.T) {
	end := time.Unix(1767226500, 0)
	if got, err := To(source{t: &oauth2.Token{AccessToken: "a", Expiry: end}}).Token(t.Context()); err != nil || got.Access != "a" || !got.Expires.Equal(end) {
		t.Error(got, err)
	}
	if _, err := To(source{t: &oauth2.Token{}}).Token(t.Context()); !errors.Is(err, tokens.ErrNone) {
		t.Error(err)
	}
	if _, err := To(source{err: io.EOF}).Token(t.Context()); err != io.EOF {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := To(source{}).Token(ctx); err != context.Canceled {
		t.Error(err)
	}
	for status, final := range map[int]bool{400: true, 401: true, 403: false, 429: false, 500: false, 503: false} {
		refused := &oauth2.RetrieveError{
			Response: &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Retry-After": {"7"}}},
			Body:     []byte("secret"), ErrorCode: "invalid_grant",
		}
		_, err := To(source{err: refused}).Token(t.Context())
		e, ok := errors.AsType[*holdfast.Error](err)
		if !ok || tokens.Final(err) != final || e.RetryAfter != 7*time.Second || strings.Contains(fmt.Sprint(err, e.Err), "secret") {
			t.Errorf("%d: %v", status, err)
		}
	}
	for code, want := range map[string]string{"": "answered 400 Bad Request", "invalid_grant": "answered 400 Bad Request (invalid_grant)"} {
		_, err := To(source{err: &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400, Status: "400 Bad Request"}, ErrorCode: code}}).Token(t.Context())
		if e, ok := errors.AsType[*holdfast.Error](err); !ok || !strings.HasSuffix(e.Message, want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := To(source{err: &oauth2.RetrieveError{}}).Token(t.Context())
	if tokens.Final(err) {
		t.Error(err)
	}
}

func TestSession(t *testing.T) {
	got := Session(&oauth2.Token{AccessToken: "a", RefreshToken: "r", ExpiresIn: 3600, Expiry: time.Unix(1767226500, 0)})
	if got.Access != "a" || got.Refresh != "r" || got.Lifetime != time.Hour || got.Expires.Unix() != 1767226500 {
		t.Errorf("%#v", got)
	}
	if got := Session(&oauth2.Token{AccessToken: "a", ExpiresIn: 1 << 62}); got.Lifetime != 100*365*24*time.Hour {
		t.Error(got.Lifetime)
	}
	if got := Session(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}); got.Lifetime <= 59*time.Minute || got.Lifetime > time.Hour {
		t.Error(got.Lifetime)
	}
	if got := Session(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(-time.Hour)}); got.Lifetime <= 0 {
		t.Error("one that has ended would last for ever")
	}
	if got := Session(&oauth2.Token{AccessToken: "a"}); got.Lifetime != 0 {
		t.Error(got.Lifetime)
	}
}

// counted counts requests.
type counted struct {
	base http.RoundTripper
	n    int
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c.n++
	return c.base.RoundTrip(req)
}

// A provider that is down, and then refuses.
func TestRefresh(t *testing.T) {
	status, calls := http.StatusOK, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != "r" {
			t.Error(r.Form)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status != http.StatusOK {
			_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"a%d","expires_in":3600}`, calls)
	}))
	defer srv.Close()
	client := srv.Client()
	defer client.CloseIdleConnections()
	sent := &counted{base: client.Transport}
	client.Transport = sent
	provider := &oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: srv.URL, AuthStyle: oauth2.AuthStyleInParams}}
	m, err := tokens.NewManager(tokens.Config{Refresh: Refresh(provider, client), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.SetTokens(t.Context(), tokens.Session{Access: "a0", Refresh: "r"}); err != nil {
		t.Fatal(err)
	}
	status = http.StatusServiceUnavailable
	if err := m.Refresh(t.Context()); err == nil || tokens.Final(err) || !m.SignedIn() {
		t.Error(err)
	}
	status = http.StatusOK
	if err := m.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if s, _ := m.Session(); s.Access != fmt.Sprint("a", calls) || s.Refresh != "r" || s.Lifetime != time.Hour {
		t.Errorf("%#v %q", s, s.Access)
	}
	status = http.StatusBadRequest
	if err := m.Refresh(t.Context()); !tokens.Final(err) || m.SignedIn() {
		t.Error(err)
	}
	if sent.n != calls {
		t.Errorf("%d of %d calls went by the client that was given", sent.n, calls)
	}
	if _, err := Refresh(provider, nil)(t.Context(), tokens.Session{Access: "a"}); !errors.Is(err, holdfast.Unauthenticated) {
		t.Error(err)
	}
}
