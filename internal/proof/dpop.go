package proof

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// proofLife is how long after it was made a proof is taken, besides the leeway that clocks are given.
const proofLife = time.Minute

// ProofsConfig says where requests come to.
type ProofsConfig struct {
	PublicURL string           // how clients reach us: scheme, host and port of every request, whatever it says itself
	Now       func() time.Time // nil means time.Now
}

// Proofs read the proofs of DPoP (RFC 9449), by which the sender of a request shows that he holds a key. They are safe for
// concurrent use.
type Proofs struct {
	scheme, host, port string
	now                func() time.Time
}

// NewProofs returns Proofs.
func NewProofs(c ProofsConfig) (*Proofs, error) {
	base, err := url.Parse(c.PublicURL)
	if err != nil || base.Host == "" {
		return nil, errors.New("proof: without a public URL a proof for anywhere would do")
	}
	p := &Proofs{scheme: strings.ToLower(base.Scheme), host: strings.ToLower(base.Hostname()), port: port(base), now: c.Now}
	if p.now == nil {
		p.now = time.Now
	}
	return p, nil
}

// A Request is what a proof must be about.
type Request struct {
	Method string
	Host   string // without a port, as it is configured for the route; "": that of the public URL
	Path   string // canonical, escaped
	Token  string // the access token that comes along; "": none
}

// Read checks the values of the header DPoP (RFC 9449, section 4.3), but for two things: that the proof comes for the first
// time, and that the token is bound to its key. The error is [auth.ErrBadProof].
func (p *Proofs) Read(values []string, about Request) (auth.Possession, error) {
	bad := func(reason auth.Reason) (auth.Possession, error) {
		return auth.Possession{}, auth.ErrBadProof.Because(reason)
	}
	switch len(values) {
	case 0:
		return bad(auth.ReasonNoCredential)
	case 1:
	default:
		return bad(auth.ReasonMalformed)
	}
	s, err := parse(values[0])
	if err != nil || !s.is("dpop+jwt") || s.header.JSONWebKey == nil {
		return bad(auth.ReasonMalformed)
	}
	key := *s.header.JSONWebKey
	// What else the key says of itself nobody vouches for.
	key.Algorithm, key.Use, key.KeyID = "", "", ""
	if wrongWith(key) != "" || !fits(key, jose.SignatureAlgorithm(s.header.Algorithm)) {
		return bad(auth.ReasonMalformed)
	}
	var c struct {
		ID       string   `json:"jti"`
		Method   string   `json:"htm"`
		URL      string   `json:"htu"`
		IssuedAt *float64 `json:"iat"`
		Token    string   `json:"ath"`
	}
	if s.claims(&c) != nil || c.ID == "" || c.IssuedAt == nil {
		return bad(auth.ReasonMalformed)
	}
	now := float64(p.now().UnixMilli()) / 1000
	switch {
	case c.Method != about.Method || !p.reaches(c.URL, about):
		return bad(auth.ReasonTokenForeign)
	case about.Token != "" && c.Token != hashed(about.Token):
		return bad(auth.ReasonTokenForeign)
	case *c.IssuedAt > now+leeway.Seconds():
		return bad(auth.ReasonTokenNotYetValid)
	case *c.IssuedAt <= now-(proofLife+leeway).Seconds():
		return bad(auth.ReasonTokenExpired)
	case !s.by(key.Key):
		return bad(auth.ReasonSignature)
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return bad(auth.ReasonMalformed)
	}
	return auth.Possession{
		Key:  base64.RawURLEncoding.EncodeToString(thumbprint),
		Name: c.ID, Until: time.UnixMilli(int64(*c.IssuedAt*1000) + 1).Add(proofLife + leeway),
	}, nil
}

// hashed is ath: what a proof says of the token that it comes with.
func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// reaches says whether htu is the URL of the request, its query and fragment left out of account. Scheme, host and port are
// compared with the configuration and not with what the request says of itself.
func (p *Proofs) reaches(htu string, about Request) bool {
	u, err := url.Parse(htu)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	host := about.Host
	if host == "" {
		host = p.host
	}
	return strings.EqualFold(u.Scheme, p.scheme) && strings.EqualFold(u.Hostname(), host) && port(u) == p.port && samePath(u, about.Path)
}

// port is the port of a URL, that of its scheme where it names none.
func port(u *url.URL) string {
	switch named := u.Port(); {
	case named != "":
		return named
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	}
	return "80"
}

// samePath says whether a URL has this path, in another spelling perhaps; an escaped slash is no slash.
func samePath(u *url.URL, path string) bool {
	escaped := u.EscapedPath()
	if escaped == "" {
		escaped = "/"
	}
	if escaped == path {
		return true
	}
	plain, err := url.PathUnescape(path)
	return err == nil && u.Path == plain && strings.Count(escaped, "/") == strings.Count(plain, "/")
}
