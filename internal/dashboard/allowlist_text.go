package dashboard

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// An allowlist is written with an entry a line, so that the whole of it is one field of a form, of any length, and can be pasted:
//
//	203.0.113.0/24 until 2027-01-31 # Office in Berlin
//
// The end and the note can be left out. A day ends with its last moment, UTC; a time is written as 2027-01-31T17:00:00Z.

// A wrongLine is a line that is no entry.
type wrongLine struct {
	Number int
	Says   string
}

// mostNote is the longest note, as the registry takes it.
const mostNote = 200

// parseAllowlist reads a list as [formatAllowlist] writes it. Entries that are on the list already keep when they were made, and
// one that has expired may stay as it is. What is wrong is said line by line.
func parseAllowlist(text string, known []auth.AllowEntry, now time.Time) (entries []auth.AllowEntry, wrong []wrongLine) {
	lineOf := make(map[netip.Prefix]int)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		e, says := parseEntry(line)
		if says == "" {
			e.CreatedAt = now
			if i := slices.IndexFunc(known, func(k auth.AllowEntry) bool { return k.Prefix == e.Prefix }); i >= 0 {
				e.CreatedAt = known[i].CreatedAt
				if known[i].ExpiresAt.Equal(e.ExpiresAt) {
					e.ExpiresAt = known[i].ExpiresAt // expired or not, nobody touched it
				} else if !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now) {
					says = expired
				}
			} else if !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now) {
				says = expired
			}
		}
		if says == "" {
			if first := lineOf[e.Prefix]; first != 0 {
				says = e.Prefix.String() + " is on line " + strconv.Itoa(first) + " already"
			} else {
				lineOf[e.Prefix] = number
			}
		}
		if says != "" {
			wrong = append(wrong, wrongLine{number, says})
			continue
		}
		entries = append(entries, e)
	}
	return entries, wrong
}

const expired = "the entry would have expired already: write a later day, or leave the end out"

// parseEntry reads one line. What is wrong with it is said in words.
func parseEntry(line string) (e auth.AllowEntry, says string) {
	rule, note, _ := strings.Cut(line, "#")
	e.Note = strings.TrimSpace(note)
	if len(e.Note) > mostNote || !utf8.ValidString(e.Note) || strings.ContainsFunc(e.Note, unicode.IsControl) {
		return e, "a note is up to 200 bytes of text without control characters"
	}
	words := strings.Fields(rule)
	switch len(words) {
	case 0:
		return e, "a note stands behind an address, and there is none"
	case 1:
	case 3:
		if words[1] != "until" {
			return e, unreadable
		}
		var ok bool
		if e.ExpiresAt, ok = parseEnd(words[2]); !ok {
			return e, "an end is written as until 2027-01-31 or until 2027-01-31T17:00:00Z"
		}
	default:
		return e, unreadable
	}
	var err error
	if e.Prefix, err = auth.ParsePrefix(words[0]); err != nil {
		return e, err.Error()
	}
	return e, ""
}

const unreadable = "write an address, then, if it is to end, until and a day, then, if you like, # and a note"

func parseEnd(s string) (time.Time, bool) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1), true
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err == nil
}

// formatAllowlist writes a list as [parseAllowlist] reads it.
func formatAllowlist(entries []auth.AllowEntry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(formatEntry(e) + "\n")
	}
	return b.String()
}

func formatEntry(e auth.AllowEntry) string {
	s := cidr(e.Prefix)
	if end := e.ExpiresAt.UTC(); !e.ExpiresAt.IsZero() {
		if day := end.AddDate(0, 0, -1); end.Equal(end.Truncate(24 * time.Hour)) {
			s += " until " + day.Format(time.DateOnly)
		} else {
			s += " until " + end.Format(time.RFC3339Nano)
		}
	}
	if e.Note != "" {
		s += " # " + e.Note
	}
	return s
}

// cidr is a prefix as people write it: a single address without its mask.
func cidr(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
