package people

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// DeviceAge is for how long a browser that somebody signed in with is known again.
const DeviceAge = 90 * 24 * time.Hour

// Device is the value of a cookie by which the browser that a person has just signed in with is known again: others' wrong guesses do
// not shut it out. It opens nothing, and says nothing of whose it is.
func (p *People) Device(person auth.Person) string {
	text := strconv.FormatInt(p.now().Unix(), 10) + "." + secret.Mint(auth.IDLength)
	return secret.Sum(p.keys.Derive).HandOut(text, "device", string(person.Kind()), person.Email)
}

// device names the browser of a cookie, if that was given to who signs in by this e-mail address; "": it is not known.
func (p *People) device(kind auth.PersonKind, email, cookie string) string {
	text, ok := secret.Sum(p.keys.Derive).TakeBack(cookie, "device", string(kind), email)
	since, _, _ := strings.Cut(text, ".")
	at, err := strconv.ParseInt(since, 10, 64)
	if !ok || err != nil || p.now().Sub(time.Unix(at, 0)) >= DeviceAge {
		return ""
	}
	return text
}
