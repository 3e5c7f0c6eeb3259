package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/identity"
)

type userCmds struct {
	Add           userAddCmd           `cmd:"" help:"Make an account."`
	Invite        userInviteCmd        `cmd:"" help:"Make a code with which somebody signs up, once, within a week."`
	List          userListCmd          `cmd:"" help:"Print the accounts, one JSON object a line."`
	Grant         userGrantCmd         `cmd:"" help:"Replace what a user may do."`
	Disable       userDisableCmd       `cmd:"" help:"Keep a user out and end his sessions."`
	Enable        userEnableCmd        `cmd:"" help:"Let a user in again."`
	ResetPassword userResetPasswordCmd `cmd:"" help:"Set a user's password, or make a code with which he does, and end his sessions."`
}

type userAddCmd struct {
	storeFlags
	grantFlags
	Name       string `placeholder:"NAME" group:"claims" help:"The user's name, shown to others."`
	Verified   bool   `help:"The address need not be verified."`
	NoPassword bool   `help:"Without a password, which \"user reset-password --code\" lets the user set."`
	Email      string `arg:"" help:"The user's e-mail address, with which he signs in."`
}

// Run makes an account.
func (u *userAddCmd) Run(e *environment) error {
	grants, err := u.grants()
	if err != nil {
		return err
	}
	if _, err := identity.NormalizeEmail(u.Email); err != nil {
		return usageError{err: err}
	}
	password := ""
	if !u.NoPassword {
		if password, err = e.prompt().newPassword(); err != nil {
			return err
		}
	}
	return u.withProvider(e, func(p *identity.Provider) error {
		made, err := p.CreateUser(e.ctx, identity.NewUser{
			Email: u.Email, Password: password, Name: u.Name, Grants: grants, EmailVerified: u.Verified,
		})
		if err != nil {
			return err
		}
		return printLine(e, made)
	})
}

type userInviteCmd struct {
	storeFlags
	grantFlags
	Email string `arg:"" help:"The e-mail address that may sign up with the code."`
}

// Run makes an invitation. Mails are the server's business.
func (u *userInviteCmd) Run(e *environment) error {
	grants, err := u.grants()
	if err != nil {
		return err
	}
	return u.withProvider(e, func(p *identity.Provider) error {
		code, expires, err := p.Invite(e.ctx, identity.Invitation{Email: u.Email, Grants: grants})
		if err != nil {
			return err
		}
		e.note("good once, until %s, for POST /api/auth/sign-up with {\"invite\"} at a server with --sign-up invite or open; no mail is sent", expires.Local().Format(time.DateTime))
		_, err = fmt.Fprintln(e.stdout, code)
		return err
	})
}

type userListCmd struct{ storeFlags }

// Run prints the accounts.
func (u *userListCmd) Run(e *environment) error {
	return u.withProvider(e, func(p *identity.Provider) error {
		for after := ""; ; {
			users, err := p.Users(e.ctx, after, 0)
			if err != nil || len(users) == 0 {
				return err
			}
			for _, user := range users {
				if err := printLine(e, user); err != nil {
					return err
				}
			}
			after = users[len(users)-1].ID
		}
	})
}

// userArg names a user.
type userArg struct {
	User string `arg:"" help:"The user's e-mail address or id."`
}

type userGrantCmd struct {
	storeFlags
	grantFlags
	Nothing bool `help:"Take everything away that was granted; --default-rooms of the server hold."`
	userArg
}

// Run replaces a user's grants.
func (u *userGrantCmd) Run(e *environment) error {
	if some := len(u.Role)+len(u.Room)+len(u.Action) > 0; some == u.Nothing {
		return usagef("give all that the user may do from now on, by --role, --room and --action; or --nothing")
	}
	grants, err := u.grants()
	if err != nil {
		return err
	}
	return u.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, u.User)
		if err != nil {
			return err
		}
		user, err := p.Grant(e.ctx, id, grants)
		if err != nil {
			return err
		}
		return printLine(e, user)
	})
}

type userDisableCmd struct {
	storeFlags
	userArg
}

// Run keeps a user out.
func (u *userDisableCmd) Run(e *environment) error {
	return u.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, u.User)
		if err == nil {
			err = p.Disable(e.ctx, id)
		}
		if err == nil {
			e.note("user %s is disabled, and signed out everywhere", u.User)
		}
		return err
	})
}

type userEnableCmd struct {
	storeFlags
	userArg
}

// Run lets a user in again.
func (u *userEnableCmd) Run(e *environment) error {
	return u.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, u.User)
		if err == nil {
			err = p.Enable(e.ctx, id)
		}
		if err == nil {
			e.note("user %s can sign in again", u.User)
		}
		return err
	})
}

type userResetPasswordCmd struct {
	storeFlags
	Code bool `help:"Print a code for POST /api/auth/password/reset, good for an hour, instead of asking for a password."`
	userArg
}

// Run sets a password, or makes a code.
func (u *userResetPasswordCmd) Run(e *environment) error {
	var password string
	if !u.Code {
		var err error
		if password, err = e.prompt().newPassword(); err != nil {
			return err
		}
	}
	return u.withProvider(e, func(p *identity.Provider) error {
		id, err := userID(e, p, u.User)
		if err != nil {
			return err
		}
		if !u.Code {
			if err := p.SetPassword(e.ctx, id, password); err != nil {
				return err
			}
			e.note("user %s has a new password, and is signed out everywhere", u.User)
			return nil
		}
		code, expires, err := p.PasswordResetCode(e.ctx, id)
		if err != nil {
			return err
		}
		e.note("good once, until %s", expires.Local().Format(time.DateTime))
		_, err = fmt.Fprintln(e.stdout, code)
		return err
	})
}

// printLine prints v as one line of JSON.
func printLine(e *environment, v any) error {
	out := json.NewEncoder(e.stdout)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}
