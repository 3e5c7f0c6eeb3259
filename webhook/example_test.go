package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/webhook"
)

// A backend in Go that lets nobody into one room, and follows who is in the
// others.
func ExampleReceive() {
	secret := auth.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, err := webhook.Receive(secret, r)
		if err != nil {
			http.Error(w, "not from Holdfast", http.StatusUnauthorized)
			return
		}
		switch m.Type {
		case webhook.TypeJoin:
			var p webhook.Proposal
			if err := json.Unmarshal(m.Data, &p); err != nil {
				http.Error(w, "not understood", http.StatusBadRequest)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"allow": p.Room != "secret", "message": "Not this room"})
		case webhook.TypeJoined:
			var joined webhook.Membership
			if err := json.Unmarshal(m.Data, &joined); err == nil { // m.ID tells whether it came before
				fmt.Println(joined.User.ID, "is in", joined.Room)
			}
		}
	}))
	defer backend.Close()

	// What a server does with standalone.Config.Webhooks.
	d, err := webhook.New(webhook.Config{Targets: []webhook.Target{{
		URL: backend.URL, Secrets: []auth.Secret{secret}, Events: []webhook.Type{webhook.TypeJoined}, Decide: []webhook.Type{webhook.TypeJoin},
	}}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	ann := webhook.NewPeer(&holdfast.Identity{User: "ann"})
	fmt.Println(d.DecideJoin(ctx, ann, "secret"))
	if err := d.DecideJoin(ctx, ann, "lobby"); err == nil {
		_ = d.Joined(ctx, webhook.Membership{Peer: ann, Room: "lobby"})
	}
	_ = d.Shutdown(ctx) // delivers what waits in memory
	// Output:
	// Not this room (FORBIDDEN)
	// ann is in lobby
}
