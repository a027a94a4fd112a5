package auth

import "time"

// A Passkey is a public key that a person signs in with (WebAuthn), as it is stored. Whoever keeps it keeps every field, for
// the next sign-in is checked against them; whose it is stands beside it.
type Passkey struct {
	ID         []byte   // names it, everywhere; up to 1,023 bytes
	Name       string   // what its owner calls it
	PublicKey  []byte   // COSE
	Counter    uint32   // what its device counted last; 0: it does not count
	Transports []string // how a browser reaches it: "internal", "usb", …
	Model      []byte   // of the device (AAGUID), 16 bytes; all zero: it does not say
	// Synced says that the key can be copied to its owner's other devices. It never changes; BackedUp says that it was.
	Synced    bool
	BackedUp  bool
	CreatedAt time.Time
	UsedAt    time.Time // zero: never
}

// An OpenID is who somebody is to a provider of OpenID Connect: issuer and subject together, and never the e-mail address, which
// can come to belong to somebody else.
type OpenID struct {
	Issuer  string
	Subject string
	Email   string // as it was when the two were linked, for people to recognise
	// Provider is the name of the provider in the configuration, as it was then.
	Provider  string
	CreatedAt time.Time
	UsedAt    time.Time // zero: never
}
