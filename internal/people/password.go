package people

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// The lengths of a password. There is no other rule: what makes a password hard to guess is its length.
const (
	leastPassword = 12   // letters
	mostPassword  = 1024 // bytes: a longer one is refused before anybody hashes it
)

// CheckPassword says what is wrong with a password to be set.
func CheckPassword(password string) error {
	switch {
	case len(password) > mostPassword:
		return errLongPassword
	case !utf8.ValidString(password) || utf8.RuneCountInString(password) < leastPassword:
		return auth.ErrInvalid.Saying("A password has at least 12 letters: four or five words are easy to remember")
	case different(password) < 5:
		return auth.ErrInvalid.Saying("This password repeats the same few letters: anybody would try it")
	}
	return nil
}

var errLongPassword = auth.ErrInvalid.Saying("A password has at most 1024 bytes")

func different(s string) int {
	seen := make(map[rune]bool)
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// A Cost is that of one hash with argon2id (RFC 9106).
type Cost struct {
	Memory  uint32 // in KiB
	Time    uint32
	Threads uint8
}

// DefaultCost is what OWASP asks for at least: 19 MiB, and some 60 ms of one core.
var DefaultCost = Cost{Memory: 19 * 1024, Time: 2, Threads: 1}

const (
	saltLength = 16
	hashLength = 32
)

// hashPassword returns the PHC string of a password: "$argon2id$v=19$m=19456,t=2,p=1$salt$hash".
func hashPassword(password string, c Cost) string {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	return phc{Cost: c, salt: salt, hash: argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, hashLength)}.String()
}

// A phc is a stored hash.
type phc struct {
	Cost
	salt, hash []byte
}

var encoding = base64.RawStdEncoding.Strict()

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Memory, h.Time, h.Threads,
		encoding.EncodeToString(h.salt), encoding.EncodeToString(h.hash))
}

var errPHC = errors.New("this is no hash of a password as we write them")

// parsePHC reads what [phc.String] writes, in its one spelling, and no cost that would take the machine down.
func parsePHC(s string) (phc, error) {
	var h phc
	parts := strings.Split(s, "$")
	if len(parts) != 6 {
		return h, errPHC
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.Memory, &h.Time, &h.Threads); err != nil {
		return h, errPHC
	}
	var err1, err2 error
	h.salt, err1 = encoding.DecodeString(parts[4])
	h.hash, err2 = encoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || h.String() != s {
		return h, errPHC
	}
	if h.Threads < 1 || h.Time < 1 || h.Time > 16 || h.Memory < 8*uint32(h.Threads) || h.Memory > 256*1024 || len(h.salt) < 8 || len(h.salt) > 64 || len(h.hash) != hashLength {
		return h, errPHC
	}
	return h, nil
}

// matches hashes a password with the salt and the cost of the hash, and compares.
func (h phc) matches(password string) bool {
	got := argon2.IDKey([]byte(password), h.salt, h.Time, h.Memory, h.Threads, hashLength)
	return secret.Equal(got, h.hash)
}

// A lane has few work at once, and few wait: hashing passwords takes memory and time, and must leave some of both.
type lane struct {
	in    chan struct{} // whoever works or waits
	works chan struct{}
}

func newLane(atOnce, waiting int) *lane {
	return &lane{in: make(chan struct{}, atOnce+waiting), works: make(chan struct{}, atOnce)}
}

// do runs work in its turn. If too many wait, or ctx ends before, it is [auth.ErrOverloaded].
func (l *lane) do(ctx context.Context, work func()) error {
	select {
	case l.in <- struct{}{}:
	default:
		return auth.ErrOverloaded.From(errors.New("as many passwords are being hashed, and wait for it, as may"))
	}
	defer func() { <-l.in }()
	select {
	case l.works <- struct{}{}:
	case <-ctx.Done():
		return auth.ErrOverloaded.From(context.Cause(ctx))
	}
	defer func() { <-l.works }()
	work()
	return nil
}

// hash hashes a password that was checked.
func (p *People) hash(ctx context.Context, password string) (hash string, err error) {
	err = p.lane.do(ctx, func() { hash = hashPassword(password, p.config.Cost) })
	return hash, err
}

// compare says whether a password is the one of the hash. Without a hash it does the same work and says no.
func (p *People) compare(ctx context.Context, hash, password string) (same bool, err error) {
	known, dummy := hash != "", p.dummy() // made by whoever comes first, whether somebody or nobody
	if !known {
		hash = dummy
	}
	h, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	err = p.lane.do(ctx, func() { same = h.matches(password) })
	return same && known, err
}

// rehash puts a hash of today's cost in the place of one of another. That it did not come about is tried again next time.
func (p *People) rehash(ctx context.Context, person auth.PersonID, old, password string) {
	h, err := parsePHC(old)
	if err != nil || h.Cost == p.config.Cost {
		return
	}
	if fresh, err := p.hash(ctx, password); err == nil {
		_ = p.store.RehashPassword(ctx, person, old, fresh)
	}
}
