package server

import (
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// maxRoomPolicies bounds Config.RoomPolicies.
const maxRoomPolicies = 256

// RoomPolicy says what becomes of members of some rooms who read more slowly
// than the rooms' events come. Only live events of these rooms are dropped,
// never what is replayed, never an event of another room, an ack or a notice;
// and what a member gets is still in order. docs/protocol.md §8 tells clients
// what to expect.
type RoomPolicy struct {
	// Rooms is a pattern of room names as permissions have them, without '!':
	// "cursor-*". Required.
	Rooms string
	// Overflow is hub.OverflowClose (the connection ends with SLOW_CONSUMER),
	// hub.OverflowDropOldest (the oldest waiting events of such rooms give way),
	// or hub.OverflowLatest (a newer event takes the place of a waiting one with
	// the same name and key).
	Overflow hub.Overflow
	// Key, with OverflowLatest, names a string or number at the top level of the
	// events' data that tells apart what must not replace each other: the id
	// of whose cursor it is, for one. "": the event's name alone does.
	Key string
}

// roomPolicies are a Config's, compiled.
type roomPolicies []compiledPolicy

type compiledPolicy struct {
	rooms    holdfast.RoomPermissions // whatever it grants, it matches
	overflow hub.RoomOverflow
}

func compilePolicies(given []RoomPolicy) (roomPolicies, error) {
	if len(given) > maxRoomPolicies {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.RoomPolicies has more than %d entries", maxRoomPolicies)
	}
	var compiled roomPolicies
	for _, p := range given {
		rooms, err := holdfast.RoomList(p.Rooms)
		switch {
		case err != nil:
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.RoomPolicies: %s", holdfast.AsError(err).PublicMessage())
		case strings.HasPrefix(p.Rooms, "!"):
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.RoomPolicies: pattern %q excludes rooms; put those that it is about", p.Rooms)
		case p.Overflow > hub.OverflowLatest:
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.RoomPolicies: there is no policy %d, for %q", p.Overflow, p.Rooms)
		case p.Key != "" && p.Overflow != hub.OverflowLatest:
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.RoomPolicies: %q has a Key, which only %v uses", p.Rooms, hub.OverflowLatest)
		}
		compiled = append(compiled, compiledPolicy{rooms, hub.RoomOverflow{Overflow: p.Overflow, Key: p.Key}})
	}
	return compiled, nil
}

// of returns the policy of a room: that of the first entry that matches.
func (p roomPolicies) of(room string) hub.RoomOverflow {
	for _, policy := range p {
		if policy.rooms.Verbs(room) != 0 {
			return policy.overflow
		}
	}
	return hub.RoomOverflow{}
}
