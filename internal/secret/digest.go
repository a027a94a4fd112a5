package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A MAC is a keyed digest with one working key: a pepper, or the key that things are derived with.
type MAC struct {
	ID   auth.KeyID
	pool *sync.Pool // of hash.Hash already keyed; a closure's worth of secrecy: fmt prints a pointer
}

// NewMAC returns the keyed digest of key.
func NewMAC(id auth.KeyID, key []byte) *MAC {
	return &MAC{ID: id, pool: &sync.Pool{New: func() any { return &keyed{hash: hmac.New(sha256.New, key)} }}}
}

type keyed struct {
	hash hash.Hash
	buf  []byte
}

// String is the key's id.
func (m *MAC) String() string { return string(m.ID) }

// Sum returns the HMAC-SHA-256 of the parts, each with its length before it: no two lists of parts have the same input.
func (m *MAC) Sum(parts ...string) [sha256.Size]byte {
	k := m.pool.Get().(*keyed)
	defer m.pool.Put(k)
	k.buf = k.buf[:0]
	for _, p := range parts {
		k.buf = binary.BigEndian.AppendUint64(k.buf, uint64(len(p)))
		k.buf = append(k.buf, p...)
	}
	k.hash.Reset()
	k.hash.Write(k.buf)
	clear(k.buf)
	return [sha256.Size]byte(k.hash.Sum(k.buf[:0]))
}

// Digest is what is stored of a credential's secret.
func (m *MAC) Digest(kind auth.Kind, id auth.CredentialID, secret string) [sha256.Size]byte {
	return m.Sum("secret", string(kind), string(id), secret)
}

// TokenDigest is what is stored of an operator token's secret.
func (m *MAC) TokenDigest(id auth.OperatorTokenID, secret string) [sha256.Size]byte {
	return m.Sum("operator token", string(id), secret)
}

// CodeDigest is what is stored of a person's recovery code.
func (m *MAC) CodeDigest(person auth.PersonID, code string) [sha256.Size]byte {
	return m.Sum("recovery code", string(person), code)
}

// Equal compares digests in constant time.
func Equal(a, b []byte) bool { return hmac.Equal(a, b) }
