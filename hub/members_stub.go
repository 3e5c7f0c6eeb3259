package hub

import "context"

// Members lists the users in a room.
func (h *Hub) Members(context.Context, string) ([]Member, error) { return nil, nil }
