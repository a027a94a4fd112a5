package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
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

type usageJSON struct {
	Hour       utc               `json:"hour"`
	Credential auth.CredentialID `json:"credential"`
	What       string            `json:"what"`
	Count      int64             `json:"count"`
}

func (c *usageC) Run(sh *shell) error {
	if err := c.Since.notNever("since"); err != nil {
		return err
	}
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.Account)
	if err != nil {
		return err
	}
	// Whole hours: the one that holds the moment belongs to it.
	since := c.Since.before(op.DB.Now()).UTC().Truncate(time.Hour)
	rows, err := op.DB.Usage(sh.ctx, a.ID, since)
	if err != nil {
		return err
	}
	if c.JSON {
		list := []usageJSON{}
		for _, r := range rows {
			list = append(list, usageJSON{utc(r.Hour), r.Credential, r.What, r.Count})
		}
		return sh.json(list)
	}
	if len(rows) == 0 {
		sh.note("account %d was not used since %s", a.ID, stamp(since))
		return nil
	}
	table := [][]string{{"CREDENTIAL", "WHAT", "COUNT", "FIRST HOUR", "LAST HOUR"}}
	for _, s := range sums(rows) {
		table = append(table, []string{
			string(s.Credential), s.What, strconv.FormatInt(s.Count, 10), stamp(s.Hour), stamp(s.last),
		})
	}
	return sh.table(table)
}

// A sum is what one credential did of one sort, in all hours; Hour is the first of them.
type sum struct {
	auth.UsageRow
	last time.Time
}

// sums adds up rows, which come by hour.
func sums(rows []auth.UsageRow) []sum {
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
