package hub

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// maxNotes bounds the signals and the typing that wait in one room while
// something else is being sent there. Over it the oldest is dropped: they are
// of this moment, or of none.
const maxNotes = 256

// talk is what is to be said in a room beside its order, by whoever has the
// right to fan out. A room has one only while there is something to say. All of
// it is guarded by room.mu.
type talk struct {
	dirty []*present // of the crowd, each at most once
	views []*member  // live ones who are to be shown what they may see, each at most once
	notes fifo[note] // typing and signals; at most maxNotes
}

// note is a notice with what settles who gets it.
type note struct {
	Notice
	from *Session // of typing and signals: who sent it
	key  string   // what tells its frames apart, where only the latest counts
}

// sight is what a member gets to know of presence.
type sight = uint32

const (
	seesNothing sight = iota
	seesAll
	seesLeaves // it lost the right, and what it knows is still to be taken back
)

// says returns r.talk, made if need be. mu is held.
func (r *room) says() *talk {
	if r.talk == nil {
		r.talk = new(talk)
	}
	return r.talk
}

// touch has the others told of a user, if there is something new. While the
// crowd is paused that is put off. mu is held.
func (r *room) touch(p *present) {
	if !p.dirty && !r.crowd.paused && (p.changed || !p.told || p.gone) {
		p.dirty = true
		t := r.says()
		t.dirty = append(t.dirty, p)
	}
}

// unsay takes back what touch did. mu is held.
func (r *room) unsay(p *present) {
	if p.dirty && r.talk != nil {
		p.dirty = false
		r.talk.dirty = slices.DeleteFunc(r.talk.dirty, func(other *present) bool { return other == p })
	}
}

// watch has the membership told what it may see now: when it is live, and the
// crowd not paused. mu is held.
func (r *room) watch(m *member) {
	m.watched = true
	if m.group != nil {
		r.queue(m)
	}
}

// queue has a live membership that is watched looked at. mu is held.
func (r *room) queue(m *member) {
	if m.watched && !m.queued {
		m.queued = true
		t := r.says()
		t.views = append(t.views, m)
	}
}

// unwatch takes back what watch did. mu is held.
func (r *room) unwatch(m *member) {
	if m.queued && r.talk != nil {
		r.talk.views = slices.DeleteFunc(r.talk.views, func(other *member) bool { return other == m })
		r.tidy()
	}
	m.watched, m.queued, m.answer = false, false, nil
}

// tidy gives up what is empty. mu is held.
func (r *room) tidy() {
	if t := r.talk; t != nil && len(t.dirty)+len(t.views)+t.notes.len() == 0 {
		r.talk = nil
	}
	if c := r.crowd; c != nil && len(c.users) == 0 {
		r.crowd = nil
	}
}

// stir says what is to be said, unless somebody else has the right to fan out,
// who then does it. It is called with mu held, and releases it.
func (r *room) stir() {
	if r.busy || r.dead || r.talk == nil && !r.turning() {
		r.mu.Unlock()
		return
	}
	r.busy = true
	r.pump()
}

// say says one thing that is to be said, and reports whether there was one. It
// is called with mu held by who has the right to fan out, and releases it while
// it sends.
//
// What members are told of a user is the difference between what he is and what
// they know, so that what waits is bounded by the users, and a change that is
// undone before its turn is never heard of. A member begins to be told when
// nothing is left to be told to the others, with the difference between that and
// the answer to its join. While the crowd is paused nothing is told but that: a
// user's news and who begins to be told wait for the end of it.
func (r *room) say() bool {
	t, c := r.talk, r.crowd
	switch {
	case r.turning() && c.paused:
		r.turn()
	case t != nil && len(t.dirty) > 0 && !c.paused:
		p := t.dirty[0]
		t.dirty[0] = nil
		if t.dirty = t.dirty[1:]; len(t.dirty) == 0 {
			t.dirty = nil
		}
		if n, ok := r.news(p); ok {
			r.tidy()
			r.tellAll(&note{Notice: n})
		}
	case r.turning():
		r.turn()
	case t == nil:
		return false
	case len(t.views) > 0:
		m := t.views[0]
		t.views[0] = nil
		if t.views = t.views[1:]; len(t.views) == 0 {
			t.views = nil
		}
		r.show(m)
	case t.notes.len() > 0:
		n := t.notes.pop()
		r.tidy()
		r.tellAll(&n)
	default:
		return false // what waits, waits for the crowd to be smaller
	}
	r.tidy()
	return true
}

// turning reports whether members are to be told that the crowd is paused, or
// no more. mu is held.
func (r *room) turning() bool { return r.crowd != nil && r.crowd.paused != r.crowd.hushed }

// turn has the live members told that the crowd is paused, or no more, and then
// who came meanwhile. mu is held, and released while it sends.
func (r *room) turn() {
	c := r.crowd
	n := Notice{Kind: NoticeResumed, Room: r.name, Viewers: c.told}
	if c.paused {
		n.Kind, n.Viewers = NoticePaused, c.here
	}
	c.hushed = c.paused
	for _, g := range r.groups {
		for i := range g.live {
			m := g.live[i].member
			if m.wants(&note{Notice: n}) {
				m.paused = c.paused
			}
			r.queue(m)
		}
	}
	r.tellAll(&note{Notice: n})
}

// news returns what is new of a user, and takes it as told. mu is held.
func (r *room) news(p *present) (n Notice, ok bool) {
	p.dirty = false
	n = Notice{Room: r.name, User: Member{ID: p.user, Name: p.name}}
	switch {
	case p.gone:
		r.crowd.forget(p)
		r.crowd.told--
		n.Kind = NoticeLeave
	case !p.told:
		p.told = true
		r.crowd.told++
		n.Kind, n.User.Data = NoticeJoin, p.data
	case p.changed:
		n.Kind, n.User.Data = NoticeUpdate, p.data
	default:
		return n, false
	}
	p.changed = false
	if n.Kind != NoticeUpdate {
		n.Viewers = r.crowd.told
	}
	return n, true
}

// show lets a member see presence from here on, or no more: it is sent what
// makes of what its client knows what it may know. While the crowd is paused
// that is only that it is; the rest comes later. Otherwise nothing is dirty: what
// the others know is what is. mu is held.
func (r *room) show(m *member) {
	m.queued = false
	if m.group == nil {
		return // it is being put out
	}
	if m.counts && r.crowd.paused {
		if !m.paused {
			m.paused = true
			r.send(m, Notice{Kind: NoticePaused, Room: r.name, Viewers: r.crowd.here})
		}
		return
	}
	var have, want []Member
	viewers := 0
	switch m.sees.Load() {
	case seesNothing:
		if m.answer != nil {
			have = *m.answer
		}
	case seesLeaves:
		// If it has the right again, it missed whatever was not a leave.
		if !m.counts && r.crowd != nil {
			have = r.crowd.known()
		}
	case seesAll: // it is here for NoticeResumed alone
		have = r.members()
	}
	m.watched, m.answer = false, nil
	m.sees.Store(seesNothing)
	if m.counts {
		want, viewers = r.members(), r.crowd.told
		m.sees.Store(seesAll)
	}
	notices := changes(r.name, m.session.conn.user, have, want, viewers)
	if m.paused {
		m.paused = false
		notices = append(notices, Notice{Kind: NoticeResumed, Room: r.name, Viewers: viewers})
	}
	r.send(m, notices...)
}

// send sends a live member what is for it alone. mu is held, and released while
// it sends.
func (r *room) send(m *member, notices ...Notice) {
	encoder, ok := m.group.encoder.(NoticeEncoder)
	if len(notices) == 0 || !ok {
		return
	}
	r.fanning = true // if it is taken out meanwhile, that waits
	r.mu.Unlock()
	for i := range notices {
		if frame := encoder.EncodeNotice(&notices[i]); frame != nil && !m.session.sink.Send(frame) {
			break // its owner closes the session
		}
	}
	r.mu.Lock()
	r.fanning = false
	if len(r.leaving) > 0 {
		r.forgetLeaving()
	}
}

// tellAll sends a notice to the live members who are to have it, encoded once a
// group. mu is held, and released while it sends.
func (r *room) tellAll(n *note) {
	waiting := r.tellJoining(n)
	if len(r.groups) == 0 {
		return
	}
	for _, g := range r.groups {
		g.snapshot, g.shared = g.live, true
	}
	groups := r.groups // nothing is taken out while fanning is set
	r.fanning = true
	r.mu.Unlock()
	for _, g := range groups {
		if encoder, ok := g.encoder.(NoticeEncoder); ok {
			g.tell(encoder, n)
		}
	}
	for _, w := range waiting {
		w.member.session.sendNote(&w.note)
	}
	r.mu.Lock()
	r.fanning = false
	for _, g := range groups {
		g.snapshot, g.shared = nil, false
	}
	if len(r.leaving) > 0 {
		r.forgetLeaving()
	}
}

// addressed is a note for one member.
type addressed struct {
	member *member
	note   note
}

// tellJoining sees to it that typing and signals reach those who have the answer
// to their joins, and are not live yet: while a join still has to send what is
// ahead of them, it gets them too; the others are returned. mu is held.
func (r *room) tellJoining(n *note) (waiting []addressed) {
	if n.Kind != NoticeTyping && n.Kind != NoticeSignal {
		return nil // of presence a member is told once it is live, by show
	}
	for _, m := range r.joining {
		if !m.entered || !m.wants(n) {
			continue
		}
		own := *n
		own.key = r.groupOf(m).keyOf(n)
		switch {
		case m.parked:
			waiting = append(waiting, addressed{m, own})
		case len(m.notes) >= maxNotes:
			m.notes = append(m.notes[1:], own)
		default:
			m.notes = append(m.notes, own)
		}
	}
	return waiting
}

// tell sends a notice to those of the group's snapshot who are to have it.
func (g *group) tell(encoder NoticeEncoder, n *note) {
	var frame *Frame
	for i := range g.snapshot {
		to := &g.snapshot[i]
		if !to.member.wants(n) {
			continue
		}
		if frame == nil {
			if frame = noteFrame(encoder, &n.Notice, g.keyOf(n)); frame == nil {
				return
			}
		}
		to.sink.Send(frame)
	}
}

// keyOf is the key of a note's frames for the group; "" if none may be dropped. A
// connection's namespaces share a queue, in which each has frames of its own.
func (g *group) keyOf(n *note) string {
	if n.key == "" {
		return ""
	}
	return "\x01" + strconv.FormatUint(g.id, 36) + "\x00" + n.key
}

// noteFrame encodes a notice, of whose frames with that key the latest counts.
func noteFrame(encoder NoticeEncoder, n *Notice, key string) *Frame {
	frame := encoder.EncodeNotice(n)
	if frame != nil && key != "" {
		frame.Overflow, frame.Key = OverflowLatest, key
	}
	return frame
}

// sendNote sends a note whose key is that of the session's frames.
func (s *Session) sendNote(n *note) {
	encoder, ok := s.encoder.(NoticeEncoder)
	if !ok {
		return
	}
	if frame := noteFrame(encoder, &n.Notice, n.key); frame != nil {
		s.sink.Send(frame)
	}
}

// wants reports whether a live member is to have a notice.
func (m *member) wants(n *note) bool {
	switch n.Kind {
	case NoticeJoin, NoticeUpdate:
		return m.sees.Load() == seesAll && m.session.conn.user != n.User.ID
	case NoticeLeave:
		return m.sees.Load() != seesNothing && m.session.conn.user != n.User.ID
	case NoticePaused, NoticeResumed:
		return m.sees.Load() != seesNothing
	case NoticeTyping:
		return !m.hidden && m.session != n.from && (n.User.ID == "" || m.session.conn.user != n.User.ID)
	}
	return !m.hidden && m.session != n.from
}

// changes returns the notices that make of a picture of a room another one, but
// for the user whose pictures they are. Both are sorted.
func changes(room, self string, have, want []Member, viewers int) (notices []Notice) {
	add := func(kind NoticeKind, u Member, viewers int) {
		if u.ID != self {
			notices = append(notices, Notice{Kind: kind, Room: room, User: u, Viewers: viewers})
		}
	}
	for len(have) > 0 || len(want) > 0 {
		order := 0
		switch {
		case len(have) == 0:
			order = 1
		case len(want) == 0:
			order = -1
		default:
			order = cmp.Compare(have[0].ID, want[0].ID)
		}
		switch {
		case order < 0:
			add(NoticeLeave, Member{ID: have[0].ID, Name: have[0].Name}, viewers)
			have = have[1:]
		case order > 0:
			add(NoticeJoin, Member{ID: want[0].ID, Name: want[0].Name, Data: want[0].Data}, viewers)
			want = want[1:]
		default:
			if have[0].Name != want[0].Name || !bytes.Equal(have[0].Data, want[0].Data) {
				add(NoticeUpdate, Member{ID: want[0].ID, Name: want[0].Name, Data: want[0].Data}, 0)
			}
			have, want = have[1:], want[1:]
		}
	}
	return notices
}
