package identity

import (
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// User is an account. Values are copies: changing one changes nothing.
type User struct {
	ID string `json:"id"`
	// Email is normalised: see NormalizeEmail.
	Email string   `json:"email"`
	Name  string   `json:"name,omitempty"`
	Roles []string `json:"roles,omitempty"`
	// Rooms are those granted; nil: Config.DefaultRooms.
	Rooms *holdfast.RoomPermissions `json:"rooms,omitempty"`
	// Actions are permission strings, see holdfast.Permissions.Can.
	Actions []string `json:"actions,omitempty"`

	EmailVerified bool      `json:"emailVerified"`
	TOTP          bool      `json:"totp"`              // a second factor is on
	Password      bool      `json:"password"`          // there is one
	Disabled      time.Time `json:"disabled,omitzero"` // zero: not
	Created       time.Time `json:"created"`
	// PermissionVersion counts the changes of what the user may do.
	PermissionVersion int64 `json:"permissionVersion"`
}

// AsUser returns the form in which a user is shown.
func (u User) AsUser() holdfast.User {
	return holdfast.User{ID: u.ID, Name: u.Name, Email: u.Email, Roles: u.Roles}
}

// Session is one login of a user on one device.
type Session struct {
	// ID is public: the sid of its tokens. It is no credential.
	ID   string `json:"id"`
	User string `json:"user"`
	// UserAgent and Addr are those of its last use.
	UserAgent string    `json:"userAgent,omitempty"`
	Addr      string    `json:"addr,omitempty"`
	Created   time.Time `json:"created"`
	// LastUsed is up to five minutes behind for sessions by cookie.
	LastUsed time.Time `json:"lastUsed"`
	// Expires is when it ends unless it is used before; never after its total
	// lifetime.
	Expires time.Time `json:"expires"`
}

// Login is what a sign-in or a refresh gives. Its secrets must not be logged.
type Login struct {
	User    User
	Session Session
	// AccessToken is a JWT, good until ExpiresAt.
	AccessToken string
	ExpiresAt   time.Time
	// RefreshToken is good for one refresh.
	RefreshToken string
	// CookieSecret is the value of the session cookie; "" from a refresh,
	// which leaves the cookie as it was.
	CookieSecret string

	// Requires2FA: the password was right, and a TOTP or recovery code is
	// wanted as well. Nothing else is set.
	Requires2FA bool
	// VerificationSent: the address has to be verified first (see
	// Config.VerifyEmail); a mail is under way. Nothing else is set.
	VerificationSent bool
}

// NewUser is an account to be made.
type NewUser struct {
	Email string
	// Password may be empty in CreateUser: then it has to be reset first, or
	// a passkey registered.
	Password string
	Name     string // at most 200 bytes

	// Invite is the code of an invitation; only SignUp looks at it.
	Invite string

	// Grants and EmailVerified are for CreateUser; SignUp ignores them.
	Grants        Grants
	EmailVerified bool
}

// Grants is what a user may do. Grant replaces all of it.
type Grants struct {
	Roles []string
	// Rooms; nil: Config.DefaultRooms.
	Rooms   *holdfast.RoomPermissions
	Actions []string
}

// SignInRequest is a filled-in sign-in form.
type SignInRequest struct {
	Email    string
	Password string
	// TOTPCode is the second factor where it is on: a code of 6 digits, or a
	// recovery code; else ignored.
	TOTPCode string
}

// TOTPSetup is a second factor that is not confirmed yet.
type TOTPSetup struct {
	Secret string // base32, to be typed in
	URL    string // otpauth://, for a QR code
}

// Passkey is one that a user has registered.
type Passkey struct {
	ID       string    `json:"id"` // base64url of the credential id
	Name     string    `json:"name,omitempty"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

// APIKey is a key for backends, as it is listed.
type APIKey struct {
	auth.APIKey
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
}

// NewAPIKey is an API key to be made.
type NewAPIKey struct {
	Name   string // at most 200 bytes
	Scopes auth.Scope
	// Rooms it may publish to and read; the zero value: none.
	Rooms holdfast.RoomPermissions
	// Expires; zero: never.
	Expires time.Time
}

// SigningKey is one of the keys that sign access tokens, as it is listed.
type SigningKey struct {
	ID        string         `json:"id"` // kid
	Algorithm auth.Algorithm `json:"algorithm"`
	Created   time.Time      `json:"created"`
	// Signs is when it begins to sign. It is shown in the JWKS before.
	Signs time.Time `json:"signs"`
	// Expires is when tokens signed by it are no longer taken; zero while no
	// other key has been made to follow it.
	Expires time.Time `json:"expires,omitzero"`
	// Active: it signs now.
	Active bool `json:"active"`
}

// Invitation is to whom a code is given that lets him sign up.
type Invitation struct {
	Email  string
	Grants Grants
}
