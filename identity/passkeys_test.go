package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// register gives a user a passkey in the authenticator.
func (h *harness) register(t *testing.T, a *authenticator, userID string) Passkey {
	t.Helper()
	options, err := h.PasskeyRegisterBegin(t.Context(), userID)
	noError(t, err)
	k, err := h.PasskeyRegisterFinish(t.Context(), userID, "Phone", a.create(t, options))
	noError(t, err)
	return k
}

// challenge returns the options for a sign-in.
func (h *harness) challenge(t *testing.T, email string) json.RawMessage {
	t.Helper()
	options, err := h.PasskeyChallenge(t.Context(), email)
	noError(t, err)
	return options
}

func newAuthenticator() *authenticator {
	return &authenticator{origin: "https://example.com", counts: true}
}

func TestPasskeys(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		a := newAuthenticator()
		k := h.register(t, a, ann.ID)
		if k.Name != "Phone" || k.Created.IsZero() || !k.LastUsed.IsZero() {
			t.Errorf("made: %+v", k)
		}
		for _, email := range []string{"", "ann@example.com", " ANN@example.com"} {
			l, err := h.PasskeyVerify(ctx, a.get(t, h.challenge(t, email)), home)
			noError(t, err)
			if l.User.ID != ann.ID || l.Session.UserAgent != firefox || l.RefreshToken == "" || l.CookieSecret == "" {
				t.Errorf("login by %q: %+v", email, l)
			}
		}
		list, err := h.Passkeys(ctx, ann.ID)
		noError(t, err)
		if len(list) != 1 || list[0].ID != k.ID || list[0].LastUsed.IsZero() {
			t.Errorf("list: %+v", list)
		}

		// A second factor is not asked for besides: the passkey is two.
		setup, err := h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		_, err = h.TOTPConfirm(ctx, ann.ID, setup.code(t, 0))
		noError(t, err)
		l, err := h.PasskeyVerify(ctx, a.get(t, h.challenge(t, "")), home)
		if err != nil || l.Requires2FA || l.AccessToken == "" {
			t.Errorf("with TOTP: %+v, %v", l, err)
		}

		// One that is not discoverable is found by the address.
		bob := h.user("bob@example.com")
		stick := newAuthenticator()
		stick.noStore, stick.counts = true, false
		h.register(t, stick, bob.ID)
		for range 2 { // its counter stays 0
			l, err = h.PasskeyVerify(ctx, stick.get(t, h.challenge(t, "bob@example.com")), home)
			if err != nil || l.User.ID != bob.ID {
				t.Errorf("by address: %+v, %v", l, err)
			}
		}

		wantCode(t, "another user's", h.DeletePasskey(ctx, bob.ID, k.ID), holdfast.NotFound)
		wantCode(t, "nothing", h.DeletePasskey(ctx, ann.ID, "!"), holdfast.NotFound)
		answer := a.get(t, h.challenge(t, ""))
		noError(t, h.DeletePasskey(ctx, ann.ID, k.ID))
		_, err = h.PasskeyVerify(ctx, answer, home)
		wantCode(t, "deleted", err, holdfast.InvalidCredentials)
	})
}

func TestPasskeyRefused(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann, bob := h.user("ann@example.com"), h.user("bob@example.com")
		a, b := newAuthenticator(), newAuthenticator()
		h.register(t, a, ann.ID)
		h.register(t, b, bob.ID)
		verify := func(what string, answer json.RawMessage) {
			t.Helper()
			_, err := h.PasskeyVerify(ctx, answer, home)
			wantCode(t, what, err, holdfast.InvalidCredentials)
		}
		good := a.get(t, h.challenge(t, ""))
		_, err := h.PasskeyVerify(ctx, good, home)
		noError(t, err)
		verify("the answer again", good)

		late := a.get(t, h.challenge(t, ""))
		after(codePasskeyLogin.lifetime())
		verify("late", late)

		var foreign requestOptions
		noError(t, json.Unmarshal(h.challenge(t, ""), &foreign))
		foreign.PublicKey.Challenge = newSecret()
		verify("a challenge of nobody", a.assert(t, a.keys[0], foreign))

		var o requestOptions
		noError(t, json.Unmarshal(h.challenge(t, "bob@example.com"), &o))
		verify("ann's key for bob's challenge", a.assert(t, a.keys[0], o))
		noError(t, json.Unmarshal(h.challenge(t, "nobody@example.com"), &o))
		verify("ann's key for nobody's challenge", a.assert(t, a.keys[0], o))

		noError(t, json.Unmarshal(h.challenge(t, ""), &o))
		mixed := *a.keys[0]
		mixed.user = []byte(bob.ID)
		verify("ann's key with bob's handle", a.assert(t, &mixed, o))

		evil := newAuthenticator()
		evil.origin, evil.keys = "https://example.com.evil.example", a.keys
		verify("another origin", evil.get(t, h.challenge(t, "")))
		verify("cut", good[:len(good)/2])
		verify("nothing", nil)
		verify("much", json.RawMessage(strings.Repeat("[", maxCredential+1)))

		// The user was not verified.
		a.hideUV = true
		verify("without verification", a.get(t, h.challenge(t, "")))
		a.hideUV = false

		// Each of these used up its challenge: none works when done right.
		noError(t, json.Unmarshal(h.challenge(t, ""), &o))
		verify("first wrong", b.assert(t, a.keys[0], requestOptions{PublicKey: o.PublicKey})[:10])
		copied := *a.keys[0]
		copied.key = b.keys[0].key
		verify("wrong signature", a.assert(t, &copied, o))
		verify("then right", a.assert(t, a.keys[0], o))

		noError(t, h.Disable(ctx, ann.ID))
		verify("disabled", a.get(t, h.challenge(t, "")))
	})
}

// A counter that does not grow says that there are two of the passkey.
func TestPasskeyCounter(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		a := newAuthenticator()
		h.register(t, a, ann.ID)
		clone := *a.keys[0]
		for range 3 {
			_, err := h.PasskeyVerify(ctx, a.get(t, h.challenge(t, "")), home)
			noError(t, err)
		}
		var o requestOptions
		noError(t, json.Unmarshal(h.challenge(t, ""), &o))
		_, err := h.PasskeyVerify(ctx, a.assert(t, &clone, o), home)
		wantCode(t, "a copy", err, holdfast.InvalidCredentials)
		if !strings.Contains(h.logged(), "counter went backwards") {
			t.Error("not logged")
		}
		_, err = h.PasskeyVerify(ctx, a.get(t, h.challenge(t, "")), home)
		wantCode(t, "the real one", err, "")
	})
}

func TestPasskeyRegister(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann, bob := h.user("ann@example.com"), h.user("bob@example.com")
		a := newAuthenticator()
		begin := func(user string) json.RawMessage {
			options, err := h.PasskeyRegisterBegin(ctx, user)
			noError(t, err)
			return options
		}
		answer := a.create(t, begin(ann.ID))
		_, err := h.PasskeyRegisterFinish(ctx, bob.ID, "", answer)
		wantCode(t, "another user", err, holdfast.InvalidArgument)
		_, err = h.PasskeyRegisterFinish(ctx, ann.ID, "", answer)
		wantCode(t, "its challenge again", err, holdfast.InvalidArgument)
		late := a.create(t, begin(ann.ID))
		after(codePasskeyRegister.lifetime())
		_, err = h.PasskeyRegisterFinish(ctx, ann.ID, "", late)
		wantCode(t, "late", err, holdfast.InvalidArgument)
		login := a.get(t, h.challenge(t, ""))
		_, err = h.PasskeyRegisterFinish(ctx, ann.ID, "", login)
		wantCode(t, "the answer to another challenge", err, holdfast.InvalidArgument)
		a.origin = "http://example.com"
		_, err = h.PasskeyRegisterFinish(ctx, ann.ID, "", a.create(t, begin(ann.ID)))
		wantCode(t, "another origin", err, holdfast.InvalidArgument)
		a.origin = "https://example.com"

		h.register(t, a, ann.ID)
		var o creationOptions
		noError(t, json.Unmarshal(begin(ann.ID), &o))
		if len(o.PublicKey.Exclude) != 1 || o.PublicKey.RP.ID != "example.com" || string(unb64(t, o.PublicKey.User.ID)) != ann.ID {
			t.Errorf("options: %+v", o)
		}
		for range maxPasskeys - 1 {
			h.register(t, a, ann.ID)
		}
		_, err = h.PasskeyRegisterBegin(ctx, ann.ID)
		wantCode(t, "too many", err, holdfast.Conflict)
		_, err = h.PasskeyRegisterBegin(ctx, "nobody")
		wantCode(t, "nobody", err, holdfast.NotFound)
	})
}

// Nobody learns from a challenge who has an account, or a passkey.
func TestPasskeyChallengeTellsNothing(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ann := h.user("ann@example.com")
		h.user("bob@example.com") // without one
		h.register(t, newAuthenticator(), ann.ID)
		shape := func(email string) (string, string) {
			var options map[string]map[string]any
			noError(t, json.Unmarshal(h.challenge(t, email), &options))
			o := options["publicKey"]
			allow := o["allowCredentials"].([]any)
			credential := allow[0].(map[string]any)
			id := credential["id"].(string)
			o["challenge"], credential["id"] = len(o["challenge"].(string)), "id"
			text, err := json.Marshal(options)
			noError(t, err)
			return string(text), id
		}
		known, knownID := shape("ann@example.com")
		for _, email := range []string{"bob@example.com", "nobody@example.com"} {
			got, id := shape(email)
			if got != known {
				t.Errorf("%s:\n%s\nnot as for somebody known:\n%s", email, got, known)
			}
			again, sameID := shape(email)
			if again != known || sameID != id {
				t.Errorf("%s: another answer the second time", email)
			}
			if id == knownID {
				t.Error("the same passkey for two")
			}
		}
		if _, again := shape("ann@example.com"); again != knownID {
			t.Error("a passkey changed its id")
		}
	})
}

func TestPasskeysOff(t *testing.T) {
	eachDatabase(t, func(cfg *Config) { cfg.PublicURL = "http://127.0.0.1:8080" }, func(t *testing.T, h *harness) {
		ann := h.user("ann@example.com")
		_, err := h.PasskeyRegisterBegin(t.Context(), ann.ID)
		wantCode(t, "register", err, holdfast.NotFound)
		_, err = h.PasskeyChallenge(t.Context(), "")
		wantCode(t, "challenge", err, holdfast.NotFound)
		_, err = h.PasskeyVerify(t.Context(), json.RawMessage(`{}`), home)
		wantCode(t, "verify", err, holdfast.NotFound)
		if l := h.signIn("ann@example.com"); l.ExpiresAt.Before(time.Now()) {
			t.Error("nothing else works either")
		}
	})
}
