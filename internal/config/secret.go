package config

import (
	"crypto/subtle"
	"log/slog"
)

// masked is how a secret prints.
const masked = "***"

// A Secret is a value that never prints: String, GoString, LogValue and MarshalText show that one is set and no more. The
// zero Secret is not set.
type Secret struct {
	value func() string // a closure, because fmt reads through unexported fields
}

// NewSecret returns a secret that holds s. The empty one is not set.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{value: func() string { return s }}
}

// Reveal returns the secret itself, "" if it is not set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return s.value()
}

// Set says whether there is a secret at all.
func (s Secret) Set() bool { return s.value != nil }

// Equal compares in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String is "***", or "" if the secret is not set.
func (s Secret) String() string {
	if !s.Set() {
		return ""
	}
	return masked
}

// GoString is [Secret.String], for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is [Secret.String], for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is [Secret.String], for encoding/json and others.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
