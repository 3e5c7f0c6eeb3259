package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// step is one thing that happens in a model: see model.do.
type step struct {
	What string
	Who  int           // of the managers
	Wait time.Duration // after it
}

// fate is what becomes of one refresh at the issuer.
type fate struct {
	Slow time.Duration
	Fail string // "": answered; "before" or "after" the rotation the network fails
}

// plan is one run of a model, drawn before it.
type plan struct {
	Steps []step
	Fates []fate // of the first refreshes; the others are answered at once
}

func drawPlan(t *rapid.T, what ...string) plan {
	wait := rapid.Custom(func(t *rapid.T) time.Duration {
		most := rapid.SampledFrom([]time.Duration{0, 10 * time.Millisecond, 3 * time.Second, time.Minute}).Draw(t, "most")
		return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "wait"))
	})
	steps := rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(what).Draw(t, "what"), rapid.IntRange(0, 2).Draw(t, "who"), wait.Draw(t, "then")}
	})
	fates := rapid.Custom(func(t *rapid.T) fate {
		return fate{time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "slow")), rapid.SampledFrom([]string{"", "", "before", "after"}).Draw(t, "fail")}
	})
	p := plan{Steps: rapid.SliceOfN(steps, 1, 40).Draw(t, "steps"), Fates: rapid.SliceOfN(fates, 0, 20).Draw(t, "fates")}
	// Three failures in a row may last longer than the grace: that is no fault of
	// anybody's.
	for i := range p.Fates {
		if i%3 == 2 {
			p.Fates[i].Fail = ""
		}
	}
	return p
}

// model is three processes on one store, and an issuer with rotation, grace and
// reuse detection.
type model struct {
	t     *testing.T
	store *Memory
	all   [3]*modelProcess
	wg    sync.WaitGroup

	mu       sync.Mutex
	fates    []fate
	n        int
	families map[string]*modelFamily // by their refresh tokens, old ones too
	faults   []string
}

// modelFamily is one login session at the issuer.
type modelFamily struct {
	user, id        string
	current, before string
	rotated         time.Time
}

// modelProcess is a process with a manager, which may be killed: nothing that it
// does has an effect from then on, and its lock is free.
type modelProcess struct {
	*Memory
	m *Manager

	mu     sync.Mutex
	dead   bool
	fault  error // of its store
	unlock func()
}

var errKilled = errors.New("killed")

func (p *modelProcess) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errKilled
	}
	return p.fault
}

func (p *modelProcess) Load(ctx context.Context) (*Session, error) {
	if err := p.alive(); err != nil {
		return nil, err
	}
	return p.Memory.Load(ctx)
}

func (p *modelProcess) Swap(ctx context.Context, old, next *Session) (*Session, error) {
	if err := p.alive(); err != nil {
		return nil, err
	}
	return p.Memory.Swap(ctx, old, next)
}

func (p *modelProcess) SetNote(ctx context.Context, name, text string) error {
	if err := p.alive(); err != nil {
		return err
	}
	return p.Memory.SetNote(ctx, name, text)
}

func (p *modelProcess) Lock(ctx context.Context) (func(), error) {
	unlock, err := p.Memory.Lock(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		unlock()
		return nil, errKilled
	}
	p.unlock = unlock
	return unlock, nil
}

func (p *modelProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	if p.unlock != nil {
		p.unlock() // again does nothing
	}
}

func (x *model) start(i int) {
	p := &modelProcess{Memory: x.store}
	m, err := NewManager(Config{
		Store: p, Logger: slog.New(slog.DiscardHandler),
		Refresh: func(ctx context.Context, old Session) (Session, error) { return x.refresh(ctx, p, old) },
	})
	if err != nil {
		x.t.Fatal(err)
	}
	p.m = m
	x.all[i] = p
}

func (x *model) refresh(ctx context.Context, p *modelProcess, old Session) (Session, error) {
	x.mu.Lock()
	var f fate
	if len(x.fates) > 0 {
		f, x.fates = x.fates[0], x.fates[1:]
	}
	x.mu.Unlock()
	time.Sleep(f.Slow)
	if f.Fail == "before" || errors.Is(p.alive(), errKilled) {
		return Session{}, errors.New("network")
	}
	s, err := x.rotate(old)
	time.Sleep(f.Slow)
	if f.Fail == "after" {
		return Session{}, errors.New("network")
	}
	return s, err
}

func (x *model) rotate(old Session) (Session, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.families[old.Refresh]
	switch {
	case old.Refresh == f.current:
		x.n++
		f.before, f.current, f.rotated = f.current, fmt.Sprint("r", x.n), time.Now()
		x.families[f.current] = f
	case old.Refresh == f.before && time.Since(f.rotated) <= 30*time.Second:
	default:
		x.faults = append(x.faults, old.Refresh+" is used again after "+time.Since(f.rotated).String())
		return Session{}, holdfast.RefreshReused.New()
	}
	return f.session(), nil
}

func (f *modelFamily) session() Session {
	return Session{Access: "a" + f.current, Refresh: f.current, User: holdfast.User{ID: f.user}, SessionID: f.id, Lifetime: time.Minute}
}

func (x *model) signIn(m *Manager) {
	x.mu.Lock()
	x.n++
	f := &modelFamily{user: fmt.Sprint("u", x.n%2), id: fmt.Sprint("s", x.n), current: fmt.Sprint("r", x.n)}
	x.families[f.current] = f
	s := f.session()
	x.mu.Unlock()
	_ = m.SetTokens(context.Background(), s)
}

func (x *model) do(s step) {
	p := x.all[s.Who]
	ctx := context.Background()
	switch s.What {
	case "sign in":
		x.wg.Go(func() { x.signIn(p.m) })
	case "sign out":
		x.wg.Go(func() { _ = p.m.Clear(ctx) })
	case "refresh":
		x.wg.Go(func() { _ = p.m.Refresh(ctx) })
	case "refused":
		if now, err := p.m.Token(ctx); err == nil {
			x.wg.Go(func() { _, _ = p.m.Refused(ctx, now, holdfast.TokenExpired.New()) })
		}
	case "kill":
		p.kill()
		x.wg.Go(func() { _ = p.m.Close() })
		x.start(s.Who)
	case "fault", "repair":
		p.mu.Lock()
		p.fault = nil
		if s.What == "fault" {
			p.fault = errors.New("no space left on device")
		}
		p.mu.Unlock()
	}
	time.Sleep(s.Wait)
}

// run plays a plan and returns what is wrong with how it went, and at rest.
func run(t *testing.T, p plan) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		x := &model{t: t, store: NewMemory(), fates: p.Fates, families: make(map[string]*modelFamily)}
		for i := range x.all {
			x.start(i)
		}
		x.signIn(x.all[0].m)
		for _, s := range p.Steps {
			x.do(s)
		}
		for _, p := range x.all {
			p.mu.Lock()
			p.fault = nil
			p.mu.Unlock()
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		kept, _ := x.store.Load(t.Context())
		for i, p := range x.all {
			if s, ok := p.m.Session(); ok != (kept != nil) || ok && s.Access != kept.Access {
				x.faults = append(x.faults, fmt.Sprintf("manager %d has %q, and %v is kept", i, s.Access, kept))
			}
			if p.m.SignedIn() {
				if _, err := p.m.Token(t.Context()); err != nil {
					x.faults = append(x.faults, err.Error())
				}
			}
		}
		for _, p := range x.all {
			_ = p.m.Close()
		}
		x.wg.Wait()
		x.mu.Lock()
		defer x.mu.Unlock()
		faults = x.faults
	})
	return faults
}

// Whatever happens to processes that share a store, being killed included, no
// refresh token is used after its grace, and at rest they agree.
func TestModelOfProcesses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, "sign in", "sign out", "refresh", "refresh", "refused", "refused", "kill")
		if faults := run(t, p); len(faults) > 0 {
			rt.Fatalf("%q\n%+v", faults, p)
		}
	})
}

// With a store that fails, what it should have kept may be lost to the others;
// they agree in the end all the same.
func TestModelFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, "sign in", "sign out", "refresh", "refused", "kill", "fault", "repair")
		for _, fault := range run(t, p) {
			if len(fault) > 7 && fault[:7] == "manager" {
				rt.Fatalf("%q\n%+v", fault, p)
			}
		}
	})
}
