package hub_test

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// spoken is an encoder that has a form for notices as well.
type spoken struct{ lines }

func (spoken) EncodeNotice(n *hub.Notice) *hub.Frame {
	what := map[hub.NoticeKind]string{
		hub.NoticeJoin: "came ", hub.NoticeLeave: "went", hub.NoticeUpdate: "is now ", hub.NoticeTyping: "types.", hub.NoticeSignal: "signals ",
	}[n.Kind]
	return &hub.Frame{Text: fmt.Appendf(nil, "%s %s%s%s%s", n.User.ID, what, n.Event, n.User.Data, n.Data)}
}

// Who is in a room is told by the answer to a join, and from then on by
// notices.
func ExampleSession_SetPresence() {
	ctx := context.Background()
	h := hub.New(hub.Config{})
	defer h.Close()
	open := func(user string) *hub.Session {
		s, err := h.Open(hub.SessionConfig{
			ID:       user + "'s tab",
			Identity: &holdfast.Identity{User: user, Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("board-*")}},
			Sink:     screen{user},
			Encoder:  spoken{},
		})
		if err != nil {
			panic(err)
		}
		return s
	}
	ann, bob := open("ann"), open("bob")
	_, _ = ann.Join(ctx, "board-7", hub.JoinOptions{}, nil)
	_, _ = bob.Join(ctx, "board-7", hub.JoinOptions{Presence: []byte(`"here"`)}, func(j hub.Joined) {
		for _, m := range j.Members {
			fmt.Println("there is", m.ID)
		}
	})
	_ = bob.SetPresence(ctx, "board-7", []byte(`"away"`))
	_ = bob.Typing(ctx, "board-7")
	_ = bob.Signal(ctx, hub.Signal{Room: "board-7", Event: "cursor", Data: []byte(`[3,4]`)})
	// Output:
	// there is ann
	// there is bob
	// ann: bob came "here"
	// ann: bob is now "away"
	// ann: bob types.
	// ann: bob signals cursor[3,4]
}
