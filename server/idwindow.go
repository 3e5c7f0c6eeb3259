package server

import (
	"container/list"
	"time"
)

// idKey names an event: whose id, and the id.
type idKey struct{ scope, id string }

// idRecord is an event that was handled.
type idRecord struct {
	key  idKey
	name string // of the event, with its namespace
	ack  []byte // as encodeAck makes it
	at   time.Time

	inAll, inScope *list.Element
}

// idRecordCost is what a record takes besides its text.
const idRecordCost = 384

func (r *idRecord) cost() int {
	return idRecordCost + len(r.key.scope) + len(r.key.id) + len(r.name) + len(r.ack)
}

// idLimits bound an idWindow. Over any of them the oldest records go.
type idLimits struct {
	age        time.Duration
	perScope   int
	scopeBytes int // so that one user's long answers don't drive out everybody's
	totalBytes int
}

// idWindow remembers the answers of the newest events. It is not safe for
// concurrent use.
type idWindow struct {
	limits  idLimits
	records map[idKey]*idRecord
	scopes  map[string]*idScope
	all     list.List // of *idRecord, the oldest first
	bytes   int
}

// idScope is one user's part of a window.
type idScope struct {
	name  string
	list  list.List // of *idRecord, the oldest first
	bytes int
}

// find returns the record of a key; nil if there is none any more.
func (w *idWindow) find(k idKey, now time.Time) *idRecord {
	w.expire(now)
	return w.records[k]
}

// add remembers an answer; times never go back.
func (w *idWindow) add(k idKey, name string, ack []byte, now time.Time) {
	w.expire(now)
	if old := w.records[k]; old != nil {
		w.remove(old)
	}
	if w.records == nil {
		w.records, w.scopes = make(map[idKey]*idRecord), make(map[string]*idScope)
	}
	scope := w.scopes[k.scope]
	if scope == nil {
		scope = &idScope{name: k.scope}
		w.scopes[k.scope] = scope
	}
	k.scope = scope.name // one copy for all
	r := &idRecord{key: k, name: name, ack: ack, at: now}
	w.records[k] = r
	r.inAll, r.inScope = w.all.PushBack(r), scope.list.PushBack(r)
	w.bytes += r.cost()
	scope.bytes += r.cost()
	for scope.list.Len() > w.limits.perScope || scope.bytes > w.limits.scopeBytes {
		w.remove(scope.list.Front().Value.(*idRecord))
	}
	for w.bytes > w.limits.totalBytes {
		w.remove(w.all.Front().Value.(*idRecord))
	}
}

// forget drops all of a scope.
func (w *idWindow) forget(scope string) {
	s := w.scopes[scope]
	for s != nil && s.list.Len() > 0 {
		w.remove(s.list.Front().Value.(*idRecord))
	}
}

// expire drops what is too old.
func (w *idWindow) expire(now time.Time) {
	for {
		front := w.all.Front()
		if front == nil || now.Sub(front.Value.(*idRecord).at) < w.limits.age {
			return
		}
		w.remove(front.Value.(*idRecord))
	}
}

func (w *idWindow) remove(r *idRecord) {
	scope := w.scopes[r.key.scope]
	w.all.Remove(r.inAll)
	scope.list.Remove(r.inScope)
	w.bytes -= r.cost()
	scope.bytes -= r.cost()
	if scope.list.Len() == 0 {
		delete(w.scopes, scope.name)
	}
	delete(w.records, r.key)
}
