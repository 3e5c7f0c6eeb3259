package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"
)

// authenticator is a virtual one, as a browser has it: ES256, no attestation.
type authenticator struct {
	origin  string
	keys    []*passkeyInside
	counts  bool // whether there is a counter; many have none
	hideUV  bool // does not verify the user
	noStore bool // its keys are not discoverable: no user handle
}

type passkeyInside struct {
	id, user []byte
	key      *ecdsa.PrivateKey
	count    uint32
}

// creationOptions are those of navigator.credentials.create that matter.
type creationOptions struct {
	PublicKey struct {
		RP struct {
			ID string `json:"id"`
		} `json:"rp"`
		User struct {
			ID string `json:"id"`
		} `json:"user"`
		Challenge string `json:"challenge"`
		Params    []struct {
			Alg int `json:"alg"`
		} `json:"pubKeyCredParams"`
		Exclude []struct {
			ID string `json:"id"`
		} `json:"excludeCredentials"`
	} `json:"publicKey"`
}

// requestOptions are those of navigator.credentials.get.
type requestOptions struct {
	PublicKey struct {
		RPID             string `json:"rpId"`
		Challenge        string `json:"challenge"`
		UserVerification string `json:"userVerification"`
		Allow            []struct {
			ID string `json:"id"`
		} `json:"allowCredentials"`
	} `json:"publicKey"`
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func unb64(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	noError(t, err)
	return data
}

// cbor encodes what an authenticator has to: RFC 8949, of small sizes.
func cborHead(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 256:
		return []byte{major<<5 | 24, byte(n)}
	}
	return []byte{major<<5 | 25, byte(n >> 8), byte(n)}
}

func cborBytes(b []byte) []byte { return append(cborHead(2, len(b)), b...) }
func cborText(s string) []byte  { return append(cborHead(3, len(s)), s...) }

func (a *authenticator) clientData(kind, challenge string) []byte {
	data, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	if err != nil {
		panic(err)
	}
	return data
}

// authData is what is signed: hash of the relying party, flags, counter.
func (a *authenticator) authData(rpID string, k *passkeyInside, more byte) []byte {
	hash := sha256.Sum256([]byte(rpID))
	flags := byte(1) | more // the user is there
	if !a.hideUV {
		flags |= 4 // and is who he should be
	}
	if a.counts {
		k.count++
	}
	return binary.BigEndian.AppendUint32(append(hash[:], flags), k.count)
}

// create makes a passkey and returns the PublicKeyCredential as JSON.
func (a *authenticator) create(t *testing.T, options []byte) json.RawMessage {
	t.Helper()
	var o creationOptions
	noError(t, json.Unmarshal(options, &o))
	if !slices.ContainsFunc(o.PublicKey.Params, func(p struct {
		Alg int `json:"alg"`
	}) bool {
		return p.Alg == -7
	}) {
		t.Fatalf("ES256 is not offered: %s", options)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err)
	k := &passkeyInside{id: make([]byte, 20), user: unb64(t, o.PublicKey.User.ID), key: key}
	_, _ = rand.Read(k.id)
	a.keys = append(a.keys, k)
	point, err := key.PublicKey.Bytes()
	noError(t, err)
	cose := append([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21}, cborBytes(point[1:33])...) // EC2, ES256, P-256, x
	cose = append(append(cose, 0x22), cborBytes(point[33:])...)
	data := a.authData(o.PublicKey.RP.ID, k, 0x40)
	data = append(data, make([]byte, 16)...) // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.id)))
	data = append(append(data, k.id...), cose...)
	object := append([]byte{0xa3}, cborText("fmt")...)
	object = append(append(object, cborText("none")...), cborText("attStmt")...)
	object = append(append(append(object, 0xa0), cborText("authData")...), cborBytes(data)...)
	return a.credential(t, k, map[string]string{
		"clientDataJSON": b64(a.clientData("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object),
	})
}

// get answers a challenge with the first key that is allowed; nil for none.
func (a *authenticator) get(t *testing.T, options []byte) json.RawMessage {
	t.Helper()
	var o requestOptions
	noError(t, json.Unmarshal(options, &o))
	for _, k := range a.keys {
		allowed := len(o.PublicKey.Allow) == 0 && !a.noStore
		for _, c := range o.PublicKey.Allow {
			allowed = allowed || c.ID == b64(k.id)
		}
		if allowed {
			return a.assert(t, k, o)
		}
	}
	return nil
}

func (a *authenticator) assert(t *testing.T, k *passkeyInside, o requestOptions) json.RawMessage {
	t.Helper()
	data, client := a.authData(o.PublicKey.RPID, k, 0), a.clientData("webauthn.get", o.PublicKey.Challenge)
	clientHash := sha256.Sum256(client)
	hash := sha256.Sum256(append(bytes.Clone(data), clientHash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, hash[:])
	noError(t, err)
	response := map[string]string{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
	if !a.noStore {
		response["userHandle"] = b64(k.user)
	}
	return a.credential(t, k, response)
}

func (a *authenticator) credential(t *testing.T, k *passkeyInside, response map[string]string) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{},
	})
	noError(t, err)
	return text
}
