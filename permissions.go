package holdfast

import (
	"strings"
)

// Verb is something that may be done in a room. Verbs add up as bits.
type Verb uint8

// The verbs of a room.
const (
	VerbJoin Verb = 1 << iota
	VerbPublish
	VerbPresence
	// AllVerbs is what a pattern of the list form grants.
	AllVerbs = VerbJoin | VerbPublish | VerbPresence
)

// ParseVerb returns the verb of that name: "join", "publish" or "presence".
// Any other name is an InvalidArgument error.
func ParseVerb(name string) (Verb, error) {
	switch name {
	case "join":
		return VerbJoin, nil
	case "publish":
		return VerbPublish, nil
	case "presence":
		return VerbPresence, nil
	}
	return 0, Errorf(InvalidArgument, "unknown verb %.40q", name)
}

// Has reports whether v includes all of want.
func (v Verb) Has(want Verb) bool { return v&want == want }

// Names returns the names of the verbs in v, in the order join, publish, presence.
func (v Verb) Names() []string {
	names := make([]string, 0, 3)
	if v.Has(VerbJoin) {
		names = append(names, "join")
	}
	if v.Has(VerbPublish) {
		names = append(names, "publish")
	}
	if v.Has(VerbPresence) {
		names = append(names, "presence")
	}
	return names
}

// String returns the names in v joined by commas; "" for none.
func (v Verb) String() string { return strings.Join(v.Names(), ",") }

// Permissions is what a user may do. The zero value permits nothing.
type Permissions struct {
	// Rooms says which rooms, and what in them.
	Rooms RoomPermissions `json:"rooms"`
	// Actions are permission strings scope.resource.action: see Can.
	Actions []string `json:"actions,omitempty"`
}

// Room returns the verbs that the user has in room; 0 for none. It looks at
// the name's text alone: whether it is a room name is CheckRoom's business.
func (p Permissions) Room(room string) Verb { return p.Rooms.Verbs(room) }

// Can reports whether action is permitted: one of Actions is equal to it, or
// has "*" as a segment where they differ. Segments are divided by dots. A "*"
// at the end of a permission stands for the rest, which is one segment or
// more; anywhere else it stands for exactly one. An action that is empty or
// has an empty segment is never permitted.
func (p Permissions) Can(action string) bool {
	if action == "" || action[0] == '.' || action[len(action)-1] == '.' || strings.Contains(action, "..") {
		return false
	}
	for _, permission := range p.Actions {
		if permitsAction(permission, action) {
			return true
		}
	}
	return false
}

func permitsAction(permission, action string) bool {
	for {
		want, permissionRest, permissionMore := strings.Cut(permission, ".")
		have, actionRest, actionMore := strings.Cut(action, ".")
		switch {
		case want == "*" && !permissionMore:
			return true
		case want != "*" && want != have:
			return false
		case !permissionMore || !actionMore:
			return permissionMore == actionMore
		}
		permission, action = permissionRest, actionRest
	}
}
