package conform

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Text writes one verdict as lines for a person: one where the row holds, and below it what was seen where it does not.
func (r Row) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s", r.Outcome, r.Name)
	if r.Outcome == Skipped {
		fmt.Fprintf(&b, " (%s)", strings.Join(r.Why, "; "))
	}
	b.WriteByte('\n')
	if r.Outcome == Failed {
		b.WriteString(r.details("         "))
	}
	return b.String()
}

// details are what was wrong, and what was said, each line after indent.
func (r Row) details(indent string) string {
	var b strings.Builder
	for _, why := range r.Why {
		fmt.Fprintf(&b, "%s%s\n", indent, clean(why))
	}
	for _, e := range r.Exchanges {
		for _, side := range []struct{ mark, text string }{{"> ", e.Sent}, {"< ", e.Got}} {
			for line := range strings.Lines(side.text) {
				fmt.Fprintf(&b, "%s%s%s\n", indent, side.mark, clean(strings.TrimRight(line, "\r\n")))
			}
		}
	}
	return b.String()
}

// clean shows what others wrote, and lets nothing of it command a terminal.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\ufffd' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Summary is the last line.
func (r Report) Summary() string {
	return fmt.Sprintf("%d rows hold, %d do not, %d were skipped\n", r.Count(OK), r.Count(Failed), r.Count(Skipped))
}

// JUnit writes the report as the XML that CI systems read.
func (r Report) JUnit(w io.Writer) error {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Time    string   `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Skipped *message `xml:"skipped"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Host     string     `xml:"hostname,attr"`
		Began    string     `xml:"timestamp,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	type suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Time     string   `xml:"time,attr"`
		Suites   []*suite `xml:"testsuite"`
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
	all := suites{Name: "gatehouse conform", Tests: len(r.Rows), Failures: r.Count(Failed), Skipped: r.Count(Skipped)}
	took := map[*suite]time.Duration{}
	var total time.Duration
	for _, row := range r.Rows {
		var s *suite
		for _, one := range all.Suites {
			if one.Name == row.Contract {
				s = one
			}
		}
		if s == nil {
			s = &suite{Name: row.Contract, Host: r.URL, Began: r.Began.UTC().Format("2006-01-02T15:04:05")}
			all.Suites = append(all.Suites, s)
		}
		c := testcase{Class: "gatehouse.conform." + row.Contract, Name: row.Name, Time: seconds(row.Took)}
		switch row.Outcome {
		case Failed:
			c.Failure = &message{strings.Join(row.Why, "; "), row.details("")}
			s.Failures++
		case Skipped:
			c.Skipped = &message{Message: strings.Join(row.Why, "; ")}
			s.Skipped++
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
		took[s] += row.Took
		total += row.Took
	}
	for s, d := range took {
		s.Time = seconds(d)
	}
	all.Time = seconds(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
