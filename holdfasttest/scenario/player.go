package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/tokens"
)

// Player plays scenarios with the Go client.
type Player struct {
	// Features are what Scenario.Needs is looked up in.
	Features []string
}

// Missing returns what a scenario needs and the player has not; "go" where it is
// not for this client.
func (p Player) Missing(s *Scenario) (missing []string) {
	if !slices.Contains(s.Applies, "go") {
		missing = append(missing, "go")
	}
	for _, n := range s.Needs {
		if !slices.Contains(p.Features, n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// Play plays all cases of a scenario, each as a subtest in a bubble of its own.
// It fails if something is missing: ask Missing first.
func (p Player) Play(t *testing.T, s *Scenario) {
	t.Helper()
	if missing := p.Missing(s); len(missing) > 0 {
		t.Fatalf("%s needs %q", s.Name, missing)
	}
	cases, err := s.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		one := func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, fault := range play(t, cases[name]) {
					t.Error(fault)
				}
			})
		}
		if name == "" {
			one(t)
		} else {
			t.Run(name, one)
		}
	}
}

// stage is where one case is played.
type stage struct {
	t     *testing.T
	cfg   Config
	srv   *holdfasttest.Server
	store *tokens.Memory // nil unless the clients share one
	ctx   context.Context
	ops   sync.WaitGroup

	actors map[string]*actor
	first  *actor
	queues map[string]*queue.Memory // by the client's name; "" for a shared one

	mu    sync.Mutex // guards what follows
	added []json.RawMessage
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// play plays one case, up to the first step with a fault, and returns its faults.
func play(t *testing.T, s *Scenario) (faults []string) {
	st := &stage{t: t, cfg: s.Config, actors: make(map[string]*actor), queues: make(map[string]*queue.Memory)}
	st.srv = holdfasttest.New(t, holdfasttest.Config{
		Lifetime: ms(s.Config.Lifetime), Opaque: s.Config.Opaque, NoExpiry: s.Config.NoExpiry,
		KeepRefresh: s.Config.KeepRefresh, Plain: s.Config.Plain, CSRF: s.Config.CSRF, Claims: claims, Setup: st.setup,
	})
	st.srv.Skew(ms(s.Config.Skew))
	st.routes()
	if s.Config.Shared {
		st.store = tokens.NewMemory()
	}
	ctx, cancel := context.WithCancel(t.Context())
	st.ctx = ctx
	names := s.Config.Clients
	if len(names) == 0 {
		names = []string{"a"}
	}
	for _, name := range names {
		a := st.newActor(name)
		st.actors[name] = a
		if st.first == nil {
			st.first = a
		}
	}
	t.Cleanup(func() {
		cancel()
		for _, a := range st.actors {
			a.close()
		}
		st.ops.Wait()
	})
	for i, step := range s.Steps {
		for _, fault := range st.step(step) {
			faults = append(faults, fmt.Sprintf("step %d (%s): %s", i+1, step, fault))
		}
		if len(faults) > 0 {
			return faults
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.actors)) {
		for _, fault := range st.actors[name].unnamed() {
			faults = append(faults, fmt.Sprintf("at the end, %s: %s", name, fault))
		}
	}
	return faults
}

// String tells a step in few words.
func (s Step) String() string {
	text, err := json.Marshal(s)
	if err != nil || len(text) > 200 {
		return fmt.Sprintf("%.200s…", text)
	}
	return string(text)
}

func claims(string) auth.Claims {
	rooms := holdfast.MustRoomList("**", "!secret-**")
	return auth.Claims{Permissions: &auth.ClaimedPermissions{Rooms: &rooms, Actions: []string{"todo.write"}}}
}

// queue returns the queue of a client, which outlives it; nil where the
// scenario has none.
func (st *stage) queue(name string) *queue.Memory {
	if st.cfg.Queue == 0 {
		return nil
	}
	if st.cfg.Shared {
		name = ""
	}
	if st.queues[name] == nil {
		st.queues[name] = queue.NewMemory(queue.Limits{Items: st.cfg.Queue})
	}
	return st.queues[name]
}

// setup is the application's part on sockets: see the README.
func (st *stage) setup(srv *server.Server) {
	server.Handle(srv, "add", func(_ context.Context, _ *server.Conn, v json.RawMessage) (int, error) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.added = append(st.added, v)
		return len(st.added), nil
	})
	server.Handle(srv, "echo", func(_ context.Context, _ *server.Conn, v json.RawMessage) (json.RawMessage, error) { return v, nil })
	server.Handle(srv, "refuse", func(_ context.Context, _ *server.Conn, code holdfast.Code) (int, error) { return 0, code.New() })
}

// routes is the application's part over HTTP.
func (st *stage) routes() {
	st.srv.Handle("/app/me", st.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := holdfast.IdentityFrom(r.Context())
		_ = json.NewEncoder(w).Encode(id.User) // a client that has gone
	})))
	st.srv.Handle("/app/echo", st.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})))
}

// sessionCookie is the cookie of clients whose Source is "cookie".
const sessionCookie = "session"

// signedIn lets those through who have a good token, in the header or the cookie.
func (st *stage) signedIn(next http.HandlerFunc) http.Handler {
	require := st.srv.Require(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(sessionCookie); err == nil && r.Header.Get("Authorization") == "" {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+c.Value)
		}
		require.ServeHTTP(w, r)
	})
}

// step does one thing, lets it settle, and returns what is wrong.
func (st *stage) step(s Step) (faults []string) {
	a := st.first
	if s.By != "" {
		if a = st.actors[s.By]; a == nil {
			return []string{"there is no client " + s.By}
		}
	}
	var err error
	switch {
	case s.Expect != nil:
		return a.expect(s)
	case s.Advance > 0:
		time.Sleep(ms(s.Advance))
	case s.Server != "":
		err = st.server(s)
	default:
		err = a.do(s)
	}
	synctest.Wait()
	if err != nil {
		faults = append(faults, err.Error())
	}
	for _, a := range st.actors {
		faults = append(faults, a.failed()...)
	}
	return faults
}

// server does something to the server.
func (st *stage) server(s Step) error {
	path := map[string]string{"refresh": holdfasttest.Refresh, "signIn": holdfasttest.SignIn, "signOut": holdfasttest.SignOut, "sockets": holdfasttest.Sockets, "any": holdfasttest.Any}[s.Path]
	if path == "" && s.Path != "any" {
		path = s.Path
	}
	times := max(s.Times, 1)
	switch s.Server {
	case "fail":
		st.srv.Fail(path, holdfasttest.Failure{Status: s.Status, Code: holdfast.Code(s.Code), RetryAfter: ms(s.RetryAfter), Times: s.Times, For: ms(s.For)})
	case "slow":
		st.srv.Slow(path, ms(s.For))
	case "slowReplies":
		st.srv.SlowReplies(path, ms(s.For))
	case "forgetCSRF":
		st.srv.ForgetCSRF()
	case "dropRequests":
		st.srv.DropRequests(path, times)
	case "dropReplies":
		st.srv.DropReplies(path, times)
	case "dropAcks":
		st.srv.DropAcks(times)
	case "refuseFresh":
		st.srv.RefuseFresh(times)
	case "refuse":
		st.srv.Refuse(holdfast.Code(s.Code), times)
	case "heal":
		st.srv.Heal()
	case "expire":
		st.srv.Expire()
	case "revoke":
		return st.srv.Revoke(s.User)
	case "bump":
		return st.srv.Bump(s.User)
	case "skew":
		st.srv.Skew(ms(s.For))
	case "close":
		reason := s.Code
		if st.srv.CloseAll(s.Status, reason) == 0 {
			return fmt.Errorf("there is no connection to close")
		}
	case "end":
		if st.srv.End(holdfast.Code(s.Code)) == 0 {
			return fmt.Errorf("there is no connection to end")
		}
	case "vanish":
		return st.vanish(s.How)
	case "stop":
		if err := st.srv.Stop(); err != nil || s.How != "wipe" {
			return err
		}
		return st.srv.Wipe()
	case "start":
		return st.srv.Start()
	case "publish":
		_, err := st.srv.Server().PublishEvent(st.ctx, holdfast.Event{Room: s.Room, Name: s.Event, Data: s.Data})
		return err
	default:
		return fmt.Errorf("unknown: server %q", s.Server)
	}
	return nil
}

func (st *stage) vanish(how string) error {
	var n int
	switch how {
	case "", "cut":
		n = st.srv.CloseAll(0, "")
	case "midFrame":
		n = st.srv.VanishMidFrame()
	case "silent":
		n = st.srv.Silence()
	default:
		return fmt.Errorf("unknown: vanish %q", how)
	}
	if n == 0 {
		return fmt.Errorf("there is no connection")
	}
	return nil
}
