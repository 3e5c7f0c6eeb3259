package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestDecide(t *testing.T) {
	type verdict struct {
		code    holdfast.Code
		message string
		retry   time.Duration
		data    string
	}
	internal := verdict{code: holdfast.Internal, message: "It could not be decided", retry: time.Second}
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for answer, want := range map[string]struct{ join, publish verdict }{
		`{"allow":true}`:                      {},
		`{"allow":true,"data":{"n":2}}`:       {publish: verdict{data: `{"n":2}`}},
		`{"allow":true,"data":null,"more":1}`: {},
		`{"allow":false}`:                     {verdict{code: holdfast.Forbidden, message: "Not allowed in this room"}, verdict{code: holdfast.Forbidden, message: "Not allowed to publish this"}},
		`{"allow":false,"data":1,"code":"CONFLICT","message":" taken\n "}`: {verdict{code: holdfast.Conflict, message: "taken"}, verdict{code: holdfast.Conflict, message: "taken"}},
		`{"allow":false,"code":"RATE_LIMITED","retryAfter":30}`:            {verdict{code: holdfast.RateLimited, retry: 30 * time.Second}, verdict{code: holdfast.RateLimited, retry: 30 * time.Second}},
		`{"allow":false,"code":"RATE_LIMITED","retryAfter":1000000}`:       {verdict{code: holdfast.RateLimited, retry: time.Hour}, verdict{code: holdfast.RateLimited, retry: time.Hour}},
		`{"allow":false,"code":"SESSION_REVOKED","message":"x"}`:           {verdict{code: holdfast.Forbidden, message: "x"}, verdict{code: holdfast.Forbidden, message: "x"}},
		`{"allow":false,"message":"` + strings.Repeat("é", 150) + `"}`:     {verdict{code: holdfast.Forbidden, message: strings.Repeat("é", 100)}, verdict{code: holdfast.Forbidden, message: strings.Repeat("é", 100)}},
		``:                                   {internal, internal},
		`ok`:                                 {internal, internal},
		`[]`:                                 {internal, internal},
		`null`:                               {internal, internal},
		`{}`:                                 {internal, internal},
		`{"allow":"yes"}`:                    {internal, internal},
		`{"allow":null}`:                     {internal, internal},
		`{"allow":false,"allow":true}`:       {internal, internal},
		`{"allow":true,"data":` + deep + `}`: {internal, internal},
		strings.Repeat(" ", 1<<20) + `{"allow":true}`: {internal, internal},
		"204":   {internal, internal},
		"307":   {internal, internal},
		"403":   {internal, internal},
		"500":   {internal, internal},
		"slow":  {internal, internal},
		"abort": {internal, internal},
	} {
		t.Run(fmt.Sprintf("%.30s", answer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t, func(w http.ResponseWriter, m Message) {
					switch code := 0; {
					case answer == "slow":
						time.Sleep(DefaultDecideTimeout + time.Second)
					case answer == "abort":
						panic(http.ErrAbortHandler)
					case len(answer) == 3 && answer[0] <= '9':
						_, _ = fmt.Sscan(answer, &code)
						w.Header().Set("Location", "/elsewhere")
						w.WriteHeader(code)
					default:
						text(answer)(w, m)
					}
				})
				w := newWorld(t, Config{Targets: []Target{{Decide: questions()}}}, b)
				check := func(what Type, want verdict, data string, err error) {
					t.Helper()
					got := verdict{data: data}
					if e, ok := errors.AsType[*holdfast.Error](err); ok {
						got = verdict{e.Code, e.Message, e.RetryAfter, ""}
					}
					if got != want {
						t.Errorf("%s: %+v, want %+v", what, got, want)
					}
				}
				began := time.Now()
				peer := NewPeer(&holdfast.Identity{User: "u1"})
				check(TypeJoin, want.join, "", w.DecideJoin(t.Context(), peer, "a"))
				data, err := w.DecidePublish(t.Context(), peer, &holdfast.Event{Room: "a", Name: "e", Data: []byte(`{"n":1}`), ID: "i"})
				check(TypePublish, want.publish, string(data), err)
				if took := time.Since(began); took > 2*DefaultDecideTimeout {
					t.Errorf("took %v", took)
				}
				got := b.take()
				if len(got) != 2 || string(got[0].Data) != `{"user":{"id":"u1"},"room":"a"}` ||
					string(got[1].Data) != `{"user":{"id":"u1"},"room":"a","event":"e","data":{"n":1},"id":"i"}` || got[0].Type != TypeJoin || got[1].Type != TypePublish {
					t.Errorf("asked %+v", got)
				}
				outcome := map[bool]string{true: Undecided, false: Denied}[want.join.code == holdfast.Internal]
				if want.join.code == "" {
					outcome = Allowed
				}
				if r := w.observed(); len(r) != 2 || r[0].Outcome != outcome || r[1].Outcome != outcome {
					t.Errorf("observed %+v, want %s", r, outcome)
				}
			})
		})
	}
}

// Several targets must all agree; each sees what the one before has made of it,
// and only rooms of its own.
func TestDecideTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newBackend(t, text(`{"allow":true,"data":2}`))
		second := newBackend(t, text(`{"allow":false,"code":"NOT_FOUND"}`))
		w := newWorld(t, Config{Targets: []Target{{Decide: []Type{TypePublish}}, {Decide: questions(), Rooms: []string{"b*"}}}}, first, second)
		ctx := t.Context()
		if err := w.DecideJoin(ctx, Peer{}, "a"); err != nil {
			t.Error(err)
		}
		if data, err := w.DecidePublish(ctx, Peer{}, &holdfast.Event{Room: "a", Name: "e"}); err != nil || string(data) != "2" {
			t.Errorf("%s %v", data, err)
		}
		if err := w.DecideJoin(ctx, Peer{}, "b"); !errors.Is(err, holdfast.NotFound) {
			t.Error(err)
		}
		if data, err := w.DecidePublish(ctx, Peer{}, &holdfast.Event{Room: "b", Name: "e"}); data != nil || !errors.Is(err, holdfast.NotFound) {
			t.Errorf("%s %v", data, err)
		}
		if got := first.take(); len(got) != 2 || string(decode[Proposal](t, got[0].Message).Data) != "null" {
			t.Errorf("the first: %+v", got)
		}
		if got := second.take(); len(got) != 2 || string(decode[Proposal](t, got[1].Message).Data) != "2" {
			t.Errorf("the second: %+v", got)
		}
	})
}

// A backend that is dead costs the first askers their time, and then nobody,
// but one now and then who finds out that it is back.
func TestDeadDecider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards dead
		dead := true
		b := newBackend(t, func(w http.ResponseWriter, m Message) {
			mu.Lock()
			isDead := dead
			mu.Unlock()
			if isDead {
				time.Sleep(time.Minute)
			}
			text(`{"allow":true}`)(w, m)
		})
		w := newWorld(t, Config{Targets: []Target{{Decide: questions()}}}, b)
		ask := func() (took time.Duration, err error) {
			began := time.Now()
			err = w.DecideJoin(t.Context(), Peer{}, "a")
			return time.Since(began), err
		}
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if took, err := ask(); !errors.Is(err, holdfast.Internal) || took > DefaultDecideTimeout {
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		all.Wait()
		if n := len(b.take()); n < gateSlots || n >= gateSlots+gateFailures {
			t.Errorf("%d came at once, want %d", n, gateSlots)
		}
		slow, asked := 0, 0
		for range 1000 { // 100 s
			took, err := ask()
			if !errors.Is(err, holdfast.Internal) {
				t.Fatalf("%v", err)
			}
			if took > 0 {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if asked = len(b.take()); slow > 5 || asked != slow || slow < 2 {
			t.Errorf("%d waited, and %d were asked", slow, asked)
		}
		mu.Lock()
		dead = false
		mu.Unlock()
		time.Sleep(gateMaxPause)
		for range 10 {
			if took, err := ask(); err != nil || took > 0 {
				t.Errorf("%v after %v", err, took)
			}
		}
	})
}

// Who goes away meanwhile says nothing about the target, and Shutdown ends the
// questions.
func TestAskerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, func(http.ResponseWriter, Message) { time.Sleep(time.Minute) })
		w := newWorld(t, Config{Targets: []Target{{Decide: questions(), DecideTimeout: 10 * time.Second}}}, b)
		for range 2 * gateFailures {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			if err := w.DecideJoin(ctx, Peer{}, "a"); !errors.Is(err, holdfast.Internal) || time.Since(began) != time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		time.AfterFunc(time.Second, func() { _ = w.Shutdown(t.Context()) })
		began := time.Now()
		if err := w.DecideJoin(t.Context(), Peer{}, "a"); !errors.Is(err, holdfast.Internal) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
