package web

import (
	"crypto/rand"
	"encoding/binary"
)

const (
	idPrefix = "reqid_"
	idLength = 11
	idRange  = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 // 36^11, a little below 2^57
)

// NewRequestID returns "reqid_" and 11 random letters and digits, each as likely as any other.
func NewRequestID() string {
	var random [8]byte
	var n uint64
	for {
		_, _ = rand.Read(random[:]) // never fails: crypto/rand would rather end the process
		n = binary.LittleEndian.Uint64(random[:]) >> (64 - 57)
		if n < idRange { // nine times in ten
			break
		}
	}
	var id [len(idPrefix) + idLength]byte
	copy(id[:], idPrefix)
	for i := len(id) - 1; i >= len(idPrefix); i-- {
		id[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n%36]
		n /= 36
	}
	return string(id[:])
}
