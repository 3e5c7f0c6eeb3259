package identity

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/holdfast-dev/holdfast"
)

const (
	// maxPasskeys is how many passkeys a user may have.
	maxPasskeys = 20
	// maxCredential bounds what a browser sends, in bytes.
	maxCredential = 64 << 10
)

// newWebAuthn returns nil where there is no relying party. A passkey has to
// verify its user (by finger, face or PIN), and so is two factors by itself.
func newWebAuthn(cfg Config) (*webauthn.WebAuthn, error) {
	if cfg.RelyingParty == "" {
		return nil, nil
	}
	timeout := webauthn.TimeoutConfig{Enforce: true, Timeout: codePasskeyLogin.lifetime(), TimeoutUVD: codePasskeyLogin.lifetime()}
	w, err := webauthn.New(&webauthn.Config{
		RPID: cfg.RelyingParty, RPDisplayName: cfg.RelyingPartyName, RPOrigins: cfg.RelyingPartyOrigins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		// Password managers send some unasked; nothing is made of them.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("identity: passkeys: %w", err)
	}
	return w, nil
}

// passkeyUser is a user as the library wants him. His handle is his id, which
// is random.
type passkeyUser struct {
	id, email, name string
	keys            []storedPasskey
}

// WebAuthnID returns the user handle.
func (u passkeyUser) WebAuthnID() []byte { return []byte(u.id) }

// WebAuthnName returns what tells accounts apart.
func (u passkeyUser) WebAuthnName() string { return u.email }

// WebAuthnDisplayName returns what a person is called.
func (u passkeyUser) WebAuthnDisplayName() string {
	if u.name == "" {
		return u.email
	}
	return u.name
}

// WebAuthnCredentials returns the user's passkeys.
func (u passkeyUser) WebAuthnCredentials() []webauthn.Credential {
	list := make([]webauthn.Credential, len(u.keys))
	for i, k := range u.keys {
		list[i] = k.credential
	}
	return list
}

func (u passkeyUser) descriptors() []protocol.CredentialDescriptor {
	list := make([]protocol.CredentialDescriptor, len(u.keys))
	for i, k := range u.keys {
		list[i] = descriptor(k.credential.ID)
	}
	return list
}

// descriptor names a credential and nothing else: a made-up one must look like
// a real one.
func descriptor(id []byte) protocol.CredentialDescriptor {
	return protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: id}
}

type storedPasskey struct {
	Passkey
	credential webauthn.Credential
}

func scanPasskey(s scanner) (storedPasskey, error) {
	var k storedPasskey
	var id []byte
	var text string
	var created, lastUsed int64
	if err := s.Scan(&id, &k.Name, &text, &created, &lastUsed); err != nil {
		return k, err
	}
	if err := json.Unmarshal([]byte(text), &k.credential); err != nil {
		return k, fmt.Errorf("identity: a passkey is malformed: %w", err)
	}
	k.ID, k.Created, k.LastUsed = base64.RawURLEncoding.EncodeToString(id), fromMillis(created), fromMillis(lastUsed)
	return k, nil
}

func (p *Provider) passkeyUser(ctx context.Context, q queries, a *account) (passkeyUser, error) {
	u := passkeyUser{}
	if a != nil && storable(a.ID) {
		u.id, u.email, u.name = a.ID, a.Email, a.Name
	}
	var err error
	u.keys, err = all(ctx, q, scanPasskey, `SELECT id, name, credential, created, last_used FROM passkeys WHERE user_id = $1 ORDER BY created, id`, u.id)
	return u, err
}

// Passkeys returns a user's passkeys, the oldest first.
func (p *Provider) Passkeys(ctx context.Context, userID string) ([]Passkey, error) {
	u, err := p.passkeyUser(ctx, p.db.read, &account{User: User{ID: userID}})
	list := make([]Passkey, len(u.keys))
	for i, k := range u.keys {
		list[i] = k.Passkey
	}
	return list, err
}

// DeletePasskey removes one of a user's passkeys. The error is NOT_FOUND if
// he has no such one.
func (p *Provider) DeletePasskey(ctx context.Context, userID, id string) error {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || !storable(userID) {
		return errNoPasskey()
	}
	n, err := execute(ctx, p.db.write, `DELETE FROM passkeys WHERE id = $1 AND user_id = $2`, raw, userID)
	if err == nil && n == 0 {
		err = errNoPasskey()
	}
	return err
}

func errNoPasskey() error { return holdfast.Errorf(holdfast.NotFound, "There is no such passkey") }

func errNoPasskeys() error {
	return holdfast.Errorf(holdfast.NotFound, "Passkeys are off: the server has no public URL")
}

// PasskeyRegisterBegin returns the options for navigator.credentials.create,
// as {"publicKey":{…}}. Their challenge is good for five minutes, once, and
// for this user.
func (p *Provider) PasskeyRegisterBegin(ctx context.Context, userID string) (json.RawMessage, error) {
	if p.webauthn == nil {
		return nil, errNoPasskeys()
	}
	a, err := p.accountByID(ctx, p.db.read, userID)
	if err != nil {
		return nil, err
	}
	u, err := p.passkeyUser(ctx, p.db.read, a)
	if err != nil {
		return nil, err
	}
	if len(u.keys) >= maxPasskeys {
		return nil, holdfast.Errorf(holdfast.Conflict, "There are %d passkeys already; delete one first", len(u.keys))
	}
	options, session, err := p.webauthn.BeginRegistration(u, webauthn.WithExclusions(u.descriptors()))
	if err != nil {
		return nil, fmt.Errorf("identity: passkeys: %w", err)
	}
	return p.keepChallenge(ctx, codePasskeyRegister, userID, session, options)
}

// keepChallenge stores what the answer to a challenge is checked against, and
// returns the options as JSON.
func (p *Provider) keepChallenge(ctx context.Context, kind codeKind, user string, session *webauthn.SessionData, options any) (json.RawMessage, error) {
	data, err := json.Marshal(session)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if _, err := addCode(ctx, p.db.write, kind, session.Challenge, user, string(data)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return text, nil
}

// takeChallenge uses a challenge up, whether the answer to it is good or not.
func (p *Provider) takeChallenge(ctx context.Context, kind codeKind, challenge string) (session webauthn.SessionData, err error) {
	var c usedCode
	err = p.db.tx(ctx, func(tx *sql.Tx) (err error) {
		c, err = takeCode(ctx, tx, kind, challenge)
		return err
	})
	if err != nil {
		return session, err
	}
	if err := json.Unmarshal([]byte(c.data), &session); err != nil {
		return session, fmt.Errorf("identity: a challenge is malformed: %w", err)
	}
	return session, nil
}

// PasskeyRegisterFinish takes the browser's PublicKeyCredential as JSON, and
// stores the passkey under a name for people. The error is INVALID_ARGUMENT
// for one that is not good, or whose challenge is not.
func (p *Provider) PasskeyRegisterFinish(ctx context.Context, userID, name string, credential json.RawMessage) (Passkey, error) {
	if p.webauthn == nil {
		return Passkey{}, errNoPasskeys()
	}
	if len(credential) > maxCredential {
		return Passkey{}, errPasskey(nil)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(credential)
	if err != nil {
		return Passkey{}, errPasskey(err)
	}
	session, err := p.takeChallenge(ctx, codePasskeyRegister, parsed.Response.CollectedClientData.Challenge)
	if err != nil {
		return Passkey{}, err
	}
	made, err := p.webauthn.CreateCredential(passkeyUser{id: userID}, session, parsed)
	if err != nil {
		return Passkey{}, errPasskey(err)
	}
	text, err := json.Marshal(made)
	if err != nil {
		return Passkey{}, fmt.Errorf("identity: %w", err)
	}
	k := Passkey{ID: base64.RawURLEncoding.EncodeToString(made.ID), Name: cleanText(name, maxName), Created: timeNow()}
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		if _, err := p.accountLocked(ctx, tx, userID); err != nil {
			return err
		}
		n, err := execute(ctx, tx, `INSERT INTO passkeys (id, user_id, name, credential, created, last_used)
			SELECT $1, $2, $3, $4, $5, 0 WHERE (SELECT COUNT(*) FROM passkeys WHERE user_id = $2) < $6 ON CONFLICT DO NOTHING`,
			made.ID, userID, k.Name, string(text), millis(k.Created), maxPasskeys)
		if err == nil && n == 0 {
			err = holdfast.Errorf(holdfast.Conflict, "The passkey is registered already, or there are too many")
		}
		return err
	})
	if err != nil {
		return Passkey{}, err
	}
	return k, nil
}

func errPasskey(cause error) error {
	return &holdfast.Error{Code: holdfast.InvalidArgument, Message: "The passkey could not be verified", Err: cause}
}

// PasskeyChallenge returns the options for navigator.credentials.get, as
// {"publicKey":{…}}. Their challenge is good for five minutes, once. Without
// an e-mail address any discoverable passkey will do. With one the passkeys of
// its account are named; for an address without an account, or whose account
// has no passkeys, one is made up, always the same.
func (p *Provider) PasskeyChallenge(ctx context.Context, email string) (json.RawMessage, error) {
	if p.webauthn == nil {
		return nil, errNoPasskeys()
	}
	if email == "" {
		options, session, err := p.webauthn.BeginDiscoverableLogin()
		if err != nil {
			return nil, fmt.Errorf("identity: passkeys: %w", err)
		}
		return p.keepChallenge(ctx, codePasskeyLogin, "", session, options)
	}
	email, err := NormalizeEmail(email)
	if err != nil {
		return nil, err
	}
	a, err := p.accountByEmail(ctx, email)
	if err != nil {
		return nil, err
	}
	u, err := p.passkeyUser(ctx, p.db.read, a)
	if err != nil {
		return nil, err
	}
	allowed := u.descriptors()
	if len(allowed) == 0 {
		allowed = []protocol.CredentialDescriptor{descriptor(p.madeUpPasskey(email))}
		u = passkeyUser{}
	}
	options, session, err := p.webauthn.BeginDiscoverableLogin(webauthn.WithAllowedCredentials(allowed))
	if err != nil {
		return nil, fmt.Errorf("identity: passkeys: %w", err)
	}
	session.UserID = []byte(u.id)
	return p.keepChallenge(ctx, codePasskeyLogin, u.id, session, options)
}

// madeUpPasskey is the credential id of nobody, as long as common ones.
func (p *Provider) madeUpPasskey(email string) []byte {
	id := p.vault.mac("made-up passkey", email)
	return id[:[]int{16, 20, 32}[p.vault.mac("made-up passkey length", email)[0]%3]]
}

// PasskeyVerify takes the browser's PublicKeyCredential as JSON, the answer to
// a challenge of PasskeyChallenge, and makes a session. No second factor is
// asked for: the passkey has verified its user. The error is
// INVALID_CREDENTIALS, whatever was wrong.
func (p *Provider) PasskeyVerify(ctx context.Context, credential json.RawMessage, c Client) (Login, error) {
	if p.webauthn == nil {
		return Login{}, errNoPasskeys()
	}
	if len(credential) > maxCredential {
		return Login{}, errPasskeyLogin(nil)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(credential)
	if err != nil {
		return Login{}, errPasskeyLogin(err)
	}
	session, err := p.takeChallenge(ctx, codePasskeyLogin, parsed.Response.CollectedClientData.Challenge)
	if errors.Is(err, holdfast.InvalidArgument) {
		return Login{}, errPasskeyLogin(err)
	}
	if err != nil {
		return Login{}, err
	}
	userID := string(session.UserID)
	if userID == "" {
		if len(session.AllowedCredentialIDs) > 0 {
			return Login{}, errPasskeyLogin(errors.New("identity: nobody has this passkey"))
		}
		userID = string(parsed.Response.UserHandle)
	}
	verified, err := p.verifyPasskey(ctx, userID, session, parsed)
	if err != nil {
		return Login{}, err
	}
	l, err := p.newLogin(ctx, userID, c, func(tx *sql.Tx, a *account) error {
		return p.usePasskey(ctx, tx, a, verified)
	})
	if errors.Is(err, holdfast.NotFound) { // deleted a moment ago
		err = errPasskeyLogin(err)
	}
	return l, err
}

// errPasskeyLogin hides why a passkey is refused.
func errPasskeyLogin(cause error) error {
	return &holdfast.Error{Code: holdfast.InvalidCredentials, Message: "The passkey could not be verified", Err: cause}
}

// verifyPasskey checks the answer, and returns the credential as it is after it.
func (p *Provider) verifyPasskey(ctx context.Context, userID string, session webauthn.SessionData, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	u, err := p.passkeyUser(ctx, p.db.read, &account{User: User{ID: userID}})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(u.keys, func(k storedPasskey) bool { return string(k.credential.ID) == string(parsed.RawID) }) {
		return nil, errPasskeyLogin(errors.New("identity: the user has no such passkey"))
	}
	var credential *webauthn.Credential
	if len(session.UserID) == 0 {
		_, credential, err = p.webauthn.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return u, nil }, session, parsed)
	} else {
		credential, err = p.webauthn.ValidateLogin(u, session, parsed)
	}
	if err != nil {
		return nil, errPasskeyLogin(err)
	}
	return credential, nil
}

// usePasskey stores the counter of a passkey that was used, unless that went
// backwards: then there are two of it.
func (p *Provider) usePasskey(ctx context.Context, tx *sql.Tx, a *account, used *webauthn.Credential) error {
	k, err := scanPasskey(tx.QueryRowContext(ctx, `SELECT id, name, credential, created, last_used FROM passkeys
		WHERE id = $1 AND user_id = $2`+p.db.forUpdate(), used.ID, a.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return errPasskeyLogin(err) // deleted a moment ago
	}
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	// The row again, since another sign-in may have been quicker.
	before, after := k.credential.Authenticator.SignCount, used.Authenticator.SignCount
	if used.Authenticator.CloneWarning || after <= before && (after != 0 || before != 0) {
		p.log.WarnContext(ctx, "a passkey's counter went backwards; it may have been copied", "user", a.ID, "passkey", k.ID)
		return errPasskeyLogin(errors.New("identity: the passkey's counter went backwards"))
	}
	text, err := json.Marshal(used)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	_, err = execute(ctx, tx, `UPDATE passkeys SET credential = $1, last_used = $2 WHERE id = $3`, string(text), millis(time.Now()), used.ID)
	return err
}
