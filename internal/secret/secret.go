// Package secret makes secrets, digests the ones that are only compared, and seals the ones that must be read back. What is handed
// out to come back, and may be read by everybody, it makes so that it is known again, and how long it took to find a secret wrong it
// hides. It leaves to others where secrets are kept and what they open.
//
// The invariants: what it returns for storage gives nothing away without a key that lies elsewhere, and its key types print
// their id alone; what was handed out comes back as it was, or not at all.
package secret

import (
	"crypto/rand"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Mint draws n letters of [auth.Alphabet] from crypto/rand, each with equal chance.
func Mint(n int) string {
	out := make([]byte, 0, n)
	var random [64]byte
	for len(out) < n {
		batch := random[:min(len(random), n-len(out)+n/8+2)]
		rand.Read(batch) // never fails: the program ends if the system has no randomness
		for _, b := range batch {
			// 248 is the largest multiple of 62 in a byte: what lies above would favour some letters.
			if b < 248 && len(out) < n {
				out = append(out, auth.Alphabet[b%62])
			}
		}
	}
	return string(out)
}

// idLength of jtis and the like: 22 of 62 letters, 130 bits.
const idLength = 22

const (
	timeLength   = 8  // of 62 letters: milliseconds, for 6,900 years
	randomLength = 16 // 95 bits, anew in every millisecond
)

// NewSecret draws the secret of a credential.
func NewSecret() string { return Mint(auth.SecretLength) }

// NewCredentialID draws the id of a credential. It is no secret.
func NewCredentialID() auth.CredentialID { return auth.CredentialID(Mint(auth.IDLength)) }

// NewSessionID draws a sid. It begins with the time, which the token tells anyway, so that sessions lie in the database in the
// order of their logins: those that are written together lie together, and one commit writes few pages. It is no secret.
func NewSessionID(now time.Time) auth.SessionID { return sessionID(now, Mint(randomLength)) }

func sessionID(now time.Time, random string) auth.SessionID {
	var id [timeLength]byte
	for ms, i := uint64(now.UnixMilli()), timeLength-1; i >= 0; i-- {
		id[i] = auth.Alphabet[ms%62]
		ms /= 62
	}
	return auth.SessionID(string(id[:]) + random)
}

// NewIDs draws the sid and the jti of an exchange at once.
func NewIDs(now time.Time) (auth.SessionID, string) {
	random := Mint(randomLength + idLength)
	return sessionID(now, random[:randomLength]), random[randomLength:]
}

// NewTokenID draws a jti.
func NewTokenID() string { return Mint(idLength) }

// NewKeyID draws the id of a working key.
func NewKeyID() auth.KeyID { return auth.KeyID(Mint(auth.IDLength)) }

// NewPersonID draws the id of a person.
func NewPersonID() auth.PersonID { return auth.PersonID(auth.PersonPrefix + Mint(auth.IDLength)) }

// NewDashboardSessionID draws the name of a session of a dashboard. It opens nothing.
func NewDashboardSessionID() auth.DashboardSessionID {
	return auth.DashboardSessionID("ds_" + Mint(auth.IDLength))
}

// NewOperatorTokenID draws the id of a token of the admin API.
func NewOperatorTokenID() auth.OperatorTokenID {
	return auth.OperatorTokenID(auth.TokenIDPrefix + Mint(auth.IDLength))
}
