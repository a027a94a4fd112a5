package admin

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// seal makes a cursor out of a place in the list that the call asks for. It is good for the same actor and the same question
// alone.
func (c *call) seal(place string) string { return c.c.Digest.HandOut(place, c.asked()...) }

// unseal reads what seal made for the same list.
func (c *call) unseal(sealed string) (place string, ok bool) {
	return c.c.Digest.TakeBack(sealed, c.asked()...)
}

// asked is which list the call asks for, and who asks.
func (c *call) asked() []string {
	question := c.URL.Query()
	question.Del("after")
	question.Del("limit")
	return []string{"admin", "cursor", c.Path, question.Encode(), c.actor.Name, string(c.actor.Token)}
}

// A query is what stands behind the question mark.
type query struct {
	values url.Values
	err    error
}

// query reads the parameters of a list. One that is not known, or stands there twice, is refused: a list that was not asked for
// is easily taken for the one that was.
func (c *call) query(known ...string) *query {
	q := &query{}
	if q.values, q.err = url.ParseQuery(c.RawQuery); q.err != nil {
		q.err = auth.ErrInvalid.Saying("the query cannot be read")
		return q
	}
	allowed := " " + strings.Join(known, " ") + " "
	for name, values := range q.values {
		switch {
		case !strings.Contains(allowed, " "+name+" ") || name == "":
			q.err = auth.ErrInvalid.Saying("the query has a parameter that is not known here: " + strconv.QuoteToASCII(name[:min(len(name), 64)]))
		case len(values) > 1:
			q.err = auth.ErrInvalid.Saying(name + " stands in the query twice")
		case strings.ContainsRune(values[0], 0):
			q.err = auth.ErrInvalid.Saying(name + " holds a NUL")
		}
	}
	return q
}

func (q *query) get(name string) string { return q.values.Get(name) }

// flag is a parameter that is true or false, which it is where it is left out.
func (q *query) flag(name string) bool {
	switch q.get(name) {
	case "", "false":
	case "true":
		return true
	default:
		q.wrong(name + " is true or false")
	}
	return false
}

func (q *query) wrong(what string) {
	if q.err == nil {
		q.err = auth.ErrInvalid.Saying(what)
	}
}

// number is a parameter that is a whole number, 0 where it is left out.
func (q *query) number(name string) int64 {
	text := q.get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != text {
		q.wrong(name + " is a whole number above 0")
		return 0
	}
	return n
}

// moment is a parameter that is a time, zero where it is left out.
func (q *query) moment(name string) time.Time {
	text := q.get(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.wrong(name + " is a time, as 2027-01-31T10:00:00Z")
	}
	return at.UTC()
}

// address is a parameter that is an IP address, none where it is left out.
func (q *query) address(name string) netip.Addr {
	text := q.get(name)
	if text == "" {
		return netip.Addr{}
	}
	p, err := auth.ParsePrefix(text)
	if err != nil || !p.IsSingleIP() {
		q.wrong(name + " is an IP address, as 203.0.113.7 or 2001:db8::7")
	}
	return p.Addr()
}

// part is which part of the list is asked for.
func (c *call) part(q *query) api.Range {
	part := api.Range{Limit: int(min(q.number("limit"), 1<<31-1))}
	if sealed := q.get("after"); sealed != "" {
		place, ok := c.unseal(sealed)
		if !ok && q.err == nil {
			q.err = errCursor
		}
		part.After = place
	}
	return part
}

// listed answers with a part of a list.
func listed[T any](c *call, p api.Page[T], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	if p.Next != "" {
		p.Next = c.seal(p.Next)
	}
	return answer{value: p}, nil
}
