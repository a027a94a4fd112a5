package secret

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// A Sum is a keyed digest of some parts, as [MAC.Sum].
type Sum func(parts ...string) [sha256.Size]byte

// proofLength is how much of a digest stands in what is handed out, in bytes: enough that nobody guesses it.
const proofLength = 16

// HandOut makes text to be given away that [Sum.TakeBack] reads back about the same things alone: where somebody is in a list, a
// note for the next page. It can be read by whoever has it, and made by nobody else.
func (s Sum) HandOut(text string, about ...string) string {
	return base64.RawURLEncoding.EncodeToString(append(s.proof(text, about), text...))
}

// TakeBack reads what [Sum.HandOut] made. It is not ok if that was about other things, or in any way not as it was handed out.
func (s Sum) TakeBack(handed string, about ...string) (text string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(handed)
	if err != nil || len(b) < proofLength || strings.ContainsAny(handed, "\r\n") { // Go's decoder skips line breaks
		return "", false
	}
	text = string(b[proofLength:])
	if !Equal(s.proof(text, about), b[:proofLength]) {
		return "", false
	}
	return text, true
}

func (s Sum) proof(text string, about []string) []byte {
	sum := s(append(about[:len(about):len(about)], text)...)
	return sum[:proofLength]
}
