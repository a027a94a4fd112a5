package dashboard

import (
	"encoding/base64"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// macLength is how much of a digest stands in a cursor, in bytes: enough that nobody guesses it.
const macLength = 16

// seal makes text that [Dashboard.unseal] reads back for the same purpose alone. It can be read by whoever has it.
func (d *Dashboard) seal(purpose, text string) string {
	sum := d.Digest("dashboard", d.Side.String(), purpose, text)
	return base64.RawURLEncoding.EncodeToString(append(sum[:macLength], text...))
}

// unseal reads what [Dashboard.seal] made; it is not ok if that was not for this purpose, or somebody changed it.
func (d *Dashboard) unseal(purpose, sealed string) (text string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(b) < macLength {
		return "", false
	}
	text = string(b[macLength:])
	sum := d.Digest("dashboard", d.Side.String(), purpose, text)
	return text, secret.Equal(sum[:macLength], b[:macLength])
}

// perPage is how many rows a list shows.
const perPage = 50

// after is where a list goes on, as its address says: "" at its beginning. A cursor is of one list of one account.
func (v *visit) after(list string) (string, error) {
	sealed := v.query("after")
	if sealed == "" {
		return "", nil
	}
	text, ok := v.d.unseal(v.listed(list), sealed)
	if !ok {
		return "", auth.ErrInvalid.Saying("This address does not lead on in the list. Start at its beginning.")
	}
	return text, nil
}

// next is the address that leads on after the row that position names, with the same search.
func (v *visit) next(list, position string) string {
	q := v.r.URL.Query()
	q.Set("after", v.d.seal(v.listed(list), position))
	return v.r.URL.Path + "?" + q.Encode()
}

func (v *visit) listed(list string) string {
	return strings.Join([]string{"cursor", list, v.account().String(), string(v.actor.Person)}, " ")
}
