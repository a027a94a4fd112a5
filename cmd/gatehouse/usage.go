package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
)

type usageC struct {
	Account accountID `required:"" placeholder:"ID" help:"Whose: the account's number, or ref:REFERENCE."`
	Since   moment    `default:"30d" placeholder:"WHEN" help:"Since when: 24h, 30d, 2027-01-31."`
	printed
}

func (usageC) Help() string {
	return `Counted by credential and hour: exchanges, logins, refreshes, calls through routes, refusals by their reason. Without --json, the sums.

    gatehouse usage --account 100001 --since 7d
    gatehouse usage --account 100001 --json`
}

func (c *usageC) Run(sh *shell) error {
	if err := c.Since.notNever("since"); err != nil {
		return err
	}
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	id, err := sh.account(o, c.Account)
	if err != nil {
		return err
	}
	since := c.Since.before(o.Now())
	found, err := o.Usage(sh.ctx, id, since)
	if err != nil {
		return err
	}
	rows := found.Items
	if c.JSON {
		return sh.json(rows)
	}
	if len(rows) == 0 {
		sh.note("account %d was not used since %s", id, stamp(since.Truncate(time.Hour)))
		return nil
	}
	table := [][]string{{"CREDENTIAL", "WHAT", "COUNT", "FIRST HOUR", "LAST HOUR"}}
	for _, s := range sums(rows) {
		table = append(table, []string{
			s.Credential, s.What, strconv.FormatInt(s.Count, 10), stamp(s.Hour), stamp(s.last),
		})
	}
	return sh.table(table)
}

// A sum is what one credential did of one sort, in all hours; Hour is the first of them.
type sum struct {
	api.UsageRow
	last time.Time
}

// sums adds up rows, which come by hour.
func sums(rows []api.UsageRow) []sum {
	var all []sum
	for _, r := range rows {
		i := slices.IndexFunc(all, func(s sum) bool { return s.Credential == r.Credential && s.What == r.What })
		if i < 0 {
			all = append(all, sum{UsageRow: r, last: r.Hour})
			continue
		}
		all[i].Count += r.Count
		all[i].last = r.Hour
	}
	slices.SortFunc(all, func(a, b sum) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.What, b.What))
	})
	return all
}
