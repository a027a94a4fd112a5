package dashboard

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// A Program turns a credential of one kind into a token, and calls the API with that.
type Program struct {
	// Identifier and Secret are the variables of the environment that it reads the credential from; Secret is "" where one
	// text is both.
	Identifier, Secret string
	// Path is something that its token opens, as an example; "": nothing is known to.
	Path    string
	Samples []Sample
}

// A Sample is a program in one language.
type Sample struct{ Language, Code string }

// startRoutes are the pages that lead from nothing to the first call.
func startRoutes() []route {
	return []route{
		{both, get, "=/start", registry.ReadCredentials, false, (*Dashboard).getStarted},
		{both, get, "=/start/{credential}", registry.ReadCredentials, false, (*Dashboard).startWith},
	}
}

// A kindCard is a kind of credential and what there is of it.
type kindCard struct {
	Option
	Live []credentialRow
}

// getStarted lists the kinds of credentials that open something here.
func (d *Dashboard) getStarted(v *visit) error {
	found, err := v.accountCredentials()
	if err != nil {
		return err
	}
	var cards []kindCard
	for _, k := range kinds {
		if _, spoken := d.Programs[auth.Kind(k.Value)]; !spoken {
			continue
		}
		card := kindCard{Option: k}
		for _, c := range slices.Backward(found) {
			if row := v.row(c); row.State == "live" && string(c.Kind) == k.Value && len(card.Live) < mostOnCard {
				card.Live = append(card.Live, row)
			}
		}
		cards = append(cards, card)
	}
	return v.page("start", "Get started", cards, v.trail()...)
}

// mostOnCard is how many credentials of a kind one is offered to go on with, the youngest ones.
const mostOnCard = 3

// A startPage leads from a credential to the first call with it.
type startPage struct {
	Lines    []string // what a shell is told first
	Filled   bool     // the secret is among them
	Samples  []sampleChoice
	Call     string // the line of curl that calls with the token
	Docs     string
	Exchange seen
	Calls    seen
	Refused  *refusalRow // the last of the last hour; nil: none
	Here     string
	Watching bool // the page looks again by itself until all was seen
}

type sampleChoice struct {
	Sample
	Number int
}

// seen says whether something happened, and when.
type seen struct {
	At    time.Time // zero: it did not
	From  string
	Count int64
}

// startWith shows how one's own credential is used, and what has been seen of it.
func (d *Dashboard) startWith(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	p := v.startPage(c, "", "")
	if p.Exchange, p.Calls, err = v.sightings(c); err != nil {
		return err
	}
	if p.Refused, err = v.lastRefusal(c); err != nil {
		return err
	}
	p.Watching = p.Exchange.At.IsZero() || p.Calls.At.IsZero()
	return v.page("start-with", "Get started with "+cmpName(c), p, v.trail(link{To: v.Base() + "/start", Text: "Get started"})...)
}

// startPage is what one does with a credential, of which nothing has been seen yet. Its secret is filled in on the page that shows
// it once, and on no other. It reads nothing: what was just made is shown, come what may.
func (v *visit) startPage(c auth.Credential, identifier, secret string) startPage {
	program := v.d.Programs[c.Kind]
	p := startPage{Filled: identifier != "", Call: v.d.Call, Docs: v.d.Docs, Here: v.Base() + "/start/" + string(c.ID), Watching: true}
	if identifier == "" {
		identifier, secret = v.d.Registry.Identifier(c), "the secret that was shown once"
	}
	p.Lines = []string{export(program.Identifier, identifier)}
	if program.Secret != "" {
		p.Lines = append(p.Lines, export(program.Secret, secret))
	}
	if program.Path != "" {
		p.Lines = append(p.Lines, export("API_PATH", program.Path))
	}
	for i, s := range program.Samples {
		p.Samples = append(p.Samples, sampleChoice{s, i})
	}
	return p
}

// export is the line of a shell that sets a variable.
func export(name, value string) string {
	return "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// sightings are the last exchange of a credential and its calls of the last day. An exchange is known to the second; calls are
// counted by the hour.
func (v *visit) sightings(c auth.Credential) (exchange, calls seen, err error) {
	for _, s := range c.Secrets {
		if use := s.LastUse; use.At.After(exchange.At) {
			exchange = seen{At: use.At, Count: use.Count}
			if use.Address.IsValid() {
				exchange.From = use.Address.String()
			}
		}
	}
	used, err := v.d.Registry.Usage(v.r.Context(), v.actor, auth.UsageQuery{
		Account: c.Account, Credential: c.ID, Since: v.d.now().Add(-24 * time.Hour).Truncate(time.Hour), Step: auth.Hourly,
	})
	if err != nil {
		return exchange, calls, err
	}
	for _, row := range used {
		if row.What == auth.DidVerify {
			calls.Count += row.Count
			if row.Hour.After(calls.At) {
				calls.At = row.Hour
			}
		}
	}
	return exchange, calls, nil
}

// lastRefusal is the last request of the credential that was refused, if that was within the hour.
func (v *visit) lastRefusal(c auth.Credential) (*refusalRow, error) {
	found, err := v.d.Registry.Refusals(v.r.Context(), v.actor, auth.RefusalFilter{
		Account: c.Account, Credential: c.ID, Since: v.d.now().Add(-time.Hour), Most: 1,
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	row := v.refusalRow(found[0])
	return &row, nil
}
