package main

import (
	"time"

	"github.com/holdfast-dev/holdfast/identity"
)

type signingKeysCmds struct {
	List   signingKeysListCmd   `cmd:"" help:"Print the keys whose tokens are good, one JSON object a line; not the keys themselves."`
	Rotate signingKeysRotateCmd `cmd:"" help:"Make a new key, which signs a minute later. Nobody is signed out."`
}

type signingKeysListCmd struct{ storeFlags }

// Run prints the signing keys.
func (s *signingKeysListCmd) Run(e *environment) error {
	return s.withProvider(e, func(p *identity.Provider) error {
		keys, err := p.SigningKeys(e.ctx)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := printLine(e, key); err != nil {
				return err
			}
		}
		return nil
	})
}

type signingKeysRotateCmd struct{ storeFlags }

// Run makes a new signing key.
func (s *signingKeysRotateCmd) Run(e *environment) error {
	return s.withProvider(e, func(p *identity.Provider) error {
		key, err := p.RotateSigningKeys(e.ctx)
		if err != nil {
			return err
		}
		e.note("the new key signs from %s on; those before it are good for a day more", key.Signs.Local().Format(time.DateTime))
		return printLine(e, key)
	})
}

type sessionCmds struct {
	List sessionListCmd `cmd:"" help:"Print a user's sessions, one JSON object a line."`
	End  sessionEndCmd  `cmd:"" help:"End sessions of a user, and close their connections."`
}

type sessionListCmd struct {
	storeFlags
	userArg
}

// Run prints a user's sessions.
func (s *sessionListCmd) Run(e *environment) error {
	return s.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, s.User)
		if err != nil {
			return err
		}
		sessions, err := p.Sessions(e.ctx, id)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if err := printLine(e, session); err != nil {
				return err
			}
		}
		return nil
	})
}

type sessionEndCmd struct {
	storeFlags
	All bool `help:"End all of the user's sessions."`
	userArg
	Session string `arg:"" optional:"" help:"The session's id, as \"session list\" shows it."`
}

// Run ends sessions.
func (s *sessionEndCmd) Run(e *environment) error {
	if s.All == (s.Session != "") {
		return usagef("name one session, as \"holdfast session list %s\" shows it, or give --all", s.User)
	}
	return s.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, s.User)
		if err != nil {
			return err
		}
		if s.All {
			err = p.EndSessions(e.ctx, id, "")
		} else {
			err = p.EndSession(e.ctx, id, s.Session)
		}
		if err == nil {
			e.note("ended")
		}
		return err
	})
}
