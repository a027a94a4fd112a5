package client

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7\t": 7 * time.Second, "-7": 0, "+7": 0, "7.5": 0, "7s": 0, "0x7": 0,
		"99999999999999999999":           1 << 31 * time.Second,
		"Sun, 22 Nov 2026 09:00:07 GMT":  7 * time.Second,
		"Sunday, 22-Nov-26 09:00:07 GMT": 7 * time.Second, // RFC 9110, section 5.6.7, has three spellings
		"Sun Nov 22 09:00:07 2026":       7 * time.Second,
		"Sun, 22 Nov 2026 08:59:00 GMT":  0,
		"tomorrow":                       0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {s}}, now); got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
		// By its own Date, where there is one.
		if got := retryAfter(http.Header{"Retry-After": {s}, "Date": {now.Format(http.TimeFormat)}}, now.Add(time.Hour)); got != want {
			t.Errorf("%q, dated, is %v, want %v", s, got, want)
		}
	}
}

// FuzzRetryAfter: whatever it is, it is no negative time, and seconds and dates come back as they were.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "7", "-1", "Sun, 22 Nov 2026 09:00:07 GMT", "99999999999999999999", "1e3"} {
		f.Add(seed, int64(1795338000))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		now := time.Unix(unix%(1<<36), 0)
		got := retryAfter(http.Header{"Retry-After": {s}}, now)
		if got < 0 {
			t.Fatalf("%q is %v", s, got)
		}
		if n, err := strconv.ParseUint(s, 10, 31); err == nil && got != time.Duration(n)*time.Second {
			t.Fatalf("%q is %v", s, got)
		}
		if whole := got.Truncate(time.Second); whole < 100*365*24*time.Hour && now.Year() > 1 && now.Year() < 9000 {
			date := now.UTC().Add(whole).Format(http.TimeFormat)
			if again := retryAfter(http.Header{"Retry-After": {date}}, now); again != whole {
				t.Fatalf("%s from %v is %v, want %v", date, now, again, whole)
			}
		}
	})
}
