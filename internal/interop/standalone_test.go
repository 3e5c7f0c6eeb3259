package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/standalone"
	"github.com/holdfast-dev/holdfast/tokens"
)

// whole is a standalone server on the loopback, with accounts in SQLite.
type whole struct {
	t   *testing.T
	sa  *standalone.Standalone
	dir string
	url string
}

func newWhole(t *testing.T, change func(*standalone.Config)) *whole {
	t.Helper()
	w := &whole{t: t, dir: t.TempDir()}
	cfg := standalone.Config{Identity: &identity.Config{
		Dir: w.dir, SignUp: identity.SignUpOpen, Argon2: identity.Argon2{Memory: 64, Time: 1, Threads: 1},
	}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	sa, err := standalone.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.sa = sa
	srv := httptest.NewServer(sa)
	w.url = srv.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := sa.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		srv.Close()
	})
	return w
}

// signedIn is what a sign-up and a sign-in answer.
type signedIn struct {
	User         holdfast.User
	AccessToken  string
	RefreshToken string
	SessionID    string
	cookies      []*http.Cookie
	csrf         string
}

// call makes an HTTP call. Headers are pairs of names and values.
func (w *whole) call(method, path, body string, header ...string) (int, []byte, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, data, res.Header
}

func (w *whole) enter(path, email string, header ...string) signedIn {
	w.t.Helper()
	status, body, h := w.call("POST", path, `{"email":"`+email+`","password":"correct horse battery"}`, header...)
	if status != http.StatusOK {
		w.t.Fatalf("%s: %d %s", path, status, body)
	}
	var s signedIn
	if err := json.Unmarshal(body, &s); err != nil {
		w.t.Fatal(err)
	}
	s.cookies = (&http.Response{Header: h}).Cookies()
	s.csrf = h.Get("X-CSRF-Token")
	return s
}

func (w *whole) signUp(email string) signedIn {
	w.t.Helper()
	return w.enter("/api/auth/sign-up", email)
}
func (w *whole) signIn(email string) signedIn {
	w.t.Helper()
	return w.enter("/api/auth/sign-in", email)
}

// want makes a call that must be answered with a status, and with a code if
// that is not "".
func (w *whole) want(status int, code holdfast.Code, method, path, body string, header ...string) []byte {
	w.t.Helper()
	got, answer, _ := w.call(method, path, body, header...)
	var e struct{ Code holdfast.Code }
	if got != status || code != "" && (json.Unmarshal(answer, &e) != nil || e.Code != code) {
		w.t.Fatalf("%s %s: %d %s, want %d %s", method, path, got, answer, status, code)
	}
	return answer
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// wire is a Socket.IO connection by hand.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial opens a connection and sends CONNECT with the token; "" for none.
func (w *whole) dial(token string, header ...string) *wire {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	conn, _, err := websocket.Dial(within(w.t), "ws"+strings.TrimPrefix(w.url, "http")+"/socket.io/?EIO=4&transport=websocket", &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.CloseNow() })
	p := &wire{t: w.t, conn: conn}
	p.await("0{", patience)
	connect := "40"
	if token != "" {
		connect += `{"token":"` + token + `"}`
	}
	p.send(connect)
	return p
}

func (p *wire) send(text string) {
	p.t.Helper()
	if err := p.conn.Write(within(p.t), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// await reads until a message begins with prefix.
func (p *wire) await(prefix string, wait time.Duration) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), wait)
	defer cancel()
	for {
		_, data, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("nothing that begins with %s came within %v: %v", prefix, wait, err)
		}
		if bytes.HasPrefix(data, []byte(prefix)) {
			return string(data)
		}
	}
}

// closed reads until the end, which must come with this code.
func (p *wire) closed(code holdfast.Code) {
	p.t.Helper()
	if got := p.await(`42["auth:closing"`, patience); !strings.Contains(got, string(code)) {
		p.t.Fatalf("%s, want %s", got, code)
	}
	_, _, err := p.conn.Read(within(p.t))
	if e, ok := errors.AsType[websocket.CloseError](err); !ok || e.Reason != string(code) {
		p.t.Fatalf("closed with %v, want %s", err, code)
	}
}

// socket connects with the Go client.
func (w *whole) socket(token string) *client.Socket {
	w.t.Helper()
	s := goClient(w.t, w.url, client.Config{Source: tokens.Static(token)}).Socket()
	connect(w.t, s)
	return s
}

// refused reads the 44 that answers CONNECT.
func (p *wire) refused(code holdfast.Code) {
	p.t.Helper()
	if got := p.await("44", patience); !strings.Contains(got, `"code":"`+string(code)+`"`) {
		p.t.Fatalf("%s, want %s", got, code)
	}
}

func TestStandaloneSignUpToSignOut(t *testing.T) {
	w := newWhole(t, nil)
	ann := w.signUp("ann@example.com")
	s := w.socket(ann.AccessToken)
	// Tokens of the accounts may into every room by default.
	if _, err := s.Join(within(t), "lobby", client.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	// auth:session follows the CONNECT and comes before the answer to a join.
	if session, ok := s.Session(); !ok || session.User.ID != ann.User.ID {
		t.Fatalf("connected as %+v, want %s", session, ann.User.ID)
	}
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	w.want(200, "", "POST", "/api/auth/sign-out", "", bearer(ann.AccessToken)...)
	p.closed(holdfast.SessionRevoked)
	// The token is not good any more, however long it would be.
	w.dial(ann.AccessToken).refused(holdfast.SessionRevoked)
	w.want(401, holdfast.SessionRevoked, "POST", "/api/rooms/lobby/events", `{"event":"x"}`, bearer(ann.AccessToken)...)
	w.want(401, holdfast.SessionRevoked, "POST", "/api/auth/refresh", `{"refreshToken":"`+ann.RefreshToken+`"}`)
}

func TestStandaloneAnotherDevice(t *testing.T) {
	w := newWhole(t, nil)
	phone := w.signUp("ann@example.com")
	laptop := w.signIn("ann@example.com")
	lost, kept := w.dial(phone.AccessToken), w.dial(laptop.AccessToken)
	lost.await("40", patience)
	kept.await("40", patience)
	eve := w.signUp("eve@example.com")
	w.want(404, holdfast.NotFound, "DELETE", "/api/auth/sessions/"+phone.SessionID, "", bearer(eve.AccessToken)...)
	w.want(200, "", "DELETE", "/api/auth/sessions/"+phone.SessionID, "", bearer(laptop.AccessToken)...)
	lost.closed(holdfast.SessionRevoked)
	kept.send(`420["room:join",{"room":"lobby"}]`)
	kept.await(`430[{"ok":true`, patience)
}

func TestStandaloneReusedRefreshToken(t *testing.T) {
	w := newWhole(t, func(cfg *standalone.Config) { cfg.Identity.RefreshGrace = -1 })
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	body := `{"refreshToken":"` + ann.RefreshToken + `"}`
	w.want(200, "", "POST", "/api/auth/refresh", body)
	w.want(401, holdfast.RefreshReused, "POST", "/api/auth/refresh", body)
	p.closed(holdfast.SessionRevoked)
}

func TestStandaloneGrant(t *testing.T) {
	w := newWhole(t, nil)
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	p.send(`420["room:join",{"room":"board-1"}]`)
	p.await(`430[{"ok":true`, patience)
	rooms := holdfast.MustRoomList("hall")
	if _, err := w.sa.Accounts().Grant(t.Context(), ann.User.ID, identity.Grants{Rooms: &rooms}); err != nil {
		t.Fatal(err)
	}
	// The right is lost at once, with the token that still says otherwise.
	if got := p.await(`42["room:left"`, patience); !strings.Contains(got, "board-1") {
		t.Fatal(got)
	}
	if got := p.await(`42["auth:expiring"`, patience); !strings.Contains(got, `"reason":"permissions"`) {
		t.Fatal(got)
	}
	w.dial(ann.AccessToken).refused(holdfast.PermissionVersionStale)
	var next signedIn
	if err := json.Unmarshal(w.want(200, "", "POST", "/api/auth/refresh", `{"refreshToken":"`+ann.RefreshToken+`"}`), &next); err != nil {
		t.Fatal(err)
	}
	p.send(`421["auth:refresh",{"token":"` + next.AccessToken + `"}]`)
	p.await(`431[{"ok":true`, patience)
	p.send(`422["room:join",{"room":"board-1"}]`)
	if got := p.await(`432`, patience); !strings.Contains(got, "FORBIDDEN") {
		t.Fatal(got)
	}
	p.send(`423["room:join",{"room":"hall"}]`)
	p.await(`433[{"ok":true`, patience)
}

func TestStandaloneDisabledUser(t *testing.T) {
	w := newWhole(t, nil)
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	if err := w.sa.Accounts().Disable(t.Context(), ann.User.ID); err != nil {
		t.Fatal(err)
	}
	p.closed(holdfast.SessionRevoked)
	w.want(400, holdfast.InvalidCredentials, "POST", "/api/auth/sign-in", `{"email":"ann@example.com","password":"correct horse battery"}`)
}

// Another process on the same database file, as the command is one.
func TestStandaloneAnotherProcess(t *testing.T) {
	w := newWhole(t, nil)
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	other, err := identity.Open(t.Context(), identity.Config{Dir: w.dir, WatchInterval: -1, CleanInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.EndSession(t.Context(), ann.User.ID, ann.SessionID); err != nil {
		t.Fatal(err)
	}
	p.closed(holdfast.SessionRevoked)
}

func TestStandaloneCookies(t *testing.T) {
	w := newWhole(t, nil)
	page := []string{"Origin", w.url}
	ann := w.enter("/api/auth/sign-up", "ann@example.com", page...)
	if ann.RefreshToken != "" || len(ann.cookies) == 0 {
		t.Fatalf("a page got %d cookies, and a refresh token: %t", len(ann.cookies), ann.RefreshToken != "")
	}
	for _, c := range ann.cookies {
		page = append(page, "Cookie", c.Name+"="+c.Value)
	}
	p := w.dial("", page...)
	p.await("40", patience)
	if got := p.await(`42["auth:session"`, patience); !strings.Contains(got, ann.User.ID) {
		t.Fatal(got)
	}
	// A token from a cookie session, without a CSRF token.
	var token struct{ AccessToken string }
	if err := json.Unmarshal(w.want(200, "", "POST", "/api/realtime/token", "", page...), &token); err != nil {
		t.Fatal(err)
	}
	q := w.dial(token.AccessToken)
	q.await("40", patience)
	// The first credential that is present decides.
	w.dial("nonsense", page...).refused(holdfast.Unauthenticated)
	// What changes something needs one, on the server's own calls as well.
	w.want(403, holdfast.CSRFMismatch, "POST", "/api/rooms/lobby/events", `{"event":"x"}`, page...)
	guarded := append(page, "X-CSRF-Token", ann.csrf)
	w.want(200, "", "POST", "/api/rooms/lobby/events", `{"event":"x"}`, guarded...)
	w.want(403, holdfast.CSRFMismatch, "POST", "/api/auth/sign-out", "", page...)
	w.want(200, "", "POST", "/api/auth/sign-out", "", guarded...)
	p.closed(holdfast.SessionRevoked)
	q.closed(holdfast.SessionRevoked)
	w.dial("", page...).refused(holdfast.SessionRevoked)
}

func TestStandaloneAPIKeys(t *testing.T) {
	const static = "a-key-from-the-environment"
	w := newWhole(t, func(cfg *standalone.Config) { cfg.Keys.Static = auth.Secret(static) })
	key, record, err := w.sa.Accounts().CreateKey(t.Context(), identity.NewAPIKey{
		Scopes: auth.ScopePublish, Rooms: holdfast.MustRoomList("board-*"),
	})
	if err != nil {
		t.Fatal(err)
	}
	const event = `{"event":"x","data":1}`
	w.want(200, "", "POST", "/api/rooms/board-1/events", event, bearer(key)...)
	w.want(403, holdfast.Forbidden, "POST", "/api/rooms/lobby/events", event, bearer(key)...)
	w.want(403, holdfast.Forbidden, "POST", "/api/connections/close", `{"user":"x"}`, bearer(key)...)
	w.want(200, "", "POST", "/api/rooms/lobby/events", event, bearer(static)...)
	if err := w.sa.Accounts().RevokeKey(t.Context(), record.ID); err != nil {
		t.Fatal(err)
	}
	w.want(401, holdfast.Unauthenticated, "POST", "/api/rooms/board-1/events", event, bearer(key)...)

	// What a backend takes back ends the sessions of the accounts, too.
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	w.want(200, "", "POST", "/api/connections/close", `{"user":"`+ann.User.ID+`"}`, bearer(static)...)
	p.closed(holdfast.SessionRevoked)
	w.want(401, holdfast.SessionRevoked, "POST", "/api/auth/refresh", `{"refreshToken":"`+ann.RefreshToken+`"}`)
}

// Tokens from elsewhere stand beside those of the accounts.
func TestStandaloneElsewhere(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	rooms := holdfast.MustRoomList("lobby")
	jwt, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	defer jwt.Close()
	w := newWhole(t, func(cfg *standalone.Config) { cfg.Authenticator = jwt })
	mint := func(issuer string) string {
		token, err := auth.Mint(auth.SigningKey{Secret: secret}, auth.Claims{
			User: "bob", Issuer: issuer, Session: "bobs", IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ann := w.signUp("ann@example.com")
	own, other := w.dial(ann.AccessToken), w.dial(mint("https://login.example.com"))
	own.await("40", patience)
	other.await("40", patience)
	if got := other.await(`42["auth:session"`, patience); !strings.Contains(got, `"id":"bob"`) {
		t.Fatal(got)
	}
	w.dial(mint("")).await("40", patience)
	// Nobody from elsewhere speaks for the accounts.
	w.dial(mint("holdfast")).refused(holdfast.Unauthenticated)
	w.dial("nonsense").refused(holdfast.Unauthenticated)
	w.dial("").refused(holdfast.Unauthenticated)
	// A change of bob's rights is his issuer's to tell; he has to refresh.
	if _, err := w.sa.BumpPermissions(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	other.await(`42["auth:expiring"`, patience)
	// What is revoked is kept by the accounts, for tokens of others as well.
	if err := w.sa.Revoke(t.Context(), auth.Revocation{Session: "bobs"}); err != nil {
		t.Fatal(err)
	}
	other.closed(holdfast.SessionRevoked)
	kept, err := w.sa.Accounts().Revocations(t.Context())
	if err != nil || len(kept) != 1 || kept[0].Session != "bobs" {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	own.send(`420["room:join",{"room":"lobby"}]`)
	own.await(`430[{"ok":true`, patience)
}

func TestStandaloneReadyAndShutdown(t *testing.T) {
	w := newWhole(t, nil)
	w.want(200, "", "GET", "/readyz", "")
	w.want(200, "", "GET", "/healthz", "")
	if jwks := w.want(200, "", "GET", "/.well-known/jwks.json", ""); !bytes.Contains(jwks, []byte(`"keys"`)) {
		t.Errorf("jwks: %s", jwks)
	}
	w.want(404, holdfast.NotFound, "GET", "/nowhere", "")
	ann := w.signUp("ann@example.com")
	p := w.dial(ann.AccessToken)
	p.await("40", patience)
	if err := w.sa.Server.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	p.closed(holdfast.GoingAway)
	w.want(503, holdfast.GoingAway, "GET", "/readyz", "")
}
