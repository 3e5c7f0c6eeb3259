package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// look is how often something is looked at that may take its time.
const look = 20 * time.Millisecond

// expect checks, and waits as long as it may.
func (a *actor) expect(s Step) []string {
	deadline := time.Now().Add(ms(s.Within))
	for {
		synctest.Wait()
		faults := a.check(s.Expect)
		if len(faults) == 0 || !time.Now().Before(deadline) {
			return faults
		}
		time.Sleep(look)
	}
}

// check compares everything, and takes note of what was seen if all is right.
func (a *actor) check(e *Expect) []string {
	c := &checker{}
	if m := a.manager; m != nil {
		session, in := m.Session()
		same(c, "signedIn", in, e.SignedIn)
		same(c, "user", session.User.ID, e.User)
		c.within("token", int64(a.st.srv.Serial(session.Access)), e.Token)
	}
	if e.State != "" && a.socket.State().String() != e.State {
		c.fault("state is %v, want %s", a.socket.State(), e.State)
	}
	srv := a.st.srv
	c.within("refreshes", int64(srv.Refreshes()), e.Refreshes)
	c.within("signOuts", int64(srv.SignOuts()), e.SignOuts)
	c.within("connections", int64(srv.Connections()), e.Connections)
	for _, path := range slices.Sorted(maps.Keys(e.Requests)) {
		want := e.Requests[path]
		c.within("requests of "+path, int64(srv.Requests(path)), &want)
	}
	a.st.mu.Lock()
	c.list("added", a.st.added, e.Added)
	a.st.mu.Unlock()
	switch {
	case a.queue == nil && (e.Queued != nil || e.Dead != nil):
		c.fault("there is no queue: config has none")
	case a.queue != nil:
		c.within("queued", int64(len(a.queue.Items())), e.Queued)
		c.within("dead", int64(len(a.queue.Dead())), e.Dead)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	c.within("unauthorized", a.unauthorized, e.Unauthorized)
	if e.Events != nil && !slices.Equal(a.events, *e.Events) {
		c.fault("events are %q, want %q", a.events, *e.Events)
	}
	if e.Changes != nil && !slices.Equal(a.changes, *e.Changes) {
		c.fault("changes are %q, want %q", a.changes, *e.Changes)
	}
	c.list("received", a.received, e.Received)
	for _, name := range slices.Sorted(maps.Keys(e.Results)) {
		if len(a.outcomes[name]) == 0 {
			c.fault("nothing was done as %s", name)
		}
		for _, o := range a.outcomes[name] {
			c.result(name, o, e.Results[name])
		}
	}
	if len(c.faults) == 0 {
		a.seen(e)
	}
	return c.faults
}

// seen forgets what an expectation has looked at.
func (a *actor) seen(e *Expect) {
	if e.Events != nil {
		a.events = nil
	}
	if e.Changes != nil {
		a.changes = nil
	}
	if e.Received != nil {
		a.received = nil
	}
}

// checker collects what is not as it should be.
type checker struct{ faults []string }

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func same[T comparable](c *checker, what string, got T, want *T) {
	if want != nil && got != *want {
		c.fault("%s is %v, want %v", what, got, *want)
	}
}

func (c *checker) within(what string, got int64, want *Range) {
	if want != nil && !want.holds(got) {
		c.fault("%s is %d, want %v", what, got, want)
	}
}

func (c *checker) list(what string, got []json.RawMessage, want *[]json.RawMessage) {
	if want != nil && !slices.EqualFunc(got, *want, equalJSON) {
		c.fault("%s is %s, want %s", what, got, *want)
	}
}

// equalJSON compares two texts of JSON but for spaces.
func equalJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// result compares an outcome. The caller holds the actor's mu.
func (c *checker) result(name string, o *outcome, want Result) {
	switch {
	case want.Pending:
		if o.done {
			c.fault("%s has ended (%v)", name, o.err)
		}
		return
	case !o.done:
		c.fault("%s has not ended", name)
		return
	}
	if got := errorName(o.err); got != want.Error {
		c.fault("%s ended with %q (%v), want %q", name, got, o.err, want.Error)
	}
	same(c, name+".final", tokens.Final(o.err), want.Final)
	var status int
	if e, ok := errors.AsType[*client.Error](o.err); ok {
		status = e.Status
	}
	if want.Status != 0 && status != want.Status {
		c.fault("%s has status %d, want %d", name, status, want.Status)
	}
	var after time.Duration
	if e, ok := errors.AsType[*holdfast.Error](o.err); ok {
		after = e.RetryAfter
	}
	if want.RetryAfter != 0 && after != ms(want.RetryAfter) {
		c.fault("%s says to come back in %v, want %v", name, after, ms(want.RetryAfter))
	}
	if want.Data != nil && !equalJSON(o.data, want.Data) {
		c.fault("%s returned %s, want %s", name, o.data, want.Data)
	}
	c.within(name+".took", o.took.Milliseconds(), want.Took)
}
