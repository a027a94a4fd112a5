// Package passkeytest is a device with passkeys for tests: it answers what a browser would be asked, as a browser would, and
// wrongly where it is told to.
package passkeytest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// A Device holds passkeys.
type Device struct {
	Origin string // of the page that asks, as the browser has it
	// Ed25519: new passkeys have keys of EdDSA, else of ES256.
	Ed25519 bool
	// Unverified: it does not look who holds it.
	Unverified bool
	// Absent: nobody touched it.
	Absent bool
	// Counts is how far it has counted; every use counts one. 0 before the first: it does not count.
	Counts uint32
	Synced bool
	// Change, if it is set, changes what the browser says before it is signed.
	Change func(clientData map[string]any)
	// Host, if it is set, is what passkeys are bound to, whatever the page asks for.
	Host string

	Keys []*Key // the newest last
}

// A Key is a passkey.
type Key struct {
	ID     []byte
	Host   string // it is bound to
	Handle []byte // of its owner
	Signer crypto.Signer
}

// The flags of authenticator data (WebAuthn, section 6.1).
const (
	present  = 1 << 0
	verified = 1 << 2
	eligible = 1 << 3
	backedUp = 1 << 4
	attested = 1 << 6
)

type options struct {
	Challenge string
	RP        struct{ ID, Name string }
	RPID      string
	User      struct{ ID, Name, DisplayName string }
	Exclude   []struct{ ID string } `json:"excludeCredentials"`
	Allow     []struct{ ID string } `json:"allowCredentials"`
	Params    []struct{ Alg int }   `json:"pubKeyCredParams"`
}

func read(t testing.TB, raw []byte) options {
	t.Helper()
	var o options
	if err := json.Unmarshal(raw, &o); err != nil || o.Challenge == "" {
		t.Fatalf("options of a ceremony: %v: %s", err, raw)
	}
	return o
}

// Create answers navigator.credentials.create. It returns nil where the device has one of the keys that are excluded.
func (d *Device) Create(t testing.TB, raw []byte) []byte {
	t.Helper()
	o := read(t, raw)
	for _, e := range o.Exclude {
		if d.key(unbase64(t, e.ID)) != nil {
			return nil
		}
	}
	key := &Key{ID: make([]byte, 32), Host: d.host(o.RP.ID), Handle: unbase64(t, o.User.ID)}
	_, _ = rand.Read(key.ID)
	var cose map[int]any
	if d.Ed25519 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key.Signer, cose = private, map[int]any{1: 1, 3: -8, -1: 6, -2: []byte(public)}
	} else {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := private.PublicKey.Bytes() // uncompressed
		if err != nil {
			t.Fatal(err)
		}
		key.Signer, cose = private, map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}
	}
	d.Keys = append(d.Keys, key)

	data := d.data(key, attested)
	data = append(data, make([]byte, 16)...) // the model, which nobody is told
	data = binary.BigEndian.AppendUint16(data, uint16(len(key.ID)))
	data = append(append(data, key.ID...), encode(t, cose)...)
	object := encode(t, map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	return d.answer(t, key, map[string]any{
		"clientDataJSON":    base64url(d.client(t, "webauthn.create", o.Challenge)),
		"attestationObject": base64url(object), "transports": []string{"internal", "made up"},
	})
}

// Get answers navigator.credentials.get with the newest passkey that is asked for, or nil if the device has none.
func (d *Device) Get(t testing.TB, raw []byte) []byte {
	t.Helper()
	o := read(t, raw)
	for i := len(d.Keys) - 1; i >= 0; i-- {
		key := d.Keys[i]
		asked := len(o.Allow) == 0
		for _, a := range o.Allow {
			asked = asked || bytes.Equal(unbase64(t, a.ID), key.ID)
		}
		if asked && key.Host == d.host(o.RPID) {
			return d.Sign(t, key, o.Challenge)
		}
	}
	return nil
}

// Sign answers navigator.credentials.get with this passkey.
func (d *Device) Sign(t testing.TB, key *Key, challenge string) []byte {
	t.Helper()
	client, data := d.client(t, "webauthn.get", challenge), d.data(key, 0)
	hash := sha256.Sum256(client)
	signed := append(bytes.Clone(data), hash[:]...)
	var with crypto.SignerOpts = crypto.Hash(0)
	if _, ec := key.Signer.(*ecdsa.PrivateKey); ec {
		sum := sha256.Sum256(signed)
		signed, with = sum[:], crypto.SHA256
	}
	signature, err := key.Signer.Sign(rand.Reader, signed, with)
	if err != nil {
		t.Fatal(err)
	}
	return d.answer(t, key, map[string]any{
		"clientDataJSON": base64url(client), "authenticatorData": base64url(data),
		"signature": base64url(signature), "userHandle": base64url(key.Handle),
	})
}

func (d *Device) host(asked string) string {
	if d.Host != "" {
		return d.Host
	}
	return asked
}

func (d *Device) key(id []byte) *Key {
	for _, k := range d.Keys {
		if bytes.Equal(k.ID, id) {
			return k
		}
	}
	return nil
}

// client is what the browser says (WebAuthn, section 5.8.1).
func (d *Device) client(t testing.TB, kind, challenge string) []byte {
	t.Helper()
	said := map[string]any{"type": kind, "challenge": challenge, "origin": d.Origin, "crossOrigin": false}
	if d.Change != nil {
		d.Change(said)
	}
	b, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// data is what the device says (WebAuthn, section 6.1).
func (d *Device) data(key *Key, flags byte) []byte {
	hash := sha256.Sum256([]byte(key.Host))
	if !d.Absent {
		flags |= present
	}
	if !d.Unverified {
		flags |= verified
	}
	if d.Synced {
		flags |= eligible | backedUp
	}
	if d.Counts > 0 {
		d.Counts++
	}
	return binary.BigEndian.AppendUint32(append(hash[:], flags), d.Counts)
}

func (d *Device) answer(t testing.TB, key *Key, response map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"id": base64url(key.ID), "rawId": base64url(key.ID), "type": "public-key",
		"response": response, "clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
