package main

import (
	"crypto/rand"
	"crypto/sha256"

	"github.com/holdfast-dev/holdfast"
)

const selectMember = "SELECT user, name, email, role, link FROM members JOIN people ON people.id = user"

func scanMember(s scanner) (m Member, err error) {
	err = s.Scan(&m.ID, &m.Name, &m.Email, &m.Role, &m.Link)
	return m, err
}

func scanLink(s scanner) (l Link, err error) {
	err = s.Scan(&l.Role, &l.Created)
	return l, err
}

func errRole() error {
	return holdfast.Errorf(holdfast.InvalidArgument, "A role is %s or %s", Editor, Viewer)
}

// shareable reports whether a role can be given away. There is one owner.
func shareable(r Role) bool { return r == Editor || r == Viewer }

// roomForBoard refuses where a user is a member of too many boards.
func (t *tx) roomForBoard(user string) error {
	return t.count(maxBoards, "boards", "SELECT count(*) FROM members WHERE user = ?", user)
}

// admit makes somebody a member who is none.
func (t *tx) admit(board, user string, a access) error {
	_, err := t.exec("INSERT INTO members (board, user, role, link, added) VALUES (?, ?, ?, ?, ?)", board, user, a.role, a.link, t.now)
	return err
}

// member reads one member.
func (t *tx) member(board, user string) (Member, error) {
	m, found, err := one(t.ctx, t.Tx, scanMember, selectMember+" WHERE board = ? AND user = ?", board, user)
	if err == nil && !found {
		err = holdfast.Errorf(holdfast.NotFound, "There is no such member")
	}
	return m, err
}

// tellMember publishes what became of a member, without the address, which is
// for the owner alone.
func (t *tx) tellMember(board, event string, m Member) (Change, error) {
	m.Email = ""
	return t.tell(board, event, Change{Member: &m})
}

// addMember gives an account a role on the board, or another one. One who came
// by a link stays from then on if the link goes.
func (t *tx) addMember(board string, user holdfast.User, role Role) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	if !shareable(role) {
		return nil, errRole()
	}
	if _, err := t.member(board, user.ID); err == nil {
		return t.setRole(board, user.ID, role)
	} else if holdfast.CodeOf(err) != holdfast.NotFound {
		return nil, err
	}
	if err := t.count(maxMembers, "members", "SELECT count(*) FROM members WHERE board = ?", board); err != nil {
		return nil, err
	}
	if err := t.roomForBoard(user.ID); err != nil {
		return nil, err
	}
	if _, err := t.exec("INSERT INTO people (id, name, email) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", user.ID, user.Name, user.Email); err != nil {
		return nil, err
	}
	if err := t.admit(board, user.ID, access{role: role}); err != nil {
		return nil, err
	}
	return t.tellMember(board, "member_added", Member{ID: user.ID, Name: user.Name, Role: role})
}

// setRole changes what a member may do. It needs the owner.
func (t *tx) setRole(board, user string, role Role) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	m, err := t.member(board, user)
	switch {
	case err != nil:
		return nil, err
	case m.Role == Owner:
		return nil, holdfast.Errorf(holdfast.Forbidden, "The owner stays the owner")
	case !shareable(role):
		return nil, errRole()
	}
	if _, err := t.exec("UPDATE members SET role = ?, link = 0 WHERE board = ? AND user = ?", role, board, user); err != nil {
		return nil, err
	}
	m.Role, m.Link = role, false
	return t.tellMember(board, "member_updated", m)
}

// removeMember takes a member off the board; the members may go themselves.
func (t *tx) removeMember(board, user string) (any, error) {
	want := Owner
	if user == t.by.ID {
		want = Viewer
	}
	if err := t.need(board, want); err != nil {
		return nil, err
	}
	m, err := t.member(board, user)
	if err != nil {
		return nil, err
	}
	if m.Role == Owner {
		return nil, holdfast.Errorf(holdfast.Forbidden, "The owner can't leave; the board can be deleted")
	}
	return t.remove(board, m)
}

// remove tells the room of a member's end, who hears it and nothing after it.
func (t *tx) remove(board string, m Member) (Change, error) {
	if _, err := t.exec("DELETE FROM members WHERE board = ? AND user = ?", board, m.ID); err != nil {
		return Change{}, err
	}
	change, err := t.tellMember(board, "member_removed", m)
	if err != nil {
		return change, err
	}
	return change, t.putOut(roomOf(board), m.ID, holdfast.Forbidden)
}

// linkRole is the body of what makes a link.
type linkRole struct {
	Role Role `json:"role"`
}

// createLink makes the board's link for a role. An older one for it ends, with
// the memberships of those who came by it.
func (t *tx) createLink(board string, in linkRole) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	if !shareable(in.Role) {
		return nil, errRole()
	}
	if err := t.dropLink(board, in.Role); err != nil {
		return nil, err
	}
	link := Link{Role: in.Role, Token: rand.Text(), Created: t.now}
	hash := sha256.Sum256([]byte(link.Token))
	_, err := t.exec("INSERT INTO links (board, role, hash, created) VALUES (?, ?, ?, ?)", board, link.Role, hash[:], link.Created)
	return link, err
}

// deleteLink ends the board's link for a role, and the memberships of those
// who came by it.
func (t *tx) deleteLink(board string, role Role) (any, error) {
	if err := t.need(board, Owner); err != nil {
		return nil, err
	}
	if !shareable(role) {
		return nil, errRole()
	}
	return map[string]bool{"ok": true}, t.dropLink(board, role)
}

func (t *tx) dropLink(board string, role Role) error {
	if _, err := t.exec("DELETE FROM links WHERE board = ? AND role = ?", board, role); err != nil {
		return err
	}
	guests, err := all(t.ctx, t.Tx, scanMember, selectMember+" WHERE board = ? AND link = 1 AND role = ? ORDER BY user", board, role)
	if err != nil {
		return err
	}
	for _, guest := range guests {
		if _, err := t.remove(board, guest); err != nil {
			return err
		}
	}
	return nil
}

// linkToken is the body of what opens a link.
type linkToken struct {
	Token string `json:"token"`
}

// openLink makes the caller a member by a link. Whom the owner has given a role
// keeps it; one who came by the other link gets the greater one.
func (t *tx) openLink(in linkToken) (any, error) {
	type target struct {
		board string
		role  Role
	}
	hash := sha256.Sum256([]byte(in.Token))
	link, found, err := one(t.ctx, t.Tx, func(s scanner) (l target, err error) {
		err = s.Scan(&l.board, &l.role)
		return l, err
	}, "SELECT board, role FROM links WHERE hash = ?", hash[:])
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, holdfast.Errorf(holdfast.NotFound, "This link is not good any more")
	}
	if err := t.comeBy(link.board, link.role); err != nil {
		return nil, err
	}
	board, _, err := one(t.ctx, t.Tx, scanBoard, selectBoard+" AND b.id = ?", t.by.ID, link.board)
	return board, err
}

// comeBy gives the caller the role of a link.
func (t *tx) comeBy(board string, role Role) error {
	m, err := t.member(board, t.by.ID)
	switch holdfast.CodeOf(err) {
	case "":
		// One who was invited keeps a lesser role, which is not the link's to
		// change: it would be lost with the link.
		if !m.Link || m.Role.covers(role) {
			return nil
		}
		if _, err := t.exec("UPDATE members SET role = ? WHERE board = ? AND user = ?", role, board, t.by.ID); err != nil {
			return err
		}
		m.Role = role
		_, err = t.tellMember(board, "member_updated", m)
		return err
	case holdfast.NotFound:
	default:
		return err
	}
	if err := t.count(maxMembers, "members", "SELECT count(*) FROM members WHERE board = ?", board); err != nil {
		return err
	}
	if err := t.roomForBoard(t.by.ID); err != nil {
		return err
	}
	if err := t.admit(board, t.by.ID, access{role: role, link: true}); err != nil {
		return err
	}
	_, err = t.tellMember(board, "member_added", Member{ID: t.by.ID, Name: t.by.Name, Role: role, Link: true})
	return err
}
