package usage

import (
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var midnight = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func TestChart(t *testing.T) {
	first, end, err := Bounds(auth.UsageQuery{Since: midnight.Add(90 * time.Minute), Step: auth.Hourly}, midnight.Add(4*time.Hour+time.Second))
	if err != nil || !first.Equal(midnight.Add(time.Hour)) || !end.Equal(midnight.Add(5*time.Hour)) {
		t.Fatalf("from %v to %v, %v", first, end, err)
	}
	row := func(hour int, credential auth.CredentialID, what string, n int64) auth.UsageRow {
		return auth.UsageRow{Hour: midnight.Add(time.Duration(hour) * time.Hour), Credential: credential, What: what, Count: n}
	}
	c := NewChart([]auth.UsageRow{
		row(0, "a", auth.DidLogin, 1000), // before
		row(1, "a", auth.DidLogin, 2), row(1, "b", auth.DidExchange, 3), row(1, "a", auth.DidLogout, 9),
		row(3, "a", auth.DidVerify, 10), row(3, "a", auth.DidRenew, 1), row(4, "a", auth.DidRefresh, 4),
		row(3, "b", "refused:expired", 5), row(4, "b", "refused:expired", 2), row(4, "b", "refused:rate_limited", 6), row(4, "b", "refused:revoked", 7),
		row(5, "a", auth.DidLogin, 1000), // behind
	}, first, end, auth.Hourly)
	if len(c.Times) != 4 || !c.Times[3].Equal(midnight.Add(4*time.Hour)) {
		t.Errorf("times %v", c.Times)
	}
	for i, want := range []Line{
		{Exchanges, []int64{5, 0, 0, 0}, 5},
		{Refreshes, []int64{0, 0, 1, 4}, 5},
		{Calls, []int64{0, 0, 11, 0}, 11},
		{Refused, []int64{0, 0, 5, 9}, 14},
		{RateLimited, []int64{0, 0, 0, 6}, 6},
	} {
		if got := c.Lines[i]; got.Kind != want.Kind || got.Total != want.Total || !slices.Equal(got.Counts, want.Counts) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if want := []ReasonCount{{auth.ReasonExpired, 7}, {auth.ReasonRevoked, 7}, {auth.ReasonRateLimited, 6}}; !slices.Equal(c.Reasons, want) {
		t.Errorf("reasons %v, want %v", c.Reasons, want)
	}
	if got := c.Credentials; len(got) != 2 || got[0].Credential != "b" || got[0].Total != 23 || !slices.Equal(got[1].Counts, []int64{2, 5, 11, 0, 0}) {
		t.Errorf("credentials %+v", got)
	}
}

func TestBounds(t *testing.T) {
	now := midnight.Add(9 * time.Hour)
	first, end, err := Bounds(auth.UsageQuery{Since: now.AddDate(0, 0, -1), Until: now, Step: auth.Daily}, now)
	if err != nil || !first.Equal(midnight.AddDate(0, 0, -1)) || !end.Equal(midnight.AddDate(0, 0, 1)) {
		t.Errorf("two days: from %v to %v, %v", first, end, err)
	}
	for name, q := range map[string]auth.UsageQuery{
		"no step":          {Since: midnight},
		"minutes":          {Since: midnight, Step: time.Minute},
		"backwards":        {Since: now, Until: midnight, Step: auth.Hourly},
		"since the future": {Since: now.Add(2 * time.Hour), Step: auth.Hourly},
		"for ever":         {Step: auth.Daily},
		"too many hours":   {Since: now.Add(-MostSteps * time.Hour), Step: auth.Hourly},
	} {
		if _, _, err := Bounds(q, now); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCSV(t *testing.T) {
	var b strings.Builder
	names := map[auth.CredentialID]string{"a": `=cmd|'/c calc'!A0`, "b": "Till, \"north\"\nold", "c": "\t@SUM(1)", "d": "+49 30"}
	var rows []auth.UsageRow
	for _, id := range []auth.CredentialID{"a", "b", "c", "d"} {
		rows = append(rows, auth.UsageRow{Hour: midnight, Credential: id, What: "refused:expired", Count: 7})
	}
	if err := WriteCSV(&b, rows, func(id auth.CredentialID) string { return names[id] }); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\r\n"); n < len(rows)+1 {
		t.Errorf("%d lines end as RFC 4180 wants:\n%q", n, b.String())
	}
	got, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"from", "credential", "name", "what", "count"},
		{"2026-11-22T00:00:00Z", "a", `'=cmd|'/c calc'!A0`, "refused:expired", "7"},
		{"2026-11-22T00:00:00Z", "b", "Till, \"north\"\nold", "refused:expired", "7"},
		{"2026-11-22T00:00:00Z", "c", "'\t@SUM(1)", "refused:expired", "7"},
		{"2026-11-22T00:00:00Z", "d", "'+49 30", "refused:expired", "7"},
	} {
		if !slices.Equal(got[i], want) {
			t.Errorf("got %q, want %q", got[i], want)
		}
	}
}

func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"=1", " =1", "a", "", "\r\n@x", "-", "'=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := harmless(s)
		if got != s && got != "'"+s || strings.ContainsAny(got[:min(len(got), 1)], "=+-@ \t\r\n") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
