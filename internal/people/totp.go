package people

import (
	"crypto/hmac"
	"crypto/sha1" // RFC 6238 and every authenticator: of HMAC nothing is broken
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// One-time passwords are those of RFC 6238 as every authenticator knows them: HMAC-SHA-1, six digits, thirty seconds.
const (
	totpPeriod = 30 // seconds
	totpDigits = 6
	totpSecret = 20  // bytes: as long as the hash (RFC 4226, section 4)
	totpWindow = 1   // steps that a clock may be off, to either side
	million    = 1e6 // 10 to the digits
)

// totpStep is the number of the thirty seconds that a moment lies in.
func totpStep(at time.Time) int64 { return at.Unix() / totpPeriod }

// totpCode is the code of one step (RFC 4226, section 5.3).
func totpCode(key []byte, step int64) string {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, n%million)
}

// matchTOTP returns the step that a code is of, among those that may count at now and lie after the last one used; 0: of none.
// It takes the same time whichever it is.
func matchTOTP(key []byte, code string, now time.Time, last int64) int64 {
	var matched int64
	for step := totpStep(now) - totpWindow; step <= totpStep(now)+totpWindow; step++ {
		if same := subtle.ConstantTimeCompare([]byte(totpCode(key, step)), []byte(code)); same == 1 && step > last {
			matched = step
		}
	}
	return matched
}

// digits is a code as it was typed, without the spaces that authenticators show; "" if it is none.
func digits(typed string) string {
	code := strings.Join(strings.Fields(typed), "")
	if len(code) != totpDigits || strings.Trim(code, "0123456789") != "" {
		return ""
	}
	return code
}

// A Setup is what an authenticator is told, once: it holds the secret of the codes to come. It prints as nothing.
type Setup struct {
	reveal func() (text, link string)
}

// Reveal returns the secret as one types it, in groups, and the link that an authenticator on this device opens.
func (s Setup) Reveal() (text, link string) { return s.reveal() }

// String is empty of secrets.
func (s Setup) String() string { return "one-time passwords" }

// GoString is [Setup.String], for %#v.
func (s Setup) GoString() string { return s.String() }

// QR is the link as a picture for another device's camera: an SVG element, black on white whatever colours the page has.
func (s Setup) QR() (string, error) {
	_, link := s.reveal()
	code, err := qr.Encode(link, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw the QR code: %w", err) // it does not repeat what was to be drawn
	}
	const margin = 4 // modules, ISO/IEC 18004
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			from := x
			for x < size && isDark(code.At(x, y)) {
				x++
			}
			if x > from {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from+margin, y+margin, x-from, x-from)
			}
		}
	}
	whole := strconv.Itoa(size + 2*margin)
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ` + whole + ` ` + whole + `" shape-rendering="crispEdges" role="img" aria-label="QR code"><path fill="#fff" d="M0 0h` +
		whole + `v` + whole + `H0z"/><path fill="#000" d="` + path.String() + `"/></svg>`, nil
}

func isDark(c interface{ RGBA() (r, g, b, a uint32) }) bool {
	r, _, _, _ := c.RGBA()
	return r < 0x8000
}

// setup is what is to be told of a secret.
func (p *People) setup(of auth.Person, key []byte) Setup {
	return Setup{reveal: func() (string, string) {
		text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key)
		link := url.URL{
			Scheme: "otpauth", Host: "totp", Path: "/" + p.config.Issuer + ":" + of.Email,
			// Not url.Values.Encode: authenticators take "+" for a plus.
			RawQuery: "secret=" + text + "&issuer=" + url.PathEscape(p.config.Issuer) + "&algorithm=SHA1&digits=" + strconv.Itoa(totpDigits) + "&period=" + strconv.Itoa(totpPeriod),
		}
		var groups []string
		for i := 0; i < len(text); i += 4 {
			groups = append(groups, text[i:min(i+4, len(text))])
		}
		return strings.Join(groups, " "), link.String()
	}}
}

// newTOTP is the secret that a session offers. It is kept nowhere: the same session gets the same one until it is set up.
func (p *People) newTOTP(s auth.DashboardSession, before auth.Proofs) []byte {
	sum := p.keys.Derive("totp", string(s.Person), string(s.ID), strconv.FormatInt(before.TOTPAt.UnixMilli(), 10))
	return sum[:totpSecret]
}

// recoveryCodes is how many there are at once.
const recoveryCodes = 10

// recoveryAlphabet has no letters that are taken for one another, and none that needs a shift.
const recoveryAlphabet = "23456789abcdefghjkmnpqrstuvwxyz"

// recoveryLength is that of a code without its dash: 49 bits, and who guesses is stopped long before.
const recoveryLength = 10

// newRecoveryCodes draws codes as they are shown, "abcde-fghjk", and what is kept of them.
func (p *People) newRecoveryCodes(person auth.PersonID) (shown []string, kept []auth.RecoveryCode) {
	pepper := p.keys.Pepper()
	for range recoveryCodes {
		code := mint(recoveryAlphabet, recoveryLength)
		digest := pepper.CodeDigest(person, code)
		shown = append(shown, code[:recoveryLength/2]+"-"+code[recoveryLength/2:])
		kept = append(kept, auth.RecoveryCode{Digest: digest[:], Pepper: pepper.ID})
	}
	return shown, kept
}

// mint draws letters of an alphabet, each with equal chance, out of those that secret draws.
func mint(alphabet string, n int) string {
	var out strings.Builder
	for out.Len() < n {
		for _, c := range secret.Mint(n) {
			if at := strings.IndexRune(auth.Alphabet, c); at < len(auth.Alphabet)/len(alphabet)*len(alphabet) && out.Len() < n {
				out.WriteByte(alphabet[at%len(alphabet)])
			}
		}
	}
	return out.String()
}

// asRecoveryCode is a code as it was typed, without dashes and spaces; "" if it is none.
func asRecoveryCode(typed string) string {
	code := strings.ToLower(strings.Join(strings.FieldsFunc(typed, func(r rune) bool { return r == '-' || r == ' ' }), ""))
	if len(code) != recoveryLength || strings.Trim(code, recoveryAlphabet) != "" {
		return ""
	}
	return code
}

// matchRecovery returns the digest of the unused code that this is, nil if it is none.
func (p *People) matchRecovery(person auth.PersonID, code string, codes []auth.RecoveryCode) []byte {
	var matched []byte
	for _, c := range codes {
		pepper, ok := p.keys.PepperOf(c.Pepper)
		if !ok {
			continue
		}
		if digest := pepper.CodeDigest(person, code); secret.Equal(digest[:], c.Digest) && c.UsedAt.IsZero() {
			matched = c.Digest
		}
	}
	return matched
}
