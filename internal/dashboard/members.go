package dashboard

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/usage"
)

// memberRoutes are the pages of members alone.
func memberRoutes() []route {
	return []route{
		{Members, get, "/", registry.ReadAccounts, false, (*Dashboard).memberStart},
	}
}

// A memberPage is what members see first: what needs them, and what their programs do.
type memberPage struct {
	Account auth.Account
	Needs   []need
	Hidden  int // how many more needs there are, if above 0
	Figures []figure
	// Refused are the reasons of refusals of the last day, the most frequent first.
	Refused []usage.ReasonCount
}

// mostNeeds is how many things a start page asks for at once.
const mostNeeds = 10

// A figure is a number that says how things go.
type figure struct {
	Label  string
	Number int64
	To     string
}

// memberStart is what members see first.
func (d *Dashboard) memberStart(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	credentials, err := v.accountCredentials()
	if err != nil {
		return err
	}
	now := d.now()
	chart, err := d.Registry.UsageChart(v.r.Context(), v.actor, auth.UsageQuery{Account: a.ID, Since: now.Add(-24 * time.Hour), Step: auth.Hourly})
	if err != nil {
		return err
	}
	var rows []credentialPage
	live := int64(0)
	for _, c := range credentials {
		p := v.credentialPage(c)
		if rows = append(rows, p); p.State == "live" {
			live++
		}
	}
	p := memberPage{Account: a, Needs: needs(a, rows, v, now)}
	if p.Hidden = len(p.Needs) - mostNeeds; p.Hidden > 0 {
		p.Needs = p.Needs[:mostNeeds]
	}
	p.Refused = chart.Reasons
	total := make(map[usage.Kind]int64)
	for _, l := range chart.Lines {
		total[l.Kind] = l.Total
	}
	p.Figures = []figure{
		{"Credentials that work", live, Root + "/credentials"},
		{"Tokens handed out in 24 h", total[usage.Exchanges] + total[usage.Refreshes], Root + "/usage"},
		{"Calls let in, in 24 h", total[usage.Calls], Root + "/usage"},
		{"Requests refused in 24 h", total[usage.Refused] + total[usage.RateLimited], Root + "/refusals"},
	}
	return v.page("member-start", a.Name, p)
}

// needs are what the people of an account should look at, in the order in which it presses.
func needs(a auth.Account, credentials []credentialPage, v *visit, now time.Time) []need {
	var all []need
	live := 0
	for _, c := range credentials {
		about := subject{c.Credential, cmpName(c.Credential), c.Here}
		switch {
		case c.State == "live":
			live++
		case c.State == "expired" && now.Sub(c.ExpiresAt) < soon:
			all = append(all, need{about.name + " expired " + distance(now.Sub(c.ExpiresAt)) + ". Whoever uses it is refused.", about.to, "Look at it", true})
			continue
		default:
			continue
		}
		if !c.ExpiresAt.IsZero() && c.ExpiresAt.Sub(now) < soon {
			all = append(all, v.expires(about))
		}
		if c.Rotating {
			all = append(all, v.oldSecretEnds(about))
		}
	}
	if live == 0 && v.Can(string(registry.CreateCredential)) {
		all = append(all, need{"No program of yours can call the API yet.", Root + "/start", "Get started", false})
	}
	if len(a.Allowlist) > 0 {
		list, good := limit.NewAllowlist(a.Allowlist), 0
		for _, e := range a.Allowlist {
			left := e.ExpiresAt.Sub(now)
			if e.ExpiresAt.IsZero() || left > 0 {
				good++
			}
			if !e.ExpiresAt.IsZero() && left > 0 && left < soon {
				all = append(all, need{"The entry " + cidr(e.Prefix) + " of the allowlist ends " + distance(-left) + ".", Root + "/allowlist", "Look at the allowlist", false})
			}
		}
		if good == 0 {
			all = append(all, need{"Every entry of the allowlist has expired: nobody is let in.", Root + "/allowlist", "Mend the allowlist", true})
		} else if from := v.r.Caller.Address; !list.Allows(from, now) {
			all = append(all, need{"A program that calls from where you are now, " + from.String() + ", would be refused: the address is not on the allowlist.", Root + "/allowlist?add=" + from.String(), "Look at the allowlist", false})
		}
	}
	pressing(all)
	return all
}

// accountCredentials are those of the page's account, with the last use of their secrets.
func (v *visit) accountCredentials() ([]auth.Credential, error) {
	return v.d.Registry.Credentials(v.r.Context(), v.actor, auth.CredentialQuery{Account: v.account(), Most: auth.MostRows})
}
