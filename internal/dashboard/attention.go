package dashboard

import (
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/usage"
)

// A Status is how the servers are, for operators.
type Status struct {
	Replicas []auth.Replica
	Now      time.Time // by the database, for when they were heard
	Expiring int64     // credentials that expire within 14 days
}

// An attentionPage is what operators see first: what needs them, and how it goes.
type attentionPage struct {
	Status
	Late    []auth.Replica      // that were not heard lately
	Refused []usage.ReasonCount // since midnight, the most frequent first
	More    bool                // there were more refusals than were counted
	First   bool                // there is no account yet
}

// lateAfter is how long a replica may not have been heard: it says so twice a second.
const lateAfter = 10 * time.Second

// start is what operators see first.
func (d *Dashboard) start(v *visit) error {
	var p attentionPage
	var err error
	if d.Status != nil {
		if p.Status, err = d.Status(v.r.Context()); err != nil {
			return err
		}
	}
	for _, r := range p.Replicas {
		if p.Now.Sub(r.HeardAt) > lateAfter {
			p.Late = append(p.Late, r)
		}
	}
	midnight := d.now().UTC().Truncate(24 * time.Hour)
	refused, err := d.Registry.Refusals(v.r.Context(), v.actor, auth.RefusalFilter{Since: midnight, Most: auth.MostRows})
	if err != nil {
		return err
	}
	p.More = len(refused) == auth.MostRows
	for _, r := range refused {
		i := slices.IndexFunc(p.Refused, func(c usage.ReasonCount) bool { return c.Reason == r.Reason })
		if i < 0 {
			i, p.Refused = len(p.Refused), append(p.Refused, usage.ReasonCount{Reason: r.Reason})
		}
		p.Refused[i].Count += r.Count
	}
	slices.SortFunc(p.Refused, func(a, b usage.ReasonCount) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(string(a.Reason), string(b.Reason))
	})
	some, err := d.Registry.Accounts(v.r.Context(), v.actor, auth.AccountQuery{Most: 1})
	if err != nil {
		return err
	}
	p.First = len(some) == 0
	return v.page("attention", "Start", p)
}
