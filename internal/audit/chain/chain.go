// Package chain makes the audit trail prove itself: each row's hash covers the row and the hash before it, and checkpoints
// sign the hash of the last row now and then. It hashes, signs and verifies, and leaves to others where rows and checkpoints
// lie, and when one is made.
//
// The invariants: the hash of a row depends on nothing but what was done, in which order; what a [Verifier] found whole is, up
// to its last checkpoint, what the holder of that checkpoint's key signed.
package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"github.com/gatehouse/gatehouse/internal/backup"
)

// rowDomain is what the hash of a row begins with. Another canonical form would get another number.
const rowDomain = "gatehouse audit row 1"

// Next is the hash of a row that stands at seq and follows one with the hash before; the first follows the zero hash.
func Next(before backup.Hash, seq int64, e backup.Entry) backup.Hash {
	var space [512]byte
	return next(space[:0], before, seq, e)
}

func next(b []byte, before backup.Hash, seq int64, e backup.Entry) backup.Hash {
	b = text(b, rowDomain)
	b = append(b, before[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	return sha256.Sum256(canonical(b, e))
}

// canonical appends the one form that a row has: its fields in this order, each with its name before it and both with their
// lengths, without those that are empty. So a field that a later release adds leaves the hashes of earlier rows as they are.
func canonical(b []byte, e backup.Entry) []byte {
	b = number(b, "number", e.Number)
	b = number(b, "at", e.At.UnixMilli())
	b = number(b, "account", e.Account)
	b = number(b, "secret", e.Secret)
	for _, f := range [...]struct{ name, value string }{
		{"actor", e.Actor},
		{"action", e.Action},
		{"credential", e.Credential},
		{"session", e.Session},
		{"request_id", e.RequestID},
		{"address", e.Address},
		{"detail", e.Detail},
		{"person", e.Person},
		{"about", e.About},
	} {
		if f.value != "" {
			b = text(text(b, f.name), f.value)
		}
	}
	return b
}

func number(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	var digits [20]byte
	d := strconv.AppendInt(digits[:0], n, 10)
	b = text(b, name)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d)))
	return append(b, d...)
}

// text appends s with its length before it.
func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
