package usage

import (
	"cmp"
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// MostSteps is how many hours or days a chart can have: a year of days, a month of hours.
const MostSteps = 750

// A Chart is what was done in each hour or day, those without anything included.
type Chart struct {
	Step  time.Duration
	Times []time.Time // where each step begins
	Lines []Line      // one for each of [Kinds]
	// Reasons are those for which requests were refused, the most frequent first, rate_limited among them.
	Reasons []ReasonCount
	// Credentials have what each did, by [Kinds], the busiest first.
	Credentials []CredentialCount
}

// A Line is one kind of deed.
type Line struct {
	Kind   Kind
	Counts []int64 // one for each of the chart's times
	Total  int64
}

// A ReasonCount says how often something was refused for a reason.
type ReasonCount struct {
	Reason auth.Reason
	Count  int64
}

// A CredentialCount says what one credential did.
type CredentialCount struct {
	Credential auth.CredentialID
	Counts     []int64 // by [Kinds]
	Total      int64
}

// A Kind is what sort of deed a line of a chart counts.
type Kind string

// The kinds. A call whose token was renewed in its answer is both a call and a refresh.
const (
	Exchanges   Kind = "exchanges" // logins too
	Refreshes   Kind = "refreshes"
	Calls       Kind = "calls" // that were let in
	Refused     Kind = "refused"
	RateLimited Kind = "rate_limited"
)

// Kinds lists them, in the order of a chart's lines.
var Kinds = []Kind{Exchanges, Refreshes, Calls, Refused, RateLimited}

// kindsOf are the kinds that a row counts for.
func kindsOf(what string) []Kind {
	switch what {
	case auth.DidExchange, auth.DidLogin:
		return []Kind{Exchanges}
	case auth.DidRefresh:
		return []Kind{Refreshes}
	case auth.DidVerify:
		return []Kind{Calls}
	case auth.DidRenew:
		return []Kind{Refreshes, Calls}
	case refused + string(auth.ReasonRateLimited):
		return []Kind{RateLimited}
	}
	if strings.HasPrefix(what, refused) {
		return []Kind{Refused}
	}
	return nil
}

// Bounds are the first step of a chart and the one behind its last, and whether it can be drawn: a step is an hour or a day, and of
// them there are at most [MostSteps].
func Bounds(q auth.UsageQuery, now time.Time) (first, end time.Time, err error) {
	if q.Step != auth.Hourly && q.Step != auth.Daily {
		return first, end, auth.ErrInvalid.Saying("usage is counted by the hour or by the day")
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	first, end = q.Since.UTC().Truncate(q.Step), q.Until.UTC().Truncate(q.Step).Add(q.Step)
	switch steps := end.Sub(first) / q.Step; {
	case !first.Before(end):
		return first, end, auth.ErrInvalid.Saying("the time asked for ends before it begins")
	case steps > MostSteps:
		return first, end, auth.ErrInvalid.Saying("at most " + strconv.Itoa(MostSteps) + " hours or days can be asked for at once")
	}
	return first, end, nil
}

// NewChart makes a chart of rows. Those outside of it are left out.
func NewChart(rows []auth.UsageRow, first, end time.Time, step time.Duration) Chart {
	c := Chart{Step: step}
	for at := first; at.Before(end); at = at.Add(step) {
		c.Times = append(c.Times, at)
	}
	for _, k := range Kinds {
		c.Lines = append(c.Lines, Line{Kind: k, Counts: make([]int64, len(c.Times))})
	}
	reasons, credentials := map[auth.Reason]int64{}, map[auth.CredentialID]*CredentialCount{}
	for _, r := range rows {
		i := int(r.Hour.Sub(first) / step)
		if r.Hour.Before(first) || i >= len(c.Times) {
			continue
		}
		if reason, ok := strings.CutPrefix(r.What, refused); ok {
			reasons[auth.Reason(reason)] += r.Count
		}
		of := credentials[r.Credential]
		if of == nil {
			of = &CredentialCount{Credential: r.Credential, Counts: make([]int64, len(Kinds))}
			credentials[r.Credential] = of
		}
		for _, kind := range kindsOf(r.What) {
			n := slices.Index(Kinds, kind)
			c.Lines[n].Counts[i] += r.Count
			c.Lines[n].Total += r.Count
			of.Counts[n] += r.Count
			of.Total += r.Count
		}
	}
	c.Reasons = SortReasons(reasons)
	for _, of := range credentials {
		c.Credentials = append(c.Credentials, *of)
	}
	slices.SortFunc(c.Credentials, func(a, b CredentialCount) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Credential, b.Credential))
	})
	return c
}

// SortReasons lists what was counted by reason, the most frequent first.
func SortReasons(counts map[auth.Reason]int64) []ReasonCount {
	var all []ReasonCount
	for reason, n := range counts {
		all = append(all, ReasonCount{reason, n})
	}
	slices.SortFunc(all, func(a, b ReasonCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// WriteCSV writes rows as RFC 4180 has it, with a heading. name tells what a credential is called. No cell is one that a spreadsheet
// would take for a formula.
func WriteCSV(w io.Writer, rows []auth.UsageRow, name func(auth.CredentialID) string) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write([]string{"from", "credential", "name", "what", "count"}); err != nil {
		return err
	}
	for _, r := range rows {
		cells := []string{r.Hour.UTC().Format(time.RFC3339), string(r.Credential), name(r.Credential), r.What, strconv.FormatInt(r.Count, 10)}
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		if err := c.Write(cells); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// harmless is a cell that a spreadsheet shows and does not compute. What it looks at may stand behind white space.
func harmless(cell string) string {
	if t := strings.TrimLeft(cell, " \t\r\n"); t != "" && strings.ContainsRune("=+-@", rune(t[0])) || t != cell {
		return "'" + cell
	}
	return cell
}
