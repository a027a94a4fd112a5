package dashboard

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/usage"
)

// usageRoutes are the pages that say what an account's credentials did.
func usageRoutes() []route {
	return []route{
		{both, get, "=/usage", registry.ReadUsage, false, (*Dashboard).usage},
		{both, get, "=/usage.csv", registry.ReadUsage, false, (*Dashboard).usageCSV},
	}
}

// spans are the choice of how far back one looks.
var spans = []struct {
	Option
	Back, Step time.Duration
}{
	{Option{Value: "1d", Text: "24 hours"}, 24 * time.Hour, auth.Hourly},
	{Option{Value: "7d", Text: "7 days, by the hour"}, 7 * 24 * time.Hour, auth.Hourly},
	{Option{Value: "30d", Text: "30 days"}, 30 * 24 * time.Hour, auth.Daily},
	{Option{Value: "365d", Text: "A year"}, 365 * 24 * time.Hour, auth.Daily},
}

// A usagePage is what was done, as charts and as the tables beside them.
type usagePage struct {
	Figures     []usageFigure
	Reasons     []usage.ReasonCount
	Credentials []usedCredential
	Kinds       []string
	Spans       []Option
	Of          *credentialRow // nil: of all credentials
	CSV, All    string
}

// A usageFigure is one chart, and its table.
type usageFigure struct {
	ID, Title string
	Labels    []string
	JSON      string // as static/chart.js reads it
	Rows      []usageStep
	Totals    []int64
}

// A usageStep is an hour or a day in which something was done.
type usageStep struct {
	At     time.Time
	Daily  bool
	Counts []int64
}

type usedCredential struct {
	Name, To string
	Counts   []int64
}

// kindLabels are what the lines of a chart are called.
var kindLabels = map[usage.Kind]string{
	usage.Exchanges: "Tokens handed out", usage.Refreshes: "Refreshes", usage.Calls: "Calls let in",
	usage.Refused: "Refused", usage.RateLimited: "Over a limit",
}

// usageFigures are the charts: what went well, and what did not, which is small beside it.
var usageFigures = []struct {
	id, title string
	kinds     []usage.Kind
}{
	{"done", "What was done", []usage.Kind{usage.Exchanges, usage.Refreshes, usage.Calls}},
	{"refused", "What was refused", []usage.Kind{usage.Refused, usage.RateLimited}},
}

// usage shows what the credentials of an account did.
func (d *Dashboard) usage(v *visit) error {
	q, of, err := v.usageQuery()
	if err != nil {
		return err
	}
	chart, err := d.Registry.UsageChart(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	p := usagePage{Reasons: chart.Reasons, Of: of, CSV: v.Base() + "/usage.csv?" + v.r.URL.Query().Encode(), All: v.address("credential", "")}
	for _, f := range usageFigures {
		figure, err := newFigure(f.id, f.title, f.kinds, chart)
		if err != nil {
			return err
		}
		p.Figures = append(p.Figures, figure)
	}
	for _, s := range spans {
		p.Spans = append(p.Spans, s.Option)
	}
	for _, k := range usage.Kinds {
		p.Kinds = append(p.Kinds, kindLabels[k])
	}
	names, err := v.credentialNames()
	if err != nil {
		return err
	}
	for _, c := range chart.Credentials[:min(len(chart.Credentials), perPage)] {
		p.Credentials = append(p.Credentials, usedCredential{names(c.Credential), v.address("credential", string(c.Credential)), c.Counts})
	}
	return v.page("usage", "Usage", p, v.trail()...)
}

// usageQuery is what is asked for, as the address of the page says it; without a word, the last day.
func (v *visit) usageQuery() (q auth.UsageQuery, of *credentialRow, err error) {
	span := spans[0]
	for _, s := range spans {
		if s.Value == v.query("span") {
			span = s
		}
	}
	v.form.Fill("span", span.Value)
	q = auth.UsageQuery{Account: v.account(), Since: v.d.now().Add(-span.Back), Step: span.Step}
	if id := v.query("credential"); id != "" {
		c, err := v.credentialNamed(id)
		if err != nil {
			return q, nil, err
		}
		row := v.row(c)
		q.Credential, of = c.ID, &row
	}
	return q, of, nil
}

// credentialNames tells what the account's credentials are called. One that is not there any more is called by its id.
func (v *visit) credentialNames() (func(auth.CredentialID) string, error) {
	all, err := v.accountCredentials()
	if err != nil {
		return nil, err
	}
	names := make(map[auth.CredentialID]string, len(all))
	for _, c := range all {
		names[c.ID] = c.Name
	}
	return func(id auth.CredentialID) string {
		if names[id] == "" {
			return string(id)
		}
		return names[id]
	}, nil
}

// newFigure draws some lines of a chart.
func newFigure(id, title string, kinds []usage.Kind, c usage.Chart) (usageFigure, error) {
	f := usageFigure{ID: id, Title: title}
	times := make([]int64, len(c.Times))
	for i, t := range c.Times {
		times[i] = t.Unix()
	}
	drawn := struct {
		Labels []string  `json:"labels"`
		Data   [][]int64 `json:"data"`
	}{Data: [][]int64{times}}
	var lines []usage.Line
	for _, l := range c.Lines {
		if slices.Contains(kinds, l.Kind) {
			lines = append(lines, l)
			f.Labels = append(f.Labels, kindLabels[l.Kind])
			f.Totals = append(f.Totals, l.Total)
			drawn.Data = append(drawn.Data, l.Counts)
		}
	}
	drawn.Labels = f.Labels
	for i, at := range slices.Backward(c.Times) {
		step := usageStep{At: at, Daily: c.Step == auth.Daily}
		some := false
		for _, l := range lines {
			step.Counts = append(step.Counts, l.Counts[i])
			some = some || l.Counts[i] > 0
		}
		if some {
			f.Rows = append(f.Rows, step)
		}
	}
	text, err := json.Marshal(drawn)
	f.JSON = string(text)
	return f, err
}

// usageCSV is the same as a file, by credential and in the words of the server's own reasons.
func (d *Dashboard) usageCSV(v *visit) error {
	q, _, err := v.usageQuery()
	if err != nil {
		return err
	}
	rows, err := d.Registry.Usage(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	names, err := v.credentialNames()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := usage.WriteCSV(&b, rows, names); err != nil {
		return err
	}
	h := v.Header()
	h["Content-Type"] = []string{"text/csv; charset=utf-8"}
	h["Content-Disposition"] = []string{`attachment; filename="usage-` + v.account().String() + "-" + d.now().UTC().Format(time.DateOnly) + `.csv"`}
	h["Content-Length"] = []string{strconv.Itoa(b.Len())}
	v.WriteHeader(http.StatusOK)
	_, _ = v.Write(b.Bytes())
	return nil
}
