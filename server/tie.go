package server

import (
	"context"
	"slices"
	"time"
)

// tie is a context that ends with a link's cancel at the latest. A parent
// context would do the same, but costs each idle connection a kilobyte: maps of
// children, channels and functions to tell them.
type tie struct{ cancel context.CancelFunc }

// tie makes a context. untie is to be called once it is of no more use.
func (l *link) tie() (context.Context, *tie) {
	return l.bind(context.WithCancel(context.Background()))
}

// tieFor is tie for a context that ends after a time.
func (l *link) tieFor(limit time.Duration) (context.Context, *tie) {
	return l.bind(context.WithTimeout(context.Background(), limit))
}

func (l *link) bind(ctx context.Context, cancel context.CancelFunc) (context.Context, *tie) {
	t := &tie{cancel}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancelled {
		cancel()
	} else {
		l.ties = append(l.ties, t)
	}
	return ctx, t
}

// untie ends a context.
func (l *link) untie(t *tie) {
	t.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.ties, t); i >= 0 {
		l.ties = slices.Delete(l.ties, i, i+1)
	}
}

// cancel ends all contexts of the link, those to come among them.
func (l *link) cancel() {
	l.mu.Lock()
	ties := l.ties
	l.ties, l.cancelled = nil, true
	l.mu.Unlock()
	for _, t := range ties {
		t.cancel()
	}
}
