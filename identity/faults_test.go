package identity

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

var errFault = errors.New("fault: the database went away")

// faultKind is what happens at a step of the conversation with the database.
type faultKind int

const (
	// failBefore: the step is not done, as when the process or the database
	// is killed ahead of it.
	failBefore faultKind = iota
	// failAfter: the step is done, and nobody learns of it, as when they are
	// killed right after it, or the connection breaks.
	failAfter
	// cancelBefore: the caller gives up ahead of the step.
	cancelBefore
	faultKinds
)

// faults makes one step of a connection fail. Steps are begin, each
// statement, and commit.
type faults struct {
	mu        sync.Mutex // guards what follows
	armed     bool
	kind      faultKind
	left      int // steps until the fault
	cancel    context.CancelFunc
	hit       bool
	committed bool
}

// arm makes the step of that number, from 0, fail.
func (f *faults) arm(kind faultKind, step int, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.kind, f.left, f.cancel, f.hit, f.committed = true, kind, step, cancel, false, false
}

// disarm reports whether the fault happened, and whether a transaction was
// committed since arm.
func (f *faults) disarm() (hit, committed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.hit, f.committed
}

func (f *faults) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committed = true
}

// step says what happens at the next step.
func (f *faults) step() (before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil, nil
	}
	f.left--
	if f.left != -1 {
		return nil, nil
	}
	f.hit = true
	switch f.kind {
	case failBefore:
		return errFault, nil
	case failAfter:
		return nil, errFault
	case cancelBefore:
		f.cancel()
	}
	return nil, nil
}

// wrap puts the faults in the way of a database.
func (f *faults) wrap(c driver.Connector) driver.Connector { return faultyConnector{c, f} }

type faultyConnector struct {
	driver.Connector
	faults *faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyConn{conn, c.faults}, nil
}

type faultyConn struct {
	driver.Conn
	faults *faults
}

func (c *faultyConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	before, after := c.faults.step()
	if before != nil {
		return nil, before
	}
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	if err == nil && after != nil {
		return nil, errors.Join(after, tx.Rollback()) // the connection's end
	}
	return faultyTx{tx, c.faults}, err
}

func (c *faultyConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	before, after := c.faults.step()
	if before != nil {
		return nil, before
	}
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args)
	if err == nil && after != nil {
		return nil, after
	}
	return result, err
}

func (c *faultyConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	before, after := c.faults.step()
	if before != nil {
		return nil, before
	}
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args)
	if err == nil && after != nil {
		return nil, errors.Join(after, rows.Close())
	}
	return rows, err
}

func (c *faultyConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *faultyConn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

func (c *faultyConn) IsValid() bool {
	if validator, ok := c.Conn.(driver.Validator); ok {
		return validator.IsValid()
	}
	return true
}

type faultyTx struct {
	driver.Tx
	faults *faults
}

func (t faultyTx) Commit() error {
	before, after := t.faults.step()
	if before != nil {
		return errors.Join(before, t.Rollback())
	}
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	t.faults.done()
	return after
}

// eachFault runs do with a fault of each kind at step 0, 1, 2, … until do
// returns false: there was no such step any more.
func eachFault(t *testing.T, database string, do func(t *testing.T, h *harness, f *faults, kind faultKind, step int) (more bool)) {
	t.Helper()
	t.Parallel()
	cfg := newDatabase(t, database)
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, cfg, nil)
		f := &faults{}
		h.wrap = f.wrap
		h.open()
		h.user("ann@example.com")
		for kind := range faultKinds {
			step := 0
			for do(t, h, f, kind, step) {
				step++
			}
			if step < 3 {
				t.Errorf("fault %d: only %d steps", kind, step)
			}
		}
	})
}

// deadlock makes two transactions wait for each other, and sees to it that
// both are done in the end.
func deadlock(t *testing.T, p *Provider) {
	t.Helper()
	ctx := t.Context()
	var ids [2]string
	for i := range ids {
		u, err := p.CreateUser(ctx, NewUser{Email: string(rune('a'+i)) + "@example.com"})
		noError(t, err)
		ids[i] = u.ID
	}
	var both, done sync.WaitGroup
	both.Add(2)
	var mu sync.Mutex
	tries := 0
	for i := range ids {
		done.Go(func() {
			first := true
			err := p.db.tx(ctx, func(tx *sql.Tx) error {
				mu.Lock()
				tries++
				mu.Unlock()
				if err := p.lockUser(ctx, tx, ids[i]); err != nil {
					return err
				}
				if first {
					first = false
					both.Done()
					both.Wait()
				}
				return p.lockUser(ctx, tx, ids[1-i])
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	// One was given up; on a busy machine perhaps again, until the other had its turn.
	if tries < 3 {
		t.Errorf("%d tries", tries)
	}
}
