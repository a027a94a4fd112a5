package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		good bool
	}{
		{"0", 0, true},
		{"0s", 0, true},
		{"90s", 90 * time.Second, true},
		{"24h", 24 * time.Hour, true},
		{"30d", 720 * time.Hour, true},
		{"250ms", 250 * time.Millisecond, true},
		{"1h30m", 90 * time.Minute, true},
		{"1d2h3m4s5ms", 26*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond, true},
		{"007s", 7 * time.Second, true},
		{"106751d", 106751 * 24 * time.Hour, true},
		{"106752d", 0, false},
		{"106751d24h", 0, false},
		{"99999999999999999999s", 0, false},
		{"", 0, false},
		{"60", 0, false},
		{"h", 0, false},
		{"-1s", 0, false},
		{"+1s", 0, false},
		{"1.5h", 0, false},
		{"1 h", 0, false},
		{" 1h", 0, false},
		{"1H", 0, false},
		{"30m1h", 0, false},
		{"1h1h", 0, false},
		{"1h5", 0, false},
		{"1w", 0, false},
		{"1us", 0, false},
		{"1µs", 0, false},
		{"1msx", 0, false},
		{"1hh", 0, false},
	} {
		got, err := ParseDuration(c.in)
		if got != c.want || (err == nil) != c.good {
			t.Errorf("%q: got %v, %v, want %v, good: %v", c.in, got, err, c.want, c.good)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"0", "24h", "1h30m", "250ms", "106751d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if again, err := ParseDuration(FormatDuration(d)); again != d || err != nil || d < 0 {
			t.Fatalf("%q is %v, written %s, and that is %v, %v", s, d, FormatDuration(d), again, err)
		}
	})
}

// A limit in the configuration is two texts.
func FuzzLimit(f *testing.F) {
	f.Add("600/min", "100")
	f.Add("0", "0")
	f.Add("1/d", "1000000000")
	f.Fuzz(func(t *testing.T, rate, burst string) {
		c, err := load(Options{Dir: "/nonexistent", Flags: map[string]string{
			"limits.requests_per_account.rate": rate, "limits.requests_per_account.burst": burst,
		}})
		if err != nil {
			return
		}
		l := c.Limits.RequestsPerAccount
		if r := l.AsRate(); l.Rate.String() != rate || !r.None() && (r.Capacity() < 1 || r.Capacity() > mostBurst) {
			t.Fatalf("%q, %q: got %+v", rate, burst, l)
		}
	})
}
