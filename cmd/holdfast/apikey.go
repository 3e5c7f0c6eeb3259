package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
)

type keyCmds struct {
	Create keyCreateCmd `cmd:"" help:"Make an API key and print it, this once."`
	List   keyListCmd   `cmd:"" help:"Print what the API keys are for, one JSON object a line; not the keys."`
	Revoke keyRevokeCmd `cmd:"" help:"Make an API key worthless, at once."`
}

type keyCreateCmd struct {
	storeFlags
	Scope   []string      `required:"" placeholder:"SCOPE" group:"claims" help:"What it may be used for: publish, read, close, bump. Repeatable."`
	Room    []string      `sep:"none" placeholder:"PATTERN[=VERB,...]" group:"claims" help:"Rooms that it may publish to (verb publish) and read (verb join). Repeatable."`
	Name    string        `placeholder:"NAME" group:"claims" help:"What it is called in lists."`
	Expires time.Duration `placeholder:"TIME" group:"claims" help:"How long it is good, such as 720h; without it, until it is revoked."`
}

// Run makes a key.
func (k *keyCreateCmd) Run(e *environment) error {
	s, err := scopes(k.Scope)
	if err != nil {
		return err
	}
	rooms, err := roomFlags(k.Room)
	if err != nil {
		return err
	}
	switch inRooms := s&(auth.ScopePublish|auth.ScopeRead) != 0; {
	case inRooms && rooms == nil:
		return usagef("a key with the scope publish or read needs --room: '**' for every room, or patterns such as 'board-*'")
	case !inRooms && rooms != nil:
		return usagef("--room is for the scopes publish and read")
	case k.Expires < 0:
		return usagef("--expires can't be negative")
	}
	made := identity.NewAPIKey{Name: k.Name, Scopes: s}
	if rooms != nil {
		made.Rooms = *rooms
	}
	if k.Expires > 0 {
		made.Expires = time.Now().Add(k.Expires)
	}
	return k.withProvider(e, func(p *identity.Provider) error {
		key, record, err := p.CreateKey(e.ctx, made)
		if err != nil {
			return err
		}
		e.note("key %s; it is shown this once", record.ID)
		_, err = fmt.Fprintln(e.stdout, key)
		return err
	})
}

// listedKey is what "key list" prints of a key.
type listedKey struct {
	ID      string                   `json:"id"`
	Name    string                   `json:"name,omitempty"`
	Scopes  []string                 `json:"scopes"`
	Rooms   holdfast.RoomPermissions `json:"rooms"`
	Created time.Time                `json:"created"`
	Expires time.Time                `json:"expires,omitzero"`
}

type keyListCmd struct{ storeFlags }

// Run prints the keys.
func (k *keyListCmd) Run(e *environment) error {
	return k.withProvider(e, func(p *identity.Provider) error {
		keys, err := p.Keys(e.ctx)
		if err != nil {
			return err
		}
		for _, key := range keys {
			line := listedKey{
				ID: key.ID, Name: key.Name, Scopes: strings.Split(key.Scopes.String(), ","),
				Rooms: key.Rooms, Created: key.Created, Expires: key.Expires,
			}
			if err := printLine(e, line); err != nil {
				return err
			}
		}
		return nil
	})
}

type keyRevokeCmd struct {
	storeFlags
	ID string `arg:"" help:"The key's id: what is between the two underscores of the key."`
}

// Run removes a key.
func (k *keyRevokeCmd) Run(e *environment) error {
	if auth.IsAPIKey(k.ID) {
		return usagef("give the key's id alone, which is between its two underscores: command lines can be seen by others")
	}
	return k.withProvider(e, func(p *identity.Provider) error {
		if err := p.RevokeKey(e.ctx, k.ID); err != nil {
			return err
		}
		e.note("key %s is revoked", k.ID)
		return nil
	})
}
