package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/internal/checker"
	"github.com/holdfast-dev/holdfast/tokens"
)

// roomsEach is in how many rooms a resident is.
const roomsEach = 2

// tally counts over all residents.
type tally struct {
	signOuts, refreshes, adopted, failures, calls, publishes, repeats atomic.Int64
	longest                                                           atomic.Int64 // time that somebody was away
}

func (s *tally) away(d time.Duration) {
	for {
		old := s.longest.Load()
		if int64(d) <= old || s.longest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// resident is a client that stays: signed in, connected, in its rooms.
type resident struct {
	t         *testing.T
	name      string
	tally     *tally
	manager   *tokens.Manager
	transport *http.Transport
	client    *client.Client
	socket    *client.Socket
	rooms     []string
	// queued: it publishes through a queue, which repeats what was not
	// acknowledged; the others do that themselves.
	queued bool
	wg     sync.WaitGroup

	mu  sync.Mutex // guards what follows
	rec *checker.Member
	at  map[string]holdfast.Position
}

func newResident(t *testing.T, h *house, n int, session tokens.Session, store tokens.Store, sum *tally) *resident {
	t.Helper()
	r := &resident{
		t: t, name: fmt.Sprint("resident-", n), tally: sum, queued: n%2 == 0,
		transport: &http.Transport{}, at: make(map[string]holdfast.Position),
	}
	for i := range roomsEach {
		r.rooms = append(r.rooms, rooms()[(n+i*3)%len(rooms())])
	}
	log := slog.New(slog.DiscardHandler)
	endpoint, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: h.proxy.url() + "/api/auth/refresh", HTTPClient: &http.Client{Transport: r.transport}})
	if err != nil {
		t.Fatal(err)
	}
	if r.manager, err = tokens.NewManager(tokens.Config{Store: store, Refresh: endpoint.Refresh, Logger: log, RefreshTimeout: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	events, _ := r.manager.Events(256)
	r.wg.Go(func() { r.follow(events) })
	if session.Access != "" {
		if err := r.manager.SetTokens(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
	socket := client.SocketConfig{MinBackoff: 20 * time.Millisecond, MaxBackoff: time.Second, AckTimeout: 5 * time.Second}
	if r.queued {
		socket.Queue = queue.NewMemory(queue.Limits{})
	}
	// Each keeps to one transport, or figures would depend on who fell back.
	socket.Transports = []string{client.WebSocket}
	if n%5 == 4 {
		socket.Transports = []string{client.Polling}
	}
	if r.client, err = client.New(client.Config{
		BaseURL: h.proxy.url(), Source: r.manager, HTTPClient: &http.Client{Transport: r.transport}, Logger: log, Socket: socket,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	r.socket = r.client.Socket()
	changes, _ := r.socket.Changes(64)
	r.wg.Go(func() {
		var since time.Time // of being away
		for c := range changes {
			switch {
			case c.State == client.Disconnected && since.IsZero():
				since = time.Now()
			case c.State == client.Connected && !since.IsZero():
				sum.away(time.Since(since))
				since = time.Time{}
			}
			if c.Final && c.Err != nil {
				t.Errorf("%s: the socket has stopped: %v", r.name, c.Err)
			}
		}
	})
	return r
}

// follow counts what happens to the session.
func (r *resident) follow(events <-chan tokens.Event) {
	for e := range events {
		switch {
		case e.Missed > 0:
			r.t.Errorf("%s: %d events of the session were dropped", r.name, e.Missed)
		case e.Kind == tokens.SignOut, e.Kind == tokens.RefreshFailed:
			r.tally.signOuts.Add(1)
			r.t.Errorf("%s: %v: %v", r.name, e.Kind, e.Err)
		case e.Kind == tokens.Refreshed && e.Remote:
			r.tally.adopted.Add(1)
		case e.Kind == tokens.Refreshed:
			r.tally.refreshes.Add(1)
		case e.Kind == tokens.Failed:
			r.tally.failures.Add(1)
		}
	}
}

// enter connects and joins the rooms, before anything is published.
func (r *resident) enter() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.socket.Connect(ctx); err != nil {
		return err
	}
	for _, room := range r.rooms {
		holder, err := r.socket.Join(ctx, room, client.JoinOptions{
			OnEvent: func(_ context.Context, ev *holdfast.Event) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.rec.Event(room, ev.Position, valueOf(ev))
				r.at[room] = ev.Position
			},
			OnReset: func(_ context.Context, reset client.Reset) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.t.Errorf("%s: %s was reset", r.name, room)
				r.rec.Reset(room, "")
				r.at[room] = reset.Position
			},
			OnLeft: func(_ context.Context, err error) { r.t.Errorf("%s: out of %s: %v", r.name, room, err) },
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.at[room] = holder.Position()
		r.mu.Unlock()
	}
	return nil
}

// begin takes another record into use. Nothing is on its way.
func (r *resident) begin(run *checker.Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec = run.Member(r.name)
	for _, room := range r.rooms {
		r.rec.Resumed(room)
	}
}

// live publishes and makes calls until stop.
func (r *resident) live(rng *rand.Rand, run *checker.Recorder, round int, stop <-chan struct{}) {
	for n := 0; wait(rng, 5*time.Second, stop); n++ {
		if rng.IntN(4) == 0 {
			r.call()
			continue
		}
		r.publish(run, r.rooms[rng.IntN(len(r.rooms))], fmt.Sprintf("%d.%s.%d", round, r.name, n))
	}
}

// call makes a call that needs the token.
func (r *resident) call() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.tally.calls.Add(1)
	_, err := client.Get[json.RawMessage](ctx, r.client, "/api/auth/session")
	if err != nil && tokens.Final(err) {
		r.t.Errorf("%s: a call: %v", r.name, err)
	}
}

// publish publishes an event until it is acknowledged, under its id.
func (r *resident) publish(run *checker.Recorder, room, value string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.tally.publishes.Add(1)
	for {
		a := run.Publish(room, value)
		pos, err := r.socket.Publish(ctx, room, "moved", value, value)
		switch {
		case err == nil:
			a.Acked(pos)
			return
		case r.queued || ctx.Err() != nil || !passing(err):
			r.t.Errorf("%s: %q was not published: %v", r.name, value, err)
			return
		}
		r.tally.repeats.Add(1)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// passing reports whether a publish may be tried again.
func passing(err error) bool {
	if errors.Is(err, client.ErrNotConnected) || errors.Is(err, client.ErrConnectionLost) {
		return true
	}
	switch holdfast.CodeOf(err).Info().Action {
	case holdfast.ActionWait, holdfast.ActionReconnect, holdfast.ActionRefresh:
		return true
	}
	return false
}

// has reports whether the resident has all up to the last positions.
func (r *resident) has(last map[string]holdfast.Position) bool {
	if r.socket.State() != client.Connected {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, room := range r.rooms {
		if at, want := r.at[room], last[room]; want.Offset > 0 && (at.Epoch != want.Epoch || at.Offset < want.Offset) {
			return false
		}
	}
	return true
}

// upto says that the resident must have all there is.
func (r *resident) upto(last map[string]holdfast.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, room := range r.rooms {
		r.rec.Upto(room, last[room])
	}
}

// close may be called more than once.
func (r *resident) close() {
	_ = r.client.Close()
	<-r.socket.Done()
	_ = r.manager.Close()
	r.wg.Wait()
	r.transport.CloseIdleConnections()
}

func valueOf(ev *holdfast.Event) string {
	var value string
	_ = json.Unmarshal(ev.Data, &value)
	return value
}

// login makes an account and signs it in.
func login(t *testing.T, h *house, n int) tokens.Session {
	t.Helper()
	email, password := fmt.Sprintf("resident-%d@example.com", n), "a password of enough length"
	accounts := h.srv.Accounts()
	if _, err := accounts.CreateUser(t.Context(), identity.NewUser{Email: email, Password: password}); err != nil {
		t.Fatal(err)
	}
	in, err := accounts.SignIn(t.Context(), identity.SignInRequest{Email: email, Password: password}, identity.Client{Addr: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return tokens.Session{Access: in.AccessToken, Refresh: in.RefreshToken, SessionID: in.Session.ID}
}
