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
	// dropped are the ids of the last items that made room, a few hundred at
	// most, for those who wait for them.
	dropped []string
}

// droppedKept bounds what is remembered of dropped items.
const droppedKept = 256

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

// add puts an item behind the others. One that is there already stays as it is.
func (s *state) add(item Item) {
	if s.find(item.ID) >= 0 {
		return
	}
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

func (s *state) drop(id string) {
	if !s.remove(id) {
		return
	}
	s.dropped = append(s.dropped, id)
	if over := len(s.dropped) - droppedKept; over > 0 {
		s.dropped = slices.Delete(s.dropped, 0, over)
	}
}

// gone tells whether an item is out, and how it went.
func (s *state) gone(id string) (dead *Dead, gone bool, err error) {
	if s.find(id) >= 0 {
		return nil, false, nil
	}
	if i := slices.IndexFunc(s.dead, func(d Dead) bool { return d.Item.ID == id }); i >= 0 {
		d := s.dead[i]
		return &d, true, nil
	}
	if slices.Contains(s.dropped, id) {
		return nil, true, ErrDropped
	}
	return nil, true, nil
}

// next returns the oldest item of a lane.
func (s *state) next(lane Lane) (Item, bool) {
	i := slices.IndexFunc(s.items, func(i Item) bool { return i.Lane() == lane })
	if i < 0 {
		return Item{}, false
	}
	return s.items[i], true
}
