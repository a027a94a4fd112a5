// Package ceremony makes challenges: what we give one browser so that an answer can be told to be to a question of ours, from
// that browser, for that purpose, lately, and for the first time. Passkeys sign a challenge, providers of OpenID Connect bring
// one back as the state. It leaves to passkey and signon what the answer says.
//
// The invariants: a challenge carries its own proof, so that a question which nobody answers leaves nothing behind on any server;
// it counts once on all of them; it has one spelling; nothing of what it is bound to can be read from it.
package ceremony

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Life is how long a challenge may be answered: whoever has to find his telephone first needs minutes.
const Life = 10 * time.Minute

// Once remembers what counts once, wherever it is presented, until the time given.
type Once interface {
	First(ctx context.Context, name string, until time.Time) (bool, error)
}

// Config is what [Ceremonies] are made of.
type Config struct {
	// MAC is a keyed digest of some parts, the same on every server.
	MAC  func(parts ...string) [sha256.Size]byte
	Once Once
	Now  func() time.Time // nil means time.Now
}

// Ceremonies make and take back challenges. They are safe for concurrent use.
type Ceremonies struct {
	config Config
}

// New returns Ceremonies.
func New(c Config) (*Ceremonies, error) {
	if c.MAC == nil || c.Once == nil {
		return nil, errors.New("ceremony: a keyed digest and a memory are both needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Ceremonies{config: c}, nil
}

// A Question is what a challenge is for. One that was made for a question is good for no other.
type Question struct {
	Purpose string // "passkey sign-in", …
	// Browser is what this browser alone can send, and no script reads: the value of its cookie. Never "".
	Browser string
	About   []string // whatever else must be the same when the answer comes: whose passkey it is to become
}

// The refusals of a challenge.
var (
	// ErrForeign is a challenge that was not made for this browser and purpose, or not by us.
	ErrForeign = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonTokenForeign, Msg: "This was not begun in this browser. Please begin again."}
	// ErrOver is one that came too late, or has counted already.
	ErrOver = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonTokenExpired, Msg: "This took too long, or was used before. Please begin again."}
)

const (
	headLength = 16 + 8 // chance, and when it ends in milliseconds
	length     = headLength + sha256.Size
)

// Begin returns a new challenge: 75 letters of base64url.
func (c *Ceremonies) Begin(q Question) string {
	b := make([]byte, headLength, length)
	_, _ = rand.Read(b[:16])
	binary.BigEndian.PutUint64(b[16:], uint64(c.config.Now().Add(Life).UnixMilli()))
	mac := c.mac(q, b)
	return base64.RawURLEncoding.EncodeToString(append(b, mac[:]...))
}

// mac binds the head of a challenge to its question. Each part has its length before it, so About cannot run into another.
func (c *Ceremonies) mac(q Question, head []byte) [sha256.Size]byte {
	browser := sha256.Sum256([]byte(q.Browser))
	return c.config.MAC(append([]string{"challenge", q.Purpose, string(browser[:]), string(head)}, q.About...)...)
}

// End spends a challenge that was made for q. It is [ErrForeign] or [ErrOver]; [auth.ErrOverloaded] where nobody can say whether
// it counted before.
func (c *Ceremonies) End(ctx context.Context, q Question, challenge string) error {
	b, err := decode(challenge)
	if err != nil || q.Browser == "" {
		return ErrForeign
	}
	if mac := c.mac(q, b[:headLength]); !hmac.Equal(mac[:], b[headLength:]) {
		return ErrForeign
	}
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(b[16:])))
	if !c.config.Now().Before(until) {
		return ErrOver
	}
	first, err := c.config.Once.First(ctx, "challenge "+challenge, until)
	switch {
	case err != nil:
		return auth.ErrOverloaded.From(err)
	case !first:
		return ErrOver
	}
	return nil
}

// Derived is a secret that belongs to a challenge, 43 letters of base64url: nobody who only sees the challenge can know it.
func (c *Ceremonies) Derived(challenge, what string) string {
	sum := c.config.MAC("derived", challenge, what)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// decode reads a challenge in its one spelling.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != length || strings.ContainsAny(s, "\r\n") {
		return nil, ErrForeign
	}
	return b, nil
}
