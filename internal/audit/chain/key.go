package chain

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/gatehouse/gatehouse/internal/backup"
)

// checkpointDomain is what a checkpoint's signature begins with.
const checkpointDomain = "gatehouse audit checkpoint 1"

// A Key signs checkpoints (Ed25519). It prints as its id alone.
type Key struct {
	ID      string
	public  ed25519.PublicKey
	private func() ed25519.PrivateKey // a closure, because fmt reads through unexported fields
}

// NewKey makes the key of a seed of 32 random bytes.
func NewKey(id string, seed []byte) (*Key, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the key %s of the audit trail has %d bytes", id, len(seed))
	}
	private := ed25519.NewKeyFromSeed(seed)
	return &Key{ID: id, public: private.Public().(ed25519.PublicKey), private: func() ed25519.PrivateKey { return private }}, nil
}

// String is the key's id.
func (k *Key) String() string { return k.ID }

// Fingerprint is that of its public half.
func (k *Key) Fingerprint() string { return Fingerprint(k.public) }

// Sign returns c with the key's id, its public half and its signature.
func (k *Key) Sign(c backup.Checkpoint) backup.Checkpoint {
	c.Key, c.Public = k.ID, bytes.Clone(k.public)
	c.Signature = ed25519.Sign(k.private(), signed(c))
	return c
}

// signed is what is signed of a checkpoint: everything but the signature.
func signed(c backup.Checkpoint) []byte {
	b := text(nil, checkpointDomain)
	for _, n := range [...]int64{c.Number, c.Seq, c.Cut.Seq, c.At.UnixMilli()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, c.Hash[:]...)
	b = append(b, c.Cut.Hash[:]...)
	b = text(b, c.Key)
	return text(b, string(c.Public))
}

// genuine says whether a checkpoint was signed by the key that it names.
func genuine(c backup.Checkpoint) bool {
	return len(c.Public) == ed25519.PublicKeySize && len(c.Signature) == ed25519.SignatureSize &&
		ed25519.Verify(c.Public, signed(c), c.Signature)
}

// Fingerprint names a public key: "SHA256:" and the base64 of its hash, as ssh-keygen writes them.
func Fingerprint(public []byte) string {
	sum := sha256.Sum256(public)
	return fingerprintPrefix + base64.RawStdEncoding.EncodeToString(sum[:])
}

const fingerprintPrefix = "SHA256:"

// ParseFingerprint reads what [Fingerprint] writes; "SHA256:" may be missing.
func ParseFingerprint(s string) (string, error) {
	plain := strings.TrimPrefix(s, fingerprintPrefix)
	if b, err := base64.RawStdEncoding.Strict().DecodeString(plain); err != nil || len(b) != sha256.Size || strings.ContainsAny(plain, "\r\n") {
		return "", fmt.Errorf("a fingerprint is SHA256: and 43 letters, as gatehouse audit verify prints it")
	}
	return fingerprintPrefix + plain, nil
}
