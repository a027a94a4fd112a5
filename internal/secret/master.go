package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A MasterKey only seals: the working keys lie in the database under it. It prints as its id.
type MasterKey struct {
	ID   string // tells keys apart without telling anything of them
	aead func() cipher.AEAD
}

// masterKeySize is in bytes, for AES-256.
const masterKeySize = 32

// GenerateMasterKey draws a new key, in the form that [ParseMasterKey], the variable and the file take: base64url, 43
// letters.
func GenerateMasterKey() string {
	key := make([]byte, masterKeySize)
	rand.Read(key)
	return base64.RawURLEncoding.EncodeToString(key)
}

// ParseMasterKey reads a key; a line break behind it is taken off. The error does not repeat s.
func ParseMasterKey(s string) (*MasterKey, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
	key, err := base64.RawURLEncoding.Strict().DecodeString(line)
	if err != nil || len(key) != masterKeySize || strings.ContainsAny(line, "\r\n") { // Go's decoder skips line breaks
		return nil, errors.New("a master key is 32 bytes in base64url, 43 letters on one line: gatehouse master-key generate prints one")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("gatehouse master key id\x00"), key...))
	return &MasterKey{ID: "mk_" + hex.EncodeToString(sum[:6]), aead: func() cipher.AEAD { return aead }}, nil
}

// String is the key's id.
func (k *MasterKey) String() string { return k.ID }

// A Label says what a sealed text is and where it lies. A text opens only under the label it was sealed under: one that was
// moved to another row, table or purpose does not open.
type Label struct{ Table, Row, Purpose, Algorithm string }

func (l Label) bytes() []byte {
	var b []byte
	for _, part := range []string{l.Table, l.Row, l.Purpose, l.Algorithm} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// Seal encrypts and authenticates plain under the label (AES-256-GCM, random nonce).
func (k *MasterKey) Seal(label Label, plain []byte) []byte {
	return k.aead().Seal(nil, nil, plain, label.bytes())
}

// Open is the reverse of [MasterKey.Seal]. Any change of text, label or key is an error.
func (k *MasterKey) Open(label Label, sealed []byte) ([]byte, error) {
	plain, err := k.aead().Open(nil, nil, sealed, label.bytes())
	if err != nil {
		return nil, fmt.Errorf("open %s %s with master key %s: %w", label.Table, label.Row, k.ID, err)
	}
	return plain, nil
}

// Masters are the master keys at hand: the one that seals, and while it is being replaced the one before.
type Masters struct {
	Current  *MasterKey
	Previous *MasterKey // nil: none
}

// Named is the key called id, nil if it is not at hand.
func (m Masters) Named(id string) *MasterKey {
	for _, k := range []*MasterKey{m.Current, m.Previous} {
		if k != nil && k.ID == id {
			return k
		}
	}
	return nil
}

// Open opens what the key called id sealed.
func (m Masters) Open(id string, label Label, sealed []byte) ([]byte, error) {
	if k := m.Named(id); k != nil {
		return k.Open(label, sealed)
	}
	return nil, fmt.Errorf("%s %s is sealed under master key %s, which is not at hand", label.Table, label.Row, id)
}

// Labelled is the label of the place where s lies.
func Labelled(s auth.Sealed) Label {
	return Label{Table: s.Table, Row: s.Row, Purpose: s.Purpose, Algorithm: s.Algorithm}
}

// Seal seals a text for the place that s names, under the current master key.
func (m Masters) Seal(s auth.Sealed, plain []byte) auth.Sealed {
	s.MasterKey, s.Text = m.Current.ID, m.Current.Seal(Labelled(s), plain)
	return s
}

// OpenSealed opens what lies in a row.
func (m Masters) OpenSealed(s auth.Sealed) ([]byte, error) {
	return m.Open(s.MasterKey, Labelled(s), s.Text)
}

// Reseal seals what lies in a row under the current master key. It is for the change of the master key.
func (m Masters) Reseal(s auth.Sealed) ([]byte, error) {
	plain, err := m.OpenSealed(s)
	if err != nil {
		return nil, err
	}
	return m.Seal(s, plain).Text, nil
}

var checkLabel = Label{Table: "meta", Row: "1", Purpose: "check", Algorithm: "none"}

// Check is a sealed value to keep in the database, by which a later start sees whether it has the right key.
func (k *MasterKey) Check() []byte { return k.Seal(checkLabel, []byte("gatehouse")) }

// Fits says, by the database's check value and the id of the key that made it, whether one of the keys at hand is the one.
func (m Masters) Fits(id string, check []byte) error {
	if _, err := m.Open(id, checkLabel, check); err != nil {
		have := "none"
		if m.Current != nil {
			have = m.Current.ID
		}
		return fmt.Errorf("this database is sealed under master key %s; the one given is %s: give it that key (GATEHOUSE_MASTER_KEY, GATEHOUSE_MASTER_KEY_FILE or master_key_file), without which the working keys in it cannot be read", id, have)
	}
	return nil
}
