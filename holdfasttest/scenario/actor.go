package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// maxSeen bounds what is kept of events between two looks.
const maxSeen = 10_000

// actor is a client of a scenario.
type actor struct {
	st     *stage
	name   string
	signer *tokens.Endpoint

	manager *tokens.Manager // nil unless the source is one
	client  *client.Client
	socket  *client.Socket
	queue   *queue.Memory             // nil unless Config.Queue is set
	rooms   map[string][]*client.Room // what it holds; the steps' goroutine owns it

	mu           sync.Mutex // guards what follows
	events       []string
	changes      []string
	received     []json.RawMessage
	unauthorized int64
	outcomes     map[string][]*outcome // what was done under a name last
	silent       []*outcome            // those without a name
}

// outcome is what came of something that was done.
type outcome struct {
	what  Step
	began time.Time

	// guarded by the actor's mu
	done bool
	took time.Duration
	err  error
	data json.RawMessage
}

func (st *stage) newActor(name string) *actor {
	a := &actor{st: st, name: name, outcomes: make(map[string][]*outcome), rooms: make(map[string][]*client.Room)}
	quiet := slog.New(slog.DiscardHandler)
	must := func(err error) {
		if err != nil {
			st.t.Fatal(err)
		}
	}
	var err error
	a.signer, err = tokens.NewEndpoint(tokens.EndpointConfig{
		URL: st.srv.URL + holdfasttest.SignIn, HTTPClient: st.srv.Client(),
		Body: func(s tokens.Session) (any, error) {
			return map[string]string{"email": s.User.ID, "password": "any"}, nil
		},
	})
	must(err)
	cfg := client.Config{BaseURL: st.srv.URL, HTTPClient: st.srv.Client(), Logger: quiet}
	cfg.HTTPClient.Jar, err = cookiejar.New(nil)
	must(err)
	cfg.CSRF = &client.CSRF{Path: holdfasttest.CSRF}
	if a.queue = st.queue(name); a.queue != nil {
		cfg.Socket.Queue = a.queue
	}
	switch st.cfg.Source {
	case "cookie":
		u, err := url.Parse(st.srv.URL)
		must(err)
		cfg.HTTPClient.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: st.srv.SignIn(st.cfg.User).Access, Path: "/"}})
	case "fixed":
		cfg.Source = tokens.Static(st.srv.SignIn(st.cfg.User).Access)
	case "function":
		cfg.Source = tokens.Func(func(context.Context) (tokens.Token, error) { return tokens.New(st.srv.SignIn(st.cfg.User).Access), nil })
	default:
		e := st.srv.Endpoint()
		own := tokens.Config{
			Refresh: e.Refresh, SignOut: e.SignOut, Buffer: ms(st.cfg.Buffer), IdleTimeout: ms(st.cfg.Idle), Logger: quiet,
			OnUnauthorized: func(error) { a.mu.Lock(); a.unauthorized++; a.mu.Unlock() },
		}
		if st.store != nil {
			own.Store = st.store
		}
		a.manager, err = tokens.NewManager(own)
		must(err)
		cfg.Source = a.manager
		a.follow()
	}
	a.client, err = client.New(cfg)
	must(err)
	a.socket = a.client.Socket()
	a.listen()
	return a
}

func (a *actor) close() {
	_ = a.client.Close() // always nil
	if a.manager != nil {
		_ = a.manager.Close() // always nil
	}
}

// follow collects the manager's events.
func (a *actor) follow() {
	events, _ := a.manager.Events(maxSeen)
	a.st.ops.Go(func() {
		for e := range events {
			word := e.Kind.String()
			if e.Remote {
				word += " remote"
			}
			a.mu.Lock()
			a.events = append(a.events, word)
			a.mu.Unlock()
		}
	})
}

// listen collects what the socket tells.
func (a *actor) listen() {
	changes, _ := a.socket.Changes(maxSeen)
	<-changes // how it stands at first
	a.st.ops.Go(func() {
		for c := range changes {
			word := c.State.String()
			if c.State == client.Disconnected && c.Final {
				word = "stopped"
			}
			if code := errorName(c.Err); c.Err != nil && code != "NETWORK" {
				word += " " + code
			}
			a.mu.Lock()
			a.changes = append(a.changes, word)
			a.mu.Unlock()
		}
	})
	a.socket.OnAny(func(_ context.Context, event string, args socketio.Args) {
		if len(event) > 5 && event[:5] == "auth:" {
			return
		}
		var data json.RawMessage = []byte("null")
		if args.Len() > 0 {
			data = args.Values[0]
		}
		var meta struct {
			Room string `json:"room"`
		}
		if args.Len() > 1 {
			_ = json.Unmarshal(args.Values[1], &meta) // no room's event
		}
		a.hear(meta.Room, event, data)
	})
}

func (a *actor) hear(room, event string, data json.RawMessage) {
	text, err := json.Marshal([]any{room, event, data})
	if err != nil {
		text = fmt.Appendf(nil, "%q", err.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, text)
}

// do begins what a client is to do; it may take its time.
func (a *actor) do(s Step) error {
	var call func(ctx context.Context) (any, error)
	switch s.Do {
	case "signIn":
		call = func(ctx context.Context) (any, error) {
			session, err := a.signer.Refresh(ctx, tokens.Session{User: holdfast.User{ID: s.User}})
			if err != nil {
				return nil, err
			}
			return nil, a.manager.SetTokens(ctx, session)
		}
	case "signOut":
		call = func(ctx context.Context) (any, error) { return nil, a.manager.Clear(ctx) }
	case "refresh":
		call = func(ctx context.Context) (any, error) { return nil, a.manager.Refresh(ctx) }
	case "token":
		call = func(ctx context.Context) (any, error) {
			t, err := a.manager.Token(ctx)
			return a.st.srv.Serial(t.Access), err
		}
	case "touch":
		a.manager.Touch()
		return nil
	case "reopen":
		return a.reopen()
	case "request":
		call = func(ctx context.Context) (any, error) { return a.request(ctx, s) }
	case "connect":
		call = func(ctx context.Context) (any, error) { return nil, a.socket.Connect(ctx) }
	case "close":
		call = func(context.Context) (any, error) { return nil, a.socket.Close() }
	case "emit":
		call = func(ctx context.Context) (any, error) { return nil, a.socket.Emit(ctx, s.Event, payload(s)) }
	case "ask":
		call = func(ctx context.Context) (any, error) {
			return client.EmitAck[json.RawMessage](ctx, a.socket, s.Event, payload(s))
		}
	case "publish":
		call = func(ctx context.Context) (any, error) {
			_, err := a.socket.Publish(ctx, s.Room, s.Event, payload(s), "")
			return nil, err
		}
	case "join":
		call = func(ctx context.Context) (any, error) { return nil, a.join(ctx, s.Room) }
	case "leave":
		call = func(context.Context) (any, error) { return nil, a.leave(s.Room) }
	default:
		return fmt.Errorf("unknown: do %q", s.Do)
	}
	a.mu.Lock()
	delete(a.outcomes, s.As)
	a.mu.Unlock()
	for range max(s.Times, 1) {
		a.begin(s, call)
	}
	return nil
}

func payload(s Step) any {
	if s.Data == nil {
		return nil
	}
	return s.Data
}

// begin runs a call beside the steps, and keeps its outcome.
func (a *actor) begin(s Step, call func(context.Context) (any, error)) {
	o := &outcome{what: s, began: time.Now()}
	a.mu.Lock()
	if s.As == "" {
		a.silent = append(a.silent, o)
	} else {
		a.outcomes[s.As] = append(a.outcomes[s.As], o)
	}
	a.mu.Unlock()
	a.st.ops.Go(func() {
		ctx := a.st.ctx
		if s.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, ms(s.Timeout))
			defer cancel()
		}
		v, err := call(ctx)
		data, merr := json.Marshal(v)
		a.mu.Lock()
		defer a.mu.Unlock()
		o.done, o.took, o.err, o.data = true, time.Since(o.began), errors.Join(err, merr), data
		if err != nil {
			o.err = err
		}
	})
}

func (a *actor) request(ctx context.Context, s Step) (json.RawMessage, error) {
	var body any
	if s.Data != nil {
		body = s.Data
	}
	switch s.Method {
	case "", "GET":
		return client.Get[json.RawMessage](ctx, a.client, s.Path)
	case "POST":
		return client.Post[json.RawMessage](ctx, a.client, s.Path, body)
	case "PUT":
		return client.Put[json.RawMessage](ctx, a.client, s.Path, body)
	}
	return nil, fmt.Errorf("unknown: method %q", s.Method)
}

// join holds a room once more. What comes in it is heard by the socket already.
func (a *actor) join(ctx context.Context, name string) error {
	r, err := a.socket.Join(ctx, name, client.JoinOptions{
		OnReset: func(context.Context, client.Reset) { a.hear(name, "reset", []byte("null")) },
		OnLeft: func(_ context.Context, err error) {
			a.hear(name, "left", fmt.Appendf(nil, "%q", errorName(err)))
		},
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rooms[name] = append(a.rooms[name], r)
	return nil
}

func (a *actor) leave(name string) error {
	a.mu.Lock()
	held := a.rooms[name]
	if len(held) == 0 {
		a.mu.Unlock()
		return errors.New("the room is not held")
	}
	a.rooms[name] = held[1:]
	a.mu.Unlock()
	return held[0].Leave()
}

// reopen ends the client and makes it anew, as a restart of its program does.
// Only what is in a shared store is left.
func (a *actor) reopen() error {
	if a.st.store == nil {
		return errors.New("reopen needs a shared store")
	}
	a.close()
	next := a.st.newActor(a.name)
	next.mu.Lock()
	next.outcomes = a.outcomes
	next.mu.Unlock()
	a.st.actors[a.name] = next
	if a.st.first == a {
		a.st.first = next
	}
	return nil
}

// failed returns those without a name that went wrong, once.
func (a *actor) failed() (faults []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = slices.DeleteFunc(a.silent, func(o *outcome) bool {
		if o.done && o.err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", o.what, o.err))
		}
		return o.done
	})
	return faults
}

// unnamed returns those without a name that have not ended.
func (a *actor) unnamed() (faults []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.silent {
		faults = append(faults, fmt.Sprintf("%s has not ended", o.what))
	}
	return faults
}

// errorName is what the files call an error.
func errorName(err error) string {
	if err == nil {
		return ""
	}
	// A socket whose session the server has ended hears of it from the server
	// and from its Source, whichever comes first: both give the code.
	if e, ok := errors.AsType[*holdfast.Error](err); ok && errors.Is(err, client.ErrSignedOut) {
		return string(e.Code)
	}
	for _, word := range []struct {
		name   string
		target error
	}{
		{"TIMEOUT", context.DeadlineExceeded},
		{"CANCELED", context.Canceled},
		{"SIGNED_OUT", tokens.ErrNone},
		{"SIGNED_OUT", client.ErrSignedOut},
		{"NOT_CONNECTED", client.ErrNotConnected},
		{"CONNECTION_LOST", client.ErrConnectionLost},
		{"QUEUE_FULL", queue.ErrFull},
		{"CLOSED", client.ErrClosed},
		{"LEFT", client.ErrLeft},
	} {
		if errors.Is(err, word.target) {
			return word.name
		}
	}
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		return string(e.Code)
	}
	if c, ok := errors.AsType[holdfast.Code](err); ok {
		return string(c)
	}
	return "NETWORK"
}
