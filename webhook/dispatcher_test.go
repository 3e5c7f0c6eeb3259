package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// Each thing that happens comes as a message of its form.
func TestTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, nil)
		w := newWorld(t, Config{}, b)
		ctx := t.Context()
		id := &holdfast.Identity{User: "u1", Name: "Ann", Session: "s1"}
		peer := NewPeer(id)
		peer.Connection, peer.Transport = "c1", "websocket"
		tell := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		tell(w.Connected(ctx, Connection{Peer: peer}))
		tell(w.Joined(ctx, Membership{Peer: peer, Room: "board-1"}))
		tell(w.Published(ctx, &holdfast.Event{Room: "board-1", Name: "moved", Data: []byte(`{"x":[{"_placeholder":true,"num":0}]}`),
			Attachments: [][]byte{{1, 2}}, Position: holdfast.Position{Epoch: "e", Offset: 7}, ID: "i1", From: "u1"}))
		tell(w.Published(ctx, &holdfast.Event{Room: "board-1", Name: "moved", Position: holdfast.Position{Epoch: "e", Offset: 8}}))
		tell(w.Left(ctx, Membership{Peer: peer, Room: "board-1", Code: holdfast.Forbidden}))
		tell(w.Disconnected(ctx, Connection{Peer: NewPeer(nil), Code: holdfast.SlowConsumer}))
		var got []string
		seen := make(map[string]bool)
		for i, d := range b.take() {
			got = append(got, string(d.Type)+" "+string(d.Data))
			seen[d.ID] = true
			if want := time.UnixMilli(946684800000 + int64(i)); !d.Timestamp.Equal(want) || !strings.HasPrefix(d.ID, "msg_") {
				t.Errorf("%s: %v, want %v; id %s", d.Type, d.Timestamp, want, d.ID)
			}
		}
		want := []string{
			`connected {"user":{"id":"u1","name":"Ann"},"session":"s1","connection":"c1","transport":"websocket"}`,
			`joined {"user":{"id":"u1","name":"Ann"},"session":"s1","connection":"c1","transport":"websocket","room":"board-1"}`,
			`published {"room":"board-1","event":"moved","data":{"x":[{"$base64":"AQI="}]},"epoch":"e","offset":7,"id":"i1","from":"u1"}`,
			`published {"room":"board-1","event":"moved","data":null,"epoch":"e","offset":8}`,
			`left {"user":{"id":"u1","name":"Ann"},"session":"s1","connection":"c1","transport":"websocket","room":"board-1","code":"FORBIDDEN"}`,
			`disconnected {"code":"SLOW_CONSUMER"}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if len(seen) != len(want) || w.memory.Len() != 0 {
			t.Errorf("%d ids; %d left in the outbox", len(seen), w.memory.Len())
		}
	})
}

// A target is told what it wants to know, of the rooms that it names.
func TestWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, some, asked := newBackend(t, nil), newBackend(t, nil), newBackend(t, nil)
		w := newWorld(t, Config{Targets: []Target{
			{}, {Events: []Type{TypeJoined, TypeConnected}, Rooms: []string{"board-*", "!board-7"}}, {Decide: []Type{TypeJoin}},
		}}, all, some, asked)
		for _, room := range []string{"board-1", "board-7", "lobby"} {
			w.joined(t, "c", room)
			if err := w.Left(t.Context(), Membership{Room: room}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Connected(t.Context(), Connection{}); err != nil {
			t.Fatal(err)
		}
		if n := [3]int{len(all.take()), len(some.take()), len(asked.take())}; n != [3]int{7, 2, 0} {
			t.Errorf("told %v", n)
		}
		if !w.Tells(TypePublished) || !w.Asks(TypeJoin) || w.Asks(TypePublish) {
			t.Error("Tells or Asks")
		}
	})
}

// What fails is tried five times, after times that grow to an hour, and given
// up; each attempt is signed anew, and is the same message.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, status(http.StatusInternalServerError))
		w := newWorld(t, Config{}, b)
		w.joined(t, "c1", "a")
		time.Sleep(3 * time.Hour)
		got := b.take()
		if len(got) != MaxAttempts {
			t.Fatalf("%d attempts", len(got))
		}
		bounds := [][2]time.Duration{{time.Second, 2 * time.Second}, {12 * time.Second, 24 * time.Second}, {150 * time.Second, 300 * time.Second}, {30 * time.Minute, time.Hour}}
		for i, b := range bounds {
			if gap := got[i+1].at.Sub(got[i].at); gap < b[0] || gap > b[1]+time.Millisecond || got[i].ID != got[i+1].ID {
				t.Errorf("attempt %d after %v, want %v; %s and %s", i+2, gap, b, got[i].ID, got[i+1].ID)
			}
		}
		var outcomes []string
		for _, r := range w.observed() {
			outcomes = append(outcomes, fmt.Sprint(r.Outcome, r.Attempt, r.Status, r.Target, r.Type))
		}
		var want []string
		for i := 1; i < MaxAttempts; i++ {
			want = append(want, fmt.Sprint("retried", i, 500, "a.example/hook", "joined"))
		}
		if diff := cmp.Diff(append(want, fmt.Sprint("dead", MaxAttempts, 500, "a.example/hook", "joined")), outcomes); diff != "" {
			t.Error(diff)
		}
		dead := w.memory.Dead()
		if len(dead) != 1 || dead[0].Reason != "answered 500" || dead[0].Attempts != MaxAttempts || w.memory.Len() != 0 {
			t.Errorf("dead: %+v; %d left", dead, w.memory.Len())
		}
		if log := w.logged(); strings.Count(log, "given_up=true") != 1 || strings.Contains(log, "whsec") || strings.Contains(log, "http:") {
			t.Error(log)
		}
	})
}

// What the target answers decides how it goes on.
func TestAnswers(t *testing.T) {
	big := strings.Repeat("x", maxAnswer+1)
	for name, c := range map[string]struct {
		answer   func(http.ResponseWriter, Message)
		attempts int           // within an hour and a half
		second   time.Duration // when the second comes at least
		reason   string        // of giving up
	}{
		"200":             {answer: text("thanks"), attempts: 1},
		"202":             {answer: status(202), attempts: 1},
		"200 and too big": {answer: text(big), attempts: 1},
		"redirect": {answer: func(w http.ResponseWriter, _ Message) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, attempts: 5, second: time.Second, reason: "answered 307"},
		"404":  {answer: status(404), attempts: 5, second: time.Second, reason: "answered 404"},
		"gone": {answer: status(410), attempts: 1, reason: "answered 410"},
		"too many": {answer: func(w http.ResponseWriter, _ Message) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		}, attempts: 5, second: 30 * time.Second, reason: "answered 429"},
		"silence": {answer: func(http.ResponseWriter, Message) { time.Sleep(time.Minute) }, attempts: 5, second: 16 * time.Second, reason: "deadline exceeded"},
		"cut off": {answer: func(http.ResponseWriter, Message) { panic(http.ErrAbortHandler) }, attempts: 5, second: time.Second, reason: "EOF"},
		"a huge header": {answer: func(w http.ResponseWriter, _ Message) {
			w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
		}, attempts: 5, second: time.Second, reason: "headers exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t, c.answer)
				w := newWorld(t, Config{}, b)
				w.joined(t, "c1", "a")
				time.Sleep(90 * time.Minute)
				got := b.take()
				if len(got) != c.attempts {
					t.Fatalf("%d attempts, want %d\n%s", len(got), c.attempts, w.logged())
				}
				if c.attempts > 1 && got[1].at.Sub(got[0].at) < c.second {
					t.Errorf("the second after %v, want at least %v", got[1].at.Sub(got[0].at), c.second)
				}
				dead := w.memory.Dead()
				if c.reason == "" && len(dead) > 0 || c.reason != "" && (len(dead) != 1 || !strings.Contains(dead[0].Reason, c.reason)) {
					t.Errorf("dead: %+v, want %q", dead, c.reason)
				}
			})
		})
	}
}

// A target that is dead holds up no other, and has so many calls at once.
func TestTargetsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards the counts
		running, most := 0, 0
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			running += by
			most = max(most, running)
		}
		dead := newBackend(t, func(http.ResponseWriter, Message) {
			count(1)
			defer count(-1)
			time.Sleep(time.Minute)
		})
		alive := newBackend(t, nil)
		w := newWorld(t, Config{Targets: []Target{{Concurrency: 3}}}, dead, alive)
		for i := range 500 {
			w.joined(t, fmt.Sprint("c", i), "a")
		}
		if n := len(alive.take()); n != 500 {
			t.Errorf("%d of 500 have come", n)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 {
			t.Errorf("%d calls at once, want 3", most)
		}
	})
}

// Messages of one connection come in their order, also when they are many; one
// that failed holds up no other.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 0
		b := newBackend(t, func(w http.ResponseWriter, m Message) {
			switch data := decode[Membership](t, m); {
			case data.Room == "bad":
				w.WriteHeader(500)
			case data.Peer.Connection == "slow":
				slow++
				time.Sleep(100 * time.Millisecond)
			}
		})
		w := newWorld(t, Config{}, b)
		want := make(map[string][]string)
		for i := range 100 {
			for _, c := range []string{"slow", "x", "y"} {
				room := fmt.Sprintf("r%03d", i)
				w.joined(t, c, room)
				want[c] = append(want[c], room)
			}
			if i == 3 {
				w.joined(t, "x", "bad")
			}
		}
		time.Sleep(11 * time.Second)
		got := make(map[string][]string)
		for _, d := range b.take() {
			if data := decode[Membership](t, d.Message); data.Room != "bad" {
				got[data.Peer.Connection] = append(got[data.Peer.Connection], data.Room)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// countingOutbox counts calls, and fails as it is told to.
type countingOutbox struct {
	*Memory
	mu    sync.Mutex // guards what follows
	calls map[string]int
	fail  map[string]bool
}

func (o *countingOutbox) call(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[name]++
	if o.fail[name] {
		return errors.New("the disk is on fire")
	}
	return nil
}

// used returns how often each method was called.
func (o *countingOutbox) used() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.calls)
}

func (o *countingOutbox) set(name string, fail bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail[name] = fail
}

func (o *countingOutbox) Add(ctx context.Context, entries []Entry) error {
	if err := o.call("add"); err != nil {
		return err
	}
	time.Sleep(time.Millisecond) // the others come together meanwhile
	return o.Memory.Add(ctx, entries)
}

func (o *countingOutbox) Claim(ctx context.Context, target string, limit int, lease time.Duration) ([]Entry, time.Time, error) {
	if err := o.call("claim"); err != nil {
		return nil, time.Time{}, err
	}
	return o.Memory.Claim(ctx, target, limit, lease)
}

func (o *countingOutbox) Settle(ctx context.Context, outcomes []Outcome) error {
	if err := o.call("settle"); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return o.Memory.Settle(ctx, outcomes)
}

// Many calls at once are few uses of the outbox.
func TestWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, nil)
		o := &countingOutbox{Memory: NewMemory(), calls: make(map[string]int), fail: make(map[string]bool)}
		w := newWorld(t, Config{Outbox: o}, b)
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() { w.joined(t, fmt.Sprint(i), "a") })
		}
		all.Wait()
		time.Sleep(10 * time.Second)
		if n := len(b.take()); n != 1000 {
			t.Errorf("%d of 1000 have come", n)
		}
		used := o.used()
		if used["add"] > 6 || used["claim"] > 100 || used["settle"] > 300 {
			t.Errorf("calls: %v", used)
		}
		time.Sleep(time.Hour)
		if n := o.used()["claim"] - used["claim"]; n > 3600/5+1 {
			t.Errorf("%d claims in an idle hour", n)
		}
	})
}

// An outbox that fails for a while is tried again, and what was delivered
// meanwhile settled later. One that fails for longer takes nothing.
func TestOutboxInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, nil)
		o := &countingOutbox{Memory: NewMemory(), calls: make(map[string]int), fail: map[string]bool{"claim": true, "settle": true}}
		w := newWorld(t, Config{Outbox: o}, b)
		w.joined(t, "c1", "a")
		time.Sleep(10 * time.Second)
		if n := len(b.take()); n != 0 {
			t.Errorf("%d came that were not claimed", n)
		}
		o.set("claim", false)
		time.Sleep(10 * time.Second)
		if n := len(b.take()); n != 1 || o.Len() != 1 {
			t.Errorf("%d came, %d wait", n, o.Len())
		}
		o.set("settle", false)
		time.Sleep(10 * time.Second)
		if n := len(b.take()); n != 0 || o.Len() != 0 {
			t.Errorf("%d came again, %d wait", n, o.Len())
		}
		w.observed()
		o.set("add", true)
		go func() { time.Sleep(addPause / 2); o.set("add", false) }()
		w.joined(t, "c1", "b")
		o.set("add", true)
		if err := w.Joined(t.Context(), Membership{Room: "c"}); err == nil {
			t.Error("added to what fails")
		}
		if r := w.observed(); len(r) != 2 || r[0].Outcome != Delivered || r[1].Outcome != Dropped {
			t.Errorf("observed %+v", r)
		}
		if log := w.logged(); strings.Count(log, "the outbox of webhooks fails") != 2 || strings.Count(log, "webhook dropped") != 1 {
			t.Error(log)
		}
	})
}

// Shutdown with an outbox in memory makes one attempt of all that is due; with
// another it finishes what runs, and leaves the rest.
func TestShutdown(t *testing.T) {
	for name, durable := range map[string]bool{"in memory": false, "durable": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t, func(w http.ResponseWriter, m Message) {
					time.Sleep(time.Second)
					if decode[Membership](t, m).Room == "bad" {
						w.WriteHeader(500)
					}
				})
				cfg := Config{Targets: []Target{{Concurrency: 10}}}
				o := &countingOutbox{Memory: NewMemory(), calls: make(map[string]int), fail: make(map[string]bool)}
				if durable {
					cfg.Outbox = o
				}
				w := newWorld(t, cfg, b)
				for i := range 200 {
					w.joined(t, fmt.Sprint("c", i), []string{"good", "bad"}[i/199])
				}
				began := time.Now()
				if err := w.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				took, came := time.Since(began), len(b.take())
				left := w.memory
				if durable {
					left = o.Memory
				}
				// 20 s: ten at once.
				if !durable && (took < 19*time.Second || took > 21*time.Second || came != 200 || left.Len() != 1) ||
					durable && (took > time.Second || came > 20 || left.Len() != 200-came) {
					t.Errorf("%v, %d came, %d left", took, came, left.Len())
				}
				if entries, _, _ := left.Claim(t.Context(), "a.example/hook", 1000, time.Minute); durable && len(entries) != 200-came {
					t.Errorf("%d of %d are free at once", len(entries), 200-came)
				}
				if lost := strings.Contains(w.logged(), "webhooks are lost"); lost == durable {
					t.Errorf("lost: %v", lost)
				}
				if err := w.Joined(t.Context(), Membership{Room: "late"}); err == nil {
					t.Error("told after the end")
				}
				if err := w.Shutdown(t.Context()); err != nil {
					t.Errorf("once more: %v", err)
				}
			})
		})
	}
}

// A shutdown that may not wait cuts off, and what was cut off counts as not
// tried.
func TestShutdownCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, func(http.ResponseWriter, Message) { time.Sleep(14 * time.Second) })
		w := newWorld(t, Config{}, b)
		for i := range 20 {
			w.joined(t, fmt.Sprint("c", i), "a")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := w.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		entries, _, err := w.memory.Claim(t.Context(), "a.example/hook", 100, time.Minute)
		if err != nil || len(entries) != 20 || slices.ContainsFunc(entries, func(e Entry) bool { return e.Attempts != 0 }) {
			t.Errorf("%d are left, %v", len(entries), err)
		}
	})
}

// What another process has left behind is delivered by this one: at the start,
// and when its lease is over.
func TestLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewMemory()
		add := func(id string) {
			body, err := encode(id, TypeLeft, time.Now(), Membership{Room: "a"})
			if err == nil {
				err = o.Add(t.Context(), []Entry{{ID: id, Target: "a.example/hook", Type: TypeLeft, Key: "c", Body: body, Time: time.Now()}})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		add("msg_1")
		if _, _, err := o.Claim(t.Context(), "a.example/hook", 1, time.Minute); err != nil {
			t.Fatal(err)
		}
		add("msg_2")
		b := newBackend(t, nil)
		newWorld(t, Config{Outbox: o}, b)
		if got := b.take(); len(got) != 1 || got[0].ID != "msg_2" {
			t.Errorf("at the start: %+v", got)
		}
		time.Sleep(time.Minute)
		if got := b.take(); len(got) != 1 || got[0].ID != "msg_1" {
			t.Errorf("after the lease: %+v", got)
		}
		add("msg_3")
		time.Sleep(5 * time.Second)
		if got := b.take(); len(got) != 1 || got[0].ID != "msg_3" {
			t.Errorf("of another process: %+v", got)
		}
	})
}

func TestConfigMistakes(t *testing.T) {
	good := Target{URL: "https://app.example/hook", Secrets: []auth.Secret{auth.Secret(secretA)}}
	for want, change := range map[string]func(*Config){
		"absolute":               func(c *Config) { c.Targets[0].URL = "" },
		"https, or http":         func(c *Config) { c.Targets[0].URL = "http://app.example/" },
		"has no secret":          func(c *Config) { c.Targets[0].Secrets = nil },
		"must begin with whsec_": func(c *Config) { c.Targets[0].Secrets[0] = auth.Secret("canary") },
		"Events can't have":      func(c *Config) { c.Targets[0].Events = []Type{TypeJoin} },
		"Decide can't have":      func(c *Config) { c.Targets[0].Decide = []Type{TypeJoined} },
		"room pattern is empty":  func(c *Config) { c.Targets[0].Rooms = []string{""} },
		"two targets named":      func(c *Config) { c.Targets = append(c.Targets, good) },
		"over 200 bytes":         func(c *Config) { c.Targets[0].Name = strings.Repeat("n", 201) },
		"more than 64":           func(c *Config) { c.Targets = make([]Target, 65) },
		"not in AllowedNetworks": func(c *Config) { c.Targets[0].URL = "https://10.0.0.1/" },
	} {
		target := good
		target.Secrets = slices.Clone(good.Secrets)
		cfg := Config{Targets: []Target{target}}
		change(&cfg)
		d, err := New(cfg)
		if d != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	d, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Joined(t.Context(), Membership{Room: "a"}); err != nil {
		t.Error(err)
	}
	if err := d.DecideJoin(t.Context(), Peer{}, "a"); err != nil {
		t.Error(err)
	}
	if err := d.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
