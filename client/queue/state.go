package queue

import (
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// state is what a queue holds. Its owner guards it.
type state struct {
	items []Item // oldest first
	bytes int
	dead  []Dead
}

// room reports what has to go for an item to fit: the first n items; ok is
// false if it does not fit whatever goes.
func (s *state) room(item *Item, l Limits) (n int, ok bool) {
	size := item.size()
	if size > l.Bytes {
		return 0, false
	}
	bytes := s.bytes
	for n < len(s.items) && (len(s.items)-n >= l.Items || bytes+size > l.Bytes) {
		bytes -= s.items[n].size()
		n++
	}
	return n, n == 0 || l.DropOldest
}

func (s *state) add(item Item) {
	s.items = append(s.items, item)
	s.bytes += item.size()
}

func (s *state) find(id string) int {
	return slices.IndexFunc(s.items, func(i Item) bool { return i.ID == id })
}

func (s *state) remove(id string) bool {
	i := s.find(id)
	if i < 0 {
		return false
	}
	s.bytes -= s.items[i].size()
	s.items = slices.Delete(s.items, i, i+1)
	return true
}

func (s *state) bury(id string, code holdfast.Code, message string, at time.Time, limit int) bool {
	i := s.find(id)
	if i < 0 {
		return false
	}
	s.dead = append(s.dead, Dead{Item: s.items[i], Code: code, Message: message, Died: at})
	if over := len(s.dead) - limit; over > 0 {
		s.dead = slices.Delete(s.dead, 0, over)
	}
	return s.remove(id)
}

// next returns the oldest item of a user.
func (s *state) next(user string) (Item, bool) {
	i := slices.IndexFunc(s.items, func(i Item) bool { return i.User == user })
	if i < 0 {
		return Item{}, false
	}
	return s.items[i], true
}
