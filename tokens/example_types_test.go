package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// What programs ask of a session's owner, whatever it is, in the smallest
// interface that will do.
func ExampleSource() {
	show := func(src tokens.Source) {
		_, renews := src.(tokens.Refresher) // can get another token
		_, knows := src.(tokens.Sessions)   // says whose it is, and when that changes
		_, idles := src.(tokens.Activity)   // wants to know when the user is active
		fmt.Println(renews, knows, idles)
	}
	m, err := tokens.NewManager(tokens.Config{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	show(m)
	show(tokens.Static("abc"))
	// Output:
	// true true true
	// false false false
}

// A server that hands out tokens in a way of its own.
func ExampleRefreshFunc() {
	var refresh tokens.RefreshFunc = func(ctx context.Context, old tokens.Session) (tokens.Session, error) {
		if old.Refresh == "revoked" {
			return tokens.Session{}, holdfast.SessionRevoked.New() // final: signs out
		}
		return tokens.Session{}, errors.New("no network") // will be tried again
	}
	for _, kept := range []string{"good", "revoked"} {
		m, err := tokens.NewManager(tokens.Config{Refresh: refresh, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			panic(err)
		}
		ctx := context.Background()
		_ = m.SetTokens(ctx, tokens.Session{Access: "a", Refresh: kept, Lifetime: time.Hour})
		err = m.Refresh(ctx)
		fmt.Println(tokens.Final(err), m.SignedIn())
		_ = m.Close()
	}
	// Output:
	// false true
	// true false
}

// What an application does about each kind of event.
func ExampleEventKind() {
	tell := func(e tokens.Event) string {
		switch e.Kind {
		case tokens.SignIn:
			return "show the pages of " + e.Session.User.ID
		case tokens.SignOut, tokens.RefreshFailed:
			return "show the sign-in form"
		case tokens.InactivityTimeout:
			return "lock the screen"
		case tokens.Failed:
			return "log it"
		}
		return "nothing"
	}
	for _, kind := range []tokens.EventKind{tokens.SignIn, tokens.SignOut, tokens.Refreshed, tokens.InactivityTimeout, tokens.Failed} {
		fmt.Printf("%v: %s\n", kind, tell(tokens.Event{Kind: kind, Session: tokens.Session{User: holdfast.User{ID: "ann"}}}))
	}
	// Output:
	// sign-in: show the pages of ann
	// sign-out: show the sign-in form
	// refresh: nothing
	// inactivity-timeout: lock the screen
	// error: log it
}

// A file that is no session is put aside, and its user is signed out.
func ExampleCorruptError() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "session.json")
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		panic(err)
	}
	store, err := tokens.NewFile(path)
	if err != nil {
		panic(err)
	}
	s, err := store.Load(context.Background())
	corrupt, ok := errors.AsType[*tokens.CorruptError](err)
	fmt.Println(s == nil, ok, filepath.Base(corrupt.Path)[:17])
	// Output: true true session.json.bad-
}

// Stores have this in common; a NoteStore also tells other processes when the
// user is active.
func ExampleStore() {
	ctx := context.Background()
	var store tokens.Store = tokens.NewMemory()
	ann := &tokens.Session{Access: "a", User: holdfast.User{ID: "ann"}}
	bob := &tokens.Session{Access: "b", User: holdfast.User{ID: "bob"}}
	now, err := store.Swap(ctx, nil, ann) // in place of none
	fmt.Println(now.User.ID, err)
	now, err = store.Swap(ctx, nil, bob) // too late
	fmt.Println(now.User.ID, err)
	now, err = store.Swap(ctx, ann, bob)
	fmt.Println(now.User.ID, err)

	notes, ok := store.(tokens.NoteStore)
	if ok {
		_ = notes.SetNote(ctx, "active", "now")
		text, err := notes.Note(ctx, "active")
		fmt.Println(text, err)
	}
	// Output:
	// ann <nil>
	// ann <nil>
	// bob <nil>
	// now <nil>
}
