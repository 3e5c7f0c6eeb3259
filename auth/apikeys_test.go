package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

func newAPIKeys(t testing.TB, cfg APIKeysConfig) *APIKeys {
	t.Helper()
	keys, err := NewAPIKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestNewAPIKey(t *testing.T) {
	key, record := NewAPIKey(ScopePublish, holdfast.MustRoomList("board-*"))
	if !regexp.MustCompile(`^hfk_[a-z2-7]{16}_[a-z2-7]{52}$`).MatchString(key) || !IsAPIKey(key) {
		t.Errorf("the key is %q", key)
	}
	id, secret, _ := strings.Cut(strings.TrimPrefix(key, "hfk_"), "_")
	if record.ID != id || strings.Contains(fmt.Sprintf("%+v", record), secret) {
		t.Errorf("the record is %+v", record)
	}
	if other, _ := NewAPIKey(ScopePublish, record.Rooms); other == key {
		t.Error("two keys are the same")
	}
	text, err := json.Marshal(record)
	if err != nil || strings.Contains(string(text), secret) {
		t.Errorf("%s, %v", text, err)
	}
	var again APIKey
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(record, again); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`"00"`, `"` + strings.Repeat("g", 64) + `"`, `"` + strings.Repeat("0", 65) + `"`, `""`, `7`} {
		if err := json.Unmarshal([]byte(`{"hash":`+bad+`}`), &again); err == nil {
			t.Errorf("hash %s is taken", bad)
		}
	}
}

func TestVerifyAPIKey(t *testing.T) {
	key, record := NewAPIKey(ScopePublish|ScopeRead, holdfast.MustRoomList("board-*"))
	other, otherRecord := NewAPIKey(AllScopes, holdfast.MustRoomList("**"))
	const static = "canary static key"
	keys := newAPIKeys(t, APIKeysConfig{Keys: []APIKey{record, otherRecord}, Static: Secret(static)})

	for _, good := range []struct{ key, id string }{{key, record.ID}, {other, otherRecord.ID}, {static, "static"}} {
		got, err := keys.Verify(t.Context(), good.key)
		if err != nil || got.ID != good.id {
			t.Errorf("%s: %+v, %v", good.id, got, err)
		}
	}
	_, secret, _ := strings.Cut(strings.TrimPrefix(key, "hfk_"), "_")
	_, otherSecret, _ := strings.Cut(strings.TrimPrefix(other, "hfk_"), "_")
	for name, bad := range map[string]string{
		"empty":             "",
		"prefix":            "hfk_",
		"id":                "hfk_" + record.ID,
		"no secret":         "hfk_" + record.ID + "_",
		"no id":             "hfk__" + secret,
		"unknown id":        "hfk_aaaaaaaaaaaaaaaa_" + secret,
		"another's secret":  "hfk_" + record.ID + "_" + otherSecret,
		"more behind":       key + "a",
		"one more part":     key + "_a",
		"less":              key[:len(key)-1],
		"in capitals":       strings.ToUpper(key),
		"id in capitals":    "hfk_" + strings.ToUpper(record.ID) + "_" + secret,
		"space behind":      key + " ",
		"other prefix":      "hfx_" + record.ID + "_" + secret,
		"secret alone":      secret,
		"hash as secret":    "hfk_" + record.ID + "_" + fmt.Sprintf("%x", record.Hash),
		"static, changed":   static + "x",
		"static, cut":       static[:len(static)-1],
		"static in capital": strings.ToUpper(static),
		"far too long":      strings.Repeat("a", 1<<20),
		"a token":           mint(t, SigningKey{Secret: testSecret}, Claims{}),
	} {
		got, err := keys.Verify(t.Context(), bad)
		if got != nil {
			t.Errorf("%s: let in as %+v", name, got)
		}
		wantRefused(t, nil, err, holdfast.Unauthenticated, "")
		if err != nil && holdfast.AsError(err).Message != "Unauthorized: invalid API key" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := keys.IDs(); len(got) != 2 {
		t.Errorf("IDs: %v", got)
	}
	none := newAPIKeys(t, APIKeysConfig{})
	for _, key := range []string{key, static, "", "hfk_x_y"} {
		if got, err := none.Verify(t.Context(), key); got != nil || !errors.Is(err, holdfast.Unauthenticated) {
			t.Errorf("no keys at all: %+v, %v", got, err)
		}
	}
}

func TestAPIKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, record := NewAPIKey(ScopeRead, holdfast.RoomPermissions{})
		record.Expires = time.Now().Add(time.Hour)
		keys := newAPIKeys(t, APIKeysConfig{Keys: []APIKey{record}})
		<-time.After(time.Hour - 1)
		if _, err := keys.Verify(t.Context(), key); err != nil {
			t.Error(err)
		}
		<-time.After(1)
		if _, err := keys.Verify(t.Context(), key); !errors.Is(err, holdfast.Unauthenticated) {
			t.Errorf("expired: %v", err)
		}
	})
}

func TestAPIKeyLookup(t *testing.T) {
	key, record := NewAPIKey(ScopeRead, holdfast.RoomPermissions{})
	broken := errors.New("canary: database")
	keys := newAPIKeys(t, APIKeysConfig{Lookup: func(_ context.Context, id string) (*APIKey, error) {
		switch id {
		case record.ID:
			return &record, nil
		case "broken":
			return nil, broken
		case "nohash":
			return &APIKey{ID: id}, nil
		}
		return nil, nil
	}})
	if got, err := keys.Verify(t.Context(), key); err != nil || got.ID != record.ID {
		t.Errorf("%+v, %v", got, err)
	}
	for id, want := range map[string]holdfast.Code{"broken": holdfast.Internal, "nohash": holdfast.Unauthenticated, "unknown": holdfast.Unauthenticated} {
		got, err := keys.Verify(t.Context(), "hfk_"+id+"_secret")
		if got != nil || holdfast.CodeOf(err) != want {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestNewAPIKeysRefuses(t *testing.T) {
	_, record := NewAPIKey(ScopeRead, holdfast.RoomPermissions{})
	for name, cfg := range map[string]APIKeysConfig{
		"no id":       {Keys: []APIKey{{Hash: record.Hash}}},
		"no hash":     {Keys: []APIKey{{ID: "a"}}},
		"'_' in id":   {Keys: []APIKey{{ID: "a_b", Hash: record.Hash}}},
		"same id":     {Keys: []APIKey{record, record}},
		"long static": {Static: Secret(strings.Repeat("a", 513))},
	} {
		if _, err := NewAPIKeys(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestAPIKeyRights(t *testing.T) {
	rooms, err := holdfast.ParseRoomPermissions([]byte(`{"both-*":["join","publish"],"read-*":["join"],"write-*":["publish"]}`))
	if err != nil {
		t.Fatal(err)
	}
	key := &APIKey{Scopes: ScopePublish | ScopeRead, Rooms: rooms}
	reader := &APIKey{Scopes: ScopeRead, Rooms: rooms}
	for _, test := range []struct {
		key   *APIKey
		scope Scope
		room  string
		ok    bool
	}{
		{key, ScopePublish, "both-1", true},
		{key, ScopeRead, "both-1", true},
		{key, ScopePublish, "read-1", false},
		{key, ScopeRead, "read-1", true},
		{key, ScopePublish, "write-1", true},
		{key, ScopeRead, "write-1", false},
		{key, ScopePublish, "other", false},
		{reader, ScopePublish, "both-1", false},
		{reader, ScopeRead, "both-1", true},
		{nil, ScopeRead, "both-1", false},
	} {
		if err := test.key.AllowRoom(test.scope, test.room); (err == nil) != test.ok || err != nil && !errors.Is(err, holdfast.Forbidden) {
			t.Errorf("%v in %s: %v", test.scope, test.room, err)
		}
	}
	if key.Allow(ScopeClose) == nil || key.Allow(ScopePublish|ScopeBump) == nil || key.Allow(ScopePublish|ScopeRead) != nil {
		t.Error("Allow is wrong")
	}
}

func TestScopes(t *testing.T) {
	for names, want := range map[string]Scope{
		"":                        0,
		"publish":                 ScopePublish,
		"read,close":              ScopeRead | ScopeClose,
		"publish,read,close,bump": AllScopes,
	} {
		var list []string
		if names != "" {
			list = strings.Split(names, ",")
		}
		got, err := ParseScopes(list...)
		if err != nil || got != want || got.String() != names {
			t.Errorf("%q: %v, %v", names, got, err)
		}
	}
	for _, name := range []string{"", "Publish", "admin", "publish,read", "*"} {
		if _, err := ParseScopes(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
