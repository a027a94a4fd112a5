package main

import (
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
)

type explain struct {
	RequestID string `arg:"" name:"request-id" help:"The header X-Request-Id of the answer, as reqid_123abc45def."`
	printed
}

func (explain) Help() string {
	return `What was asked and answered, why, by whose credential and from which address, and the command that would mend it. The running server knows the refusals of the last hour; the database has them for refusals.retention, where equal ones of one second are counted and only the first few have their ids there.

    gatehouse explain reqid_123abc45def`
}

func (c *explain) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	x, err := o.Explain(sh.ctx, c.RequestID)
	if err != nil {
		return err
	}
	if c.JSON {
		x.At = x.At.Truncate(time.Second)
		return sh.json(x)
	}
	_, err = x.WriteTo(sh.out)
	return err
}

type refusals struct {
	List refusalList `cmd:"" help:"List who was refused, the newest first."`
}

type refusalList struct {
	Account    accountID `placeholder:"ID" help:"Only those of this account: its number, or ref:REFERENCE."`
	Credential string    `placeholder:"ID" help:"Only those of this credential."`
	Address    address   `placeholder:"IP" help:"Only those from there."`
	Since      moment    `placeholder:"WHEN" help:"Only those since then: 2h, 7d, 2027-01-31."`
	Most       int       `default:"100" placeholder:"N" help:"How many at most."`
	printed
}

func (refusalList) Help() string {
	return `Equal ones of one second are one line that counts. "explain" tells more of one, by its request id.

    gatehouse refusal list --account 100001 --since 24h
    gatehouse refusal list --address 203.0.113.7 --json`
}

func (c *refusalList) Run(sh *shell) error {
	if err := c.Since.notNever("since"); err != nil {
		return err
	}
	if c.Most < 1 || c.Most > 100_000 {
		return usage("--most %d: write 1 to 100000", c.Most)
	}
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	account, err := sh.accountIfAny(o, c.Account)
	if err != nil {
		return err
	}
	q := api.RefusalQuery{Account: int64(account), Address: c.Address.Addr, Since: c.Since.before(o.Now())}
	if c.Credential != "" {
		found, err := o.Credential(sh.ctx, c.Credential)
		if err != nil {
			return err
		}
		q.Credential = found.ID
	}
	found, err := some(c.Most, func(r api.Range) (api.Page[api.Refusal], error) {
		q.Range = r
		return o.Refusals(sh.ctx, q)
	})
	if err != nil {
		return err
	}
	heading := []string{"AT", "REQUEST", "COUNT", "ASKED", "STATUS", "REASON", "ACCOUNT", "CREDENTIAL", "FROM"}
	return showList(sh, found, c.JSON, "nobody was refused, as far as it is known", heading, func(r api.Refusal) []string {
		id, account := "", ""
		if len(r.RequestIDs) > 0 {
			id = r.RequestIDs[0]
		}
		if r.Account != 0 {
			account = strconv.FormatInt(r.Account, 10)
		}
		return []string{
			stamp(r.At), id, strconv.FormatInt(r.Count, 10), r.Method + " " + r.Path, strconv.Itoa(r.Status), r.Reason,
			account, r.Credential, r.Address,
		}
	})
}
