package load

import (
	"slices"
	"testing"
	"time"
)

// TestOnWire has messages be left over in part: each is sent when its last byte
// is written.
func TestOnWire(t *testing.T) {
	e, c := &engine{base: time.Now()}, &conn{}
	var sent [4]int64
	if e.onWire(c, &sent[0]); sent[0] <= 0 || c.unsent != nil {
		t.Errorf("sent at %d, with nothing left over", sent[0])
	}
	sent[0] = 1
	for i := 1; i < len(sent); i++ {
		c.out = append(c.out, make([]byte, 10)...)
		e.onWire(c, &sent[i])
	}
	for _, step := range []struct {
		n    int
		at   int64
		want [4]int64
	}{
		{9, 5, [4]int64{1, 0, 0, 0}}, {1, 6, [4]int64{1, 6, 0, 0}}, {0, 7, [4]int64{1, 6, 0, 0}}, {20, 8, [4]int64{1, 6, 8, 8}},
	} {
		if c.flush(step.n, step.at); sent != step.want {
			t.Errorf("after %d bytes more: %v, want %v", step.n, sent, step.want)
		}
	}
	if c.out = append(c.out, "one more"...); c.unsent != nil {
		t.Errorf("%v are waited for", c.unsent)
	}
	e.onWire(c, &sent[0])
	if c.flush(len("one more"), 9); sent[0] != 9 {
		t.Errorf("%v after all", sent)
	}
}

// TestBacklog has a socket hold more than one read takes.
func TestBacklog(t *testing.T) {
	c := &conn{}
	var got []int64
	for _, n := range []int{3, 10, 10, 4, 4, 10, 10} {
		c.took(n, 10)
		got = append(got, c.backlog)
	}
	if want := []int64{3, 10, 20, 24, 4, 10, 20}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r := &recorder{e: &engine{}}
	for _, n := range []int64{50, 20, 70} {
		r.unread(n)
		r.e.ended++
	}
	if r.leastUnread != 20 {
		t.Errorf("at least %d", r.leastUnread)
	}
}
