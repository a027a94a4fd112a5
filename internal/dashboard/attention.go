package dashboard

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/usage"
)

// A Status is how the servers are, for operators.
type Status struct {
	Replicas []auth.Replica
	Now      time.Time // by the database, for when they were heard
}

// An attentionPage is what operators see first: what needs them, and how it goes.
type attentionPage struct {
	Status
	Late    []auth.Replica // that were not heard lately
	Needs   []need
	More    bool                // there are more needs than are shown
	Refused []usage.ReasonCount // since midnight, the most frequent first
	Newest  bool                // of those refused, the newest were counted
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
	if p.Needs, p.More, err = v.ending(mostNeeds / 2); err != nil {
		return err
	}
	midnight := d.now().UTC().Truncate(24 * time.Hour)
	refused, all, err := d.Registry.RefusalReasons(v.r.Context(), v.actor, 0, midnight)
	if err != nil {
		return err
	}
	p.Refused, p.Newest = refused, !all
	some, err := d.Registry.Accounts(v.r.Context(), v.actor, auth.AccountQuery{Most: 1})
	if err != nil {
		return err
	}
	p.First = len(some) == 0
	return v.page("attention", "Start", p)
}

// ending is what of all accounts stops working by itself soon: so many credentials and so many old secrets, those that end first, and
// whether there are more.
func (v *visit) ending(most int) (needs []need, more bool, err error) {
	for _, q := range []struct {
		oldSecrets bool
		says       func(*visit, subject) need
	}{{false, (*visit).expires}, {true, (*visit).oldSecretEnds}} {
		found, err := v.d.Registry.Ending(v.r.Context(), v.actor, auth.EndingQuery{OldSecrets: q.oldSecrets, Within: soon, Most: most + 1})
		if err != nil {
			return nil, false, err
		}
		if len(found) > most {
			found, more = found[:most], true
		}
		for _, c := range found {
			account := c.Account.String()
			needs = append(needs, q.says(v, subject{c, cmpName(c) + " of account " + account, Root + "/accounts/" + account + "/credentials/" + string(c.ID)}))
		}
	}
	pressing(needs)
	return needs, more, nil
}

// mostEnding is how many credentials, and how many old secrets, the page of what ends lists.
const mostEnding = 100

// An endingPage lists what ends by itself soon.
type endingPage struct {
	Needs []need
	More  bool
	Most  int
}

// endingSoon lists what the start page has no room for.
func (d *Dashboard) endingSoon(v *visit) error {
	needs, more, err := v.ending(mostEnding)
	if err != nil {
		return err
	}
	return v.page("ending", "What ends soon", endingPage{needs, more, mostEnding})
}
