package dashboard

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func entry(prefix, note string, expires time.Time) auth.AllowEntry {
	return auth.AllowEntry{Prefix: netip.MustParsePrefix(prefix), Note: note, CreatedAt: monday, ExpiresAt: expires}
}

func TestAllowlistAsItIsWritten(t *testing.T) {
	text := strings.ReplaceAll(`203.0.113.0/24 until 2027-01-31 # Office: 2nd floor # "west"
2001:db8::/32   #   IPv6

  198.51.100.7 until 2026-11-23T17:30:00.5Z
::ffff:192.0.2.1
`, "\n", "\r\n") // as browsers send it
	got, wrong := parseAllowlist(text, nil, monday)
	want := []auth.AllowEntry{
		entry("203.0.113.0/24", `Office: 2nd floor # "west"`, time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)),
		entry("2001:db8::/32", "IPv6", time.Time{}),
		entry("198.51.100.7/32", "", time.Date(2026, 11, 23, 17, 30, 0, 5e8, time.UTC)),
		entry("192.0.2.1/32", "", time.Time{}),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" || len(wrong) > 0 {
		t.Errorf("%v (-want +got):\n%s", wrong, diff)
	}
	again := `203.0.113.0/24 until 2027-01-31 # Office: 2nd floor # "west"
2001:db8::/32 # IPv6
198.51.100.7 until 2026-11-23T17:30:00.5Z
192.0.2.1
`
	if text := formatAllowlist(got); text != again {
		t.Errorf("it is written as\n%s", text)
	}
}

// Each line that is no entry is named, with what to write instead; the others are read.
func TestAllowlistLinesThatAreNone(t *testing.T) {
	for line, want := range map[string]string{
		"203.0.113.7/24":                 "write 203.0.113.0/24",
		"2001:db8::1/32 # x":             "write 2001:db8::/32",
		"fe80::1%eth0":                   "has a zone",
		"example.com":                    "is neither an IP address nor a CIDR",
		"192.0.2.1 2027-01-31":           "write an address, then",
		"192.0.2.1 till 2027-01-31":      "write an address, then",
		"192.0.2.1 until tomorrow":       "until 2027-01-31 or",
		"192.0.2.1 until 2026-11-22":     "expired already",
		"# only a note":                  "there is none",
		"198.51.100.7 # twice":           "is on line 1 already",
		"192.0.2.1 # \x00":               "without control characters",
		"192.0.2.1 # \xff":               "without control characters",
		"192.0.2.1 #" + long(mostNote):   "", // the longest
		"192.0.2.1 #" + long(mostNote+1): "up to 200 bytes",
		"192.0.2.1 until 2026-11-23":     "", // today, until it is over
	} {
		entries, wrong := parseAllowlist("198.51.100.7\n"+line+"\n", nil, monday)
		if want == "" {
			if len(entries) != 2 || len(wrong) != 0 {
				t.Errorf("%q: refused: %v", line, wrong)
			}
			continue
		}
		if len(entries) != 1 || len(wrong) != 1 || wrong[0].Number != 2 || !strings.Contains(wrong[0].Says, want) {
			t.Errorf("%q: got %v, want line 2 and %q", line, wrong, want)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// What has expired may stay on the list, but not be put there; what is known keeps its age.
func TestAllowlistKeepsWhatIsKnown(t *testing.T) {
	known := []auth.AllowEntry{{
		Prefix: netip.MustParsePrefix("192.0.2.0/24"), CreatedAt: monday.AddDate(0, -1, 0), ExpiresAt: monday.AddDate(0, 0, -3).Add(time.Millisecond),
	}}
	got, wrong := parseAllowlist(formatAllowlist(known), known, monday)
	if len(wrong) > 0 || !slices.Equal(got, known) {
		t.Errorf("got %v, %v", got, wrong)
	}
	if _, wrong := parseAllowlist("192.0.2.0/24 until 2026-11-21", known, monday); len(wrong) != 1 {
		t.Error("an end in the past was taken because the entry had another")
	}
	got, wrong = parseAllowlist("192.0.2.0/24 # new note", known, monday)
	if len(wrong) > 0 || len(got) != 1 || !got[0].CreatedAt.Equal(known[0].CreatedAt) || !got[0].ExpiresAt.IsZero() {
		t.Errorf("got %v, %v", got, wrong)
	}
}

// What was read is written and read again as the same list.
func FuzzAllowlist(f *testing.F) {
	f.Add("203.0.113.0/24 until 2027-01-31 # a # b\n::1\n")
	f.Add("192.0.2.1 until 2027-01-31T00:00:00+02:00")
	f.Add("192.0.2.1 until 9999-12-31\r\n0.0.0.0/0#\u00a0x")
	f.Fuzz(func(t *testing.T, text string) {
		first, _ := parseAllowlist(text, nil, monday)
		again, wrong := parseAllowlist(formatAllowlist(first), nil, monday)
		if len(wrong) > 0 || !slices.EqualFunc(first, again, func(a, b auth.AllowEntry) bool {
			return a.Prefix == b.Prefix && a.Note == b.Note && a.ExpiresAt.Equal(b.ExpiresAt)
		}) {
			t.Errorf("%q: %v became %v (%v)", text, first, again, wrong)
		}
	})
}
