package identity

import (
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestAPIKeys(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		verifier, err := auth.NewAPIKeys(auth.APIKeysConfig{Lookup: h.LookupKey})
		noError(t, err)
		rooms := holdfast.MustRoomList("board-*")
		key, made, err := h.CreateKey(ctx, NewAPIKey{Name: "billing", Scopes: auth.ScopePublish | auth.ScopeClose, Rooms: rooms, Expires: timeNow().Add(time.Hour)})
		noError(t, err)
		after(time.Millisecond)
		forever, _, err := h.CreateKey(ctx, NewAPIKey{Scopes: auth.ScopeRead})
		noError(t, err)
		got, err := verifier.Verify(ctx, key)
		noError(t, err)
		if got.ID != made.ID || got.Allow(auth.ScopeClose) != nil || got.AllowRoom(auth.ScopePublish, "board-1") != nil ||
			got.Allow(auth.ScopeBump) == nil || got.AllowRoom(auth.ScopePublish, "other") == nil {
			t.Errorf("key: %+v", got)
		}
		_, err = verifier.Verify(ctx, key+"a")
		wantCode(t, "wrong secret", err, holdfast.Unauthenticated)
		list, err := h.Keys(ctx)
		noError(t, err)
		if len(list) != 2 || list[0].ID != made.ID || list[0].Name != "billing" || !list[0].Expires.Equal(made.Expires) || !list[1].Expires.IsZero() {
			t.Errorf("list: %+v", list)
		}
		after(time.Hour)
		_, err = verifier.Verify(ctx, key)
		wantCode(t, "expired", err, holdfast.Unauthenticated)
		_, err = verifier.Verify(ctx, forever)
		wantCode(t, "without expiry", err, "")
		noError(t, h.RevokeKey(ctx, list[1].ID))
		_, err = verifier.Verify(ctx, forever)
		wantCode(t, "revoked", err, holdfast.Unauthenticated)
		wantCode(t, "twice", h.RevokeKey(ctx, list[1].ID), holdfast.NotFound)
		for what, k := range map[string]NewAPIKey{
			"no scope": {}, "unknown scope": {Scopes: 128}, "expired": {Scopes: auth.AllScopes, Expires: timeNow()},
		} {
			_, _, err := h.CreateKey(ctx, k)
			wantCode(t, what, err, holdfast.InvalidArgument)
		}
	})
}
