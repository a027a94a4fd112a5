// Package conform judges whether a server speaks the wire contracts. It comes as a stranger does, over sockets, with
// credentials and nothing else, and compares literally what comes back: statuses, headers, field names, types and messages. What
// it asks goes to the socket byte by byte, for net/http would mend what is to be seen. It leaves to the command line where
// credentials come from and where the verdicts go.
//
// The invariants: a row holds only if everything that its part of the contract says of the answer holds, and a row that could not
// be judged is skipped and says why, never taken to hold; no secret and no token gets into a verdict; nothing is changed at the
// server but sessions of the credentials that were given.
package conform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The contracts.
const (
	Liquid = "liquid"
	Orders = "orders"
	B2B    = "b2b"
	OAuth  = "oauth"
)

// Contracts are all of them, in their order.
var Contracts = []string{Liquid, Orders, B2B, OAuth}

// Config says what is judged.
type Config struct {
	URL         string // http:// or https://, a host and a port
	Contracts   []string
	Credentials Credentials
	Origin      string                                     // that cors.allowed_origins names; "": browsers are left out
	Slow        bool                                       // rows that wait
	Limits      bool                                       // rows that use up limits
	Only        string                                     // rows whose name has this in it; "": all
	Timeout     time.Duration                              // of one exchange; 0: 10 s
	Wait        func(context.Context, time.Duration) error // lets time pass; nil: by waiting
}

// An Outcome is what became of a row.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "FAILED"
	Skipped Outcome = "skipped"
)

// An Exchange is what was sent and what came back, without secrets.
type Exchange struct{ Sent, Got string }

// A Row is the verdict on one row of a contract.
type Row struct {
	Contract  string
	Name      string // with the contract before it
	Outcome   Outcome
	Why       []string // what was wanted and did not hold, or why it was skipped
	Exchanges []Exchange
	Took      time.Duration
}

// A Report is all verdicts, in their order.
type Report struct {
	URL   string
	Began time.Time
	Rows  []Row
}

// Count is how many rows have this outcome.
func (r Report) Count(of Outcome) int {
	n := 0
	for _, row := range r.Rows {
		if row.Outcome == of {
			n++
		}
	}
	return n
}

// A skip is why a row cannot be judged.
type skip string

func (s skip) Error() string { return string(s) }

// A row is one case: run judges it.
type row struct {
	contract, name string
	run            func(p *probe) error
	after          int // waits come after all that do not wait, and limits last
}

const (
	atOnce = iota
	waits
	exhausts
)

// A Kit judges one server.
type Kit struct {
	config  Config
	wire    wire
	rows    []row
	masked  *strings.Replacer
	keyLine *regexp.Regexp    // a header with a key in it
	tokens  map[string]string // of contracts 1, 2 and 4, that rows share
	keys    keySet
	// described are the server's metadata; nil: not fetched yet.
	described map[string]any
	ahead     time.Duration // of our clock, the server's is
}

// New makes a Kit. Nothing is sent yet.
func New(c Config) (*Kit, error) {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	if len(c.Contracts) == 0 {
		c.Contracts = Contracts
	}
	if c.Credentials.Liquid.Header == "" {
		c.Credentials.Liquid.Header = "X-LIQUID-API-KEY"
	}
	w, err := newWire(c.URL, c.Timeout)
	if err != nil {
		return nil, err
	}
	k := &Kit{config: c, wire: w, tokens: map[string]string{}}
	secrets := c.Credentials.secrets()
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, "***")
	}
	k.masked = strings.NewReplacer(pairs...)
	k.keyLine = regexp.MustCompile(`(?im)^(` + regexp.QuoteMeta(c.Credentials.Liquid.Header) + `: *)[^\r\n]+`)
	for _, name := range c.Contracts {
		var rows []row
		switch name {
		case Liquid:
			rows = k.liquid()
		case Orders:
			rows = k.orders()
		case B2B:
			rows = k.b2b()
		case OAuth:
			rows = k.oauth()
		default:
			return nil, fmt.Errorf("there is no contract %q: they are %s", name, strings.Join(Contracts, ", "))
		}
		for _, r := range append(rows, k.everywhere(name)...) {
			r.contract, r.name = name, name+": "+r.name
			if strings.Contains(r.name, c.Only) {
				k.rows = append(k.rows, r)
			}
		}
	}
	for _, r := range k.http() {
		if strings.Contains(r.name, c.Only) {
			k.rows = append(k.rows, r)
		}
	}
	slices.SortStableFunc(k.rows, func(a, b row) int { return a.after - b.after })
	if len(k.rows) == 0 {
		return nil, fmt.Errorf("no row is called %q", c.Only)
	}
	return k, nil
}

// Run judges all rows, one after the other, and tells each when it is judged. The error is that the server cannot be reached,
// or that ctx is over.
func (k *Kit) Run(ctx context.Context, each func(Row)) (Report, error) {
	report := Report{URL: k.config.URL, Began: time.Now()}
	dialing, cancel := context.WithTimeout(ctx, k.config.Timeout)
	c, err := k.wire.dial(dialing)
	cancel()
	if err != nil {
		return report, fmt.Errorf("reach %s: %w", k.config.URL, err)
	}
	c.Close()
	for _, r := range k.rows {
		verdict := k.judge(ctx, r)
		if err := ctx.Err(); err != nil {
			return report, err
		}
		report.Rows = append(report.Rows, verdict)
		each(verdict)
	}
	return report, nil
}

func (k *Kit) judge(ctx context.Context, r row) Row {
	verdict := Row{Contract: r.contract, Name: r.name, Outcome: OK}
	p := &probe{kit: k, ctx: ctx, credentials: &k.config.Credentials, patient: r.after != exhausts}
	began := time.Now()
	var err error
	switch {
	case r.after == waits && !k.config.Slow:
		err = skip("it waits longer than the leeway: --slow")
	case r.after == exhausts && !k.config.Limits:
		err = skip("it uses up a limit: --limits")
	default:
		err = r.run(p)
	}
	verdict.Took = time.Since(began)
	verdict.Exchanges = p.exchanges
	var skipped skip
	switch {
	case errors.As(err, &skipped):
		verdict.Outcome, verdict.Why = Skipped, []string{string(skipped)}
	case err != nil:
		verdict.Outcome = Failed
		for line := range strings.Lines(err.Error()) {
			verdict.Why = append(verdict.Why, k.mask(strings.TrimSuffix(line, "\n")))
		}
	}
	return verdict
}

// A probe is what one row asks with.
type probe struct {
	kit         *Kit
	ctx         context.Context
	credentials *Credentials
	exchanges   []Exchange
	patient     bool // a 429 is waited out
}

// mostPatience is how long a 429 is waited out, and mostTries how often.
const (
	mostPatience = time.Minute
	mostTries    = 5
)

// ask sends r. Where the server says that too many came, it comes again when it may: only rows about limits are about that.
func (p *probe) ask(r request) (answer, error) {
	for try := 1; ; try++ {
		a, err := p.raw(r.method, r.text(p.kit.wire.host), p.kit.config.Timeout)
		if date, none := http.ParseTime(a.header.Get("Date")); none == nil {
			p.kit.ahead = time.Until(date)
		}
		if err != nil || a.status != 429 || !p.patient || try == mostTries {
			return a, err
		}
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || seconds < 0 || time.Duration(seconds)*time.Second > mostPatience {
			return a, nil
		}
		if err := p.wait(time.Duration(max(1, seconds)) * time.Second); err != nil {
			return a, err
		}
		p.exchanges = p.exchanges[:len(p.exchanges)-1]
	}
}

// raw sends text as it is.
func (p *probe) raw(method, text string, timeout time.Duration) (answer, error) {
	a, err := p.kit.wire.exchange(p.ctx, method, text, timeout)
	p.note(text, a.text)
	return a, err
}

func (p *probe) note(sent, got string) {
	p.exchanges = append(p.exchanges, Exchange{p.kit.mask(sent), p.kit.mask(got)})
}

func (p *probe) wait(d time.Duration) error { return p.kit.config.Wait(p.ctx, d) }

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	tokenLike = regexp.MustCompile(`[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.`)
	presented = regexp.MustCompile(`(?im)^(authorization: *(?:basic|bearer) +)[^\r\n]+`)
)

// mostShown is how much of a message is shown.
const mostShown = 4 << 10

// mask is text without secrets, and not too long.
func (k *Kit) mask(text string) string {
	text = k.masked.Replace(text)
	text = tokenLike.ReplaceAllString(text, "<token>")
	text = presented.ReplaceAllString(text, "${1}***")
	text = k.keyLine.ReplaceAllString(text, "${1}***")
	if len(text) > mostShown {
		text = text[:mostShown] + fmt.Sprintf("… and %d bytes more", len(text)-mostShown)
	}
	return text
}
