package dashboard

import (
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// seal makes text that [Dashboard.unseal] reads back on the same side and for the same purpose alone. It can be read by whoever
// has it.
func (d *Dashboard) seal(purpose, text string) string {
	return d.Digest.HandOut(text, "dashboard", d.Side.String(), purpose)
}

// unseal reads what [Dashboard.seal] made; it is not ok if that was not for this purpose, or somebody changed it.
func (d *Dashboard) unseal(purpose, sealed string) (text string, ok bool) {
	return d.Digest.TakeBack(sealed, "dashboard", d.Side.String(), purpose)
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

// A list is one page of rows, and the ways on.
type list[T any] struct {
	Rows        []T
	First, Next string // addresses; Next is "" on the last page
	Later       bool   // it is not the first page
}

// paged makes a page of what was found, which is one row more than is shown if there is another page. place names a row.
func paged[T any](v *visit, name string, found []T, place func(*T) string) list[T] {
	l := list[T]{Rows: found, First: v.address("after", ""), Later: v.query("after") != ""}
	if len(found) > perPage {
		l.Rows = found[:perPage]
		l.Next = v.address("after", v.d.seal(v.listed(name), place(&l.Rows[perPage-1])))
	}
	return l
}

// address is that of the page with one parameter changed; "" takes it away.
func (v *visit) address(name, value string) string {
	q := v.r.URL.Query()
	if q.Del(name); value != "" {
		q.Set(name, value)
	}
	if len(q) == 0 {
		return v.At()
	}
	return v.At() + "?" + q.Encode()
}

func (v *visit) listed(name string) string {
	return strings.Join([]string{"cursor", name, v.account().String(), string(v.actor.Person)}, " ")
}
