package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var durationUnits = []struct {
	name string
	is   time.Duration
}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

var (
	errBadDuration = errors.New("is not a duration: write 90s, 15m, 24h or 30d")
	errNoUnit      = errors.New("has no unit: write 90s, 15m, 24h or 30d")
)

// ParseDuration reads a duration as the configuration and the commands write it: whole numbers, each with one of the units
// d, h, m, s, ms, the larger before the smaller ("24h", "30d", "1h30m"); or "0". There are no signs and no fractions. The
// error goes on from the quoted text.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		return 0, errNoUnit
	}
	var sum time.Duration
	units := durationUnits
	for rest := s; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, errBadDuration
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "dhms"))
		i := 0
		for i < len(units) && units[i].name != rest[:letters] {
			i++
		}
		if i == len(units) || n > int64(math.MaxInt64-sum)/int64(units[i].is) {
			return 0, errBadDuration
		}
		sum += time.Duration(n) * units[i].is
		units = units[i+1:]
		if rest = rest[letters:]; rest == "" {
			return sum, nil
		}
	}
}

// FormatDuration writes a duration as [ParseDuration] reads it, in one unit, hours at most; what is no whole number of
// milliseconds is rounded down to one.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	in := func(unit time.Duration, name string) string { return strconv.FormatInt(int64(d/unit), 10) + name }
	switch {
	case d%time.Hour == 0:
		return in(time.Hour, "h")
	case d%time.Minute == 0 && d > time.Minute: // a minute is 60s, as timeouts are written
		return in(time.Minute, "m")
	case d%time.Second == 0:
		return in(time.Second, "s")
	}
	return in(time.Millisecond, "ms")
}

// parseUntil reads when something ends: a day, at whose end in UTC it does, or a time of RFC 3339; "" is never.
func parseUntil(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, 1), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, errors.New("is neither a day nor a time: write 2027-01-31 or 2027-01-31T18:00:00Z")
	}
	return t.UTC(), nil
}
