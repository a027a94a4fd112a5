package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
)

// What arguments and flags are read as. An error goes back to whoever typed it, so it says what could stand there.

// An accountID names an account: by its number, or as ref:C-4711 by the operator's reference.
type accountID string

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *accountID) UnmarshalText(text []byte) error {
	s := string(text)
	if ref, ok := strings.CutPrefix(s, "ref:"); !ok || ref == "" {
		if n, err := strconv.ParseInt(s, 10, 64); err != nil || n <= 0 || strconv.FormatInt(n, 10) != s {
			return errors.New("an account is named by its number, as 100001, or by your reference, as ref:C-4711")
		}
	}
	*id = accountID(s)
	return nil
}

// A piped stands for standard input, where a secret belongs.
type piped struct{}

// UnmarshalText implements encoding.TextUnmarshaler. The error does not repeat what it was given.
func (piped) UnmarshalText(text []byte) error {
	if string(text) != "-" {
		return errors.New("write - here and give it on standard input: everybody on the machine can read the arguments of a command")
	}
	return nil
}

// A prefix is an address or a CIDR.
type prefix struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *prefix) UnmarshalText(text []byte) (err error) {
	p.Prefix, err = auth.ParsePrefix(string(text))
	return err
}

// An address is one address; the zero one is none.
type address struct{ netip.Addr }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *address) UnmarshalText(text []byte) error {
	p, err := auth.ParsePrefix(string(text))
	if err != nil || !p.IsSingleIP() {
		return errors.New("is not an IP address, as 203.0.113.7 or 2001:db8::7")
	}
	a.Addr = p.Addr()
	return nil
}

// A rate is so many requests in a time.
type rate struct{ auth.Rate }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *rate) UnmarshalText(text []byte) (err error) {
	r.Rate, err = auth.ParseRate(string(text))
	return err
}

// A moment is a point in time as people say it: 30d from now or ago, on 2027-01-31, at 2027-01-31T10:00:00Z, now, never.
type moment struct {
	given bool
	never bool
	from  time.Duration // from now, or before it
	date  time.Time     // unless it is zero
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	*m = moment{given: true}
	switch s {
	case "never":
		m.never = true
		return nil
	case "now":
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			m.date = at.UTC()
			return nil
		}
	}
	var err error
	if m.from, err = config.ParseDuration(s); err != nil {
		return errors.New("is no time: write a duration, as 90s, 24h or 30d, or a date in UTC, as 2027-01-31 or 2027-01-31T10:00:00Z")
	}
	return nil
}

// after is the moment at or after now that was meant; the zero time if it is never, or nothing was said.
func (m moment) after(now time.Time) time.Time {
	switch {
	case !m.given || m.never:
		return time.Time{}
	case !m.date.IsZero():
		return m.date
	}
	return now.Add(m.from)
}

// before is the moment at or before now that was meant; the zero time, which is the beginning of everything, if nothing was
// said.
func (m moment) before(now time.Time) time.Time {
	switch {
	case !m.given || m.never:
		return time.Time{}
	case !m.date.IsZero():
		return m.date
	}
	return now.Add(-m.from)
}

// notNever refuses never where it makes no sense.
func (m moment) notNever(flag string) error {
	if m.never {
		return usage("--%s never: write a duration or a date", flag)
	}
	return nil
}

// count says how many there are of something.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
