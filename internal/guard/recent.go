package guard

// recent is a map with a bounded number of keys: a new one over the bound
// drops the one that was not looked at for the longest time. It is not safe
// for concurrent use.
type recent[K comparable, V any] struct {
	max     int
	entries map[K]*entry[K, V]
	ends    entry[K, V] // next is the newest, prev the oldest
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	prev, next *entry[K, V]
}

func newRecent[K comparable, V any](max int) *recent[K, V] {
	r := &recent[K, V]{max: max, entries: make(map[K]*entry[K, V])}
	r.ends.next, r.ends.prev = &r.ends, &r.ends
	return r
}

// get returns the value of key, made by create if it is new, and makes key
// the newest.
func (r *recent[K, V]) get(key K, create func() V) *V {
	e, ok := r.entries[key]
	if ok {
		r.unlink(e)
	} else {
		if len(r.entries) >= r.max {
			r.drop(r.ends.prev.key)
		}
		e = &entry[K, V]{key: key, value: create()}
		r.entries[key] = e
	}
	e.prev, e.next = &r.ends, r.ends.next
	e.prev.next, e.next.prev = e, e
	return &e.value
}

func (r *recent[K, V]) drop(key K) {
	if e, ok := r.entries[key]; ok {
		r.unlink(e)
		delete(r.entries, key)
	}
}

func (r *recent[K, V]) unlink(e *entry[K, V]) { e.prev.next, e.next.prev = e.next, e.prev }

func (r *recent[K, V]) len() int { return len(r.entries) }
