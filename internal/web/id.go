package web

import "math/rand/v2"

const (
	idPrefix = "reqid_"
	idLength = 11
	idRange  = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 // 36^11
)

// NewRequestID returns "reqid_" and 11 random letters and digits, each as likely as any other. It is a name, not a secret.
func NewRequestID() string {
	n := rand.Uint64N(idRange)
	var id [len(idPrefix) + idLength]byte
	copy(id[:], idPrefix)
	for i := len(id) - 1; i >= len(idPrefix); i-- {
		id[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n%36]
		n /= 36
	}
	return string(id[:])
}
