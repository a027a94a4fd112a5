package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
	"github.com/gatehouse/gatehouse/verify"
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
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	found, err := sh.refusals(op, auth.RefusalFilter{RequestID: c.RequestID})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("nothing is known of a refused request %s: only those that were refused are kept, for %s (refusals.retention); gatehouse refusal list shows them",
			strconv.QuoteToASCII(c.RequestID), config.FormatDuration(op.Config.Refusals.Retention))
	}
	// The one that was asked for stands for the equal ones that were counted with it.
	found[0].RequestIDs = first(found[0].RequestIDs, c.RequestID)
	x := audit.Explain(found[0], audit.Deployment{Environment: op.Config.Environment, KeyPrefix: op.Config.KeyPrefix})
	if c.JSON {
		x.At = x.At.Truncate(time.Second)
		return sh.json(x)
	}
	_, err = x.WriteTo(sh.out)
	return err
}

// first is ids with one of them at the front.
func first(ids []string, one string) []string {
	rest := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == one })
	return append([]string{one}, rest...)
}

// refusals are those that fit the filter, of the running server's memory and of the database, the newest first, each once.
func (sh *shell) refusals(op *server.Opened, f auth.RefusalFilter) ([]auth.Refusal, error) {
	var memory []auth.Refusal
	var err error
	switch client := server.ControlClient(op.Config.DataDir); {
	case op.Config.Database.Set(): // the servers may be on other machines
	case f.RequestID != "":
		memory, err = client.Find(sh.ctx, f.RequestID)
	default:
		memory, err = client.Recent(sh.ctx, f)
	}
	if err != nil && !errors.Is(err, server.ErrNoServer) {
		sh.note("note: %v; this is what the database has", err)
	}
	stored, err := op.DB.Refusals(sh.ctx, f)
	if err != nil {
		return nil, err
	}
	return merge(memory, stored, f.Most), nil
}

// merge puts what the server remembers and what is stored together. What is in both is told by its request ids, and the one
// that counts more of equal requests is the one that is kept.
func merge(memory, stored []auth.Refusal, most int) []auth.Refusal {
	var all []auth.Refusal
	at := map[string]int{} // where in all the refusal of a request is
	for _, r := range append(slices.Clone(stored), memory...) {
		i, known := 0, false
		for _, id := range r.RequestIDs {
			if i, known = at[id]; known {
				break
			}
		}
		if !known {
			all = append(all, r)
			i = len(all) - 1
		} else if r.Count > all[i].Count {
			all[i] = r
		}
		for _, id := range r.RequestIDs {
			at[id] = i
		}
	}
	slices.SortStableFunc(all, func(a, b auth.Refusal) int { return b.At.Compare(a.At) })
	return all[:min(len(all), cmp.Or(most, defaultMost))]
}

// defaultMost is how many refusals are listed unless somebody wants more.
const defaultMost = 100

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

type refusalJSON struct {
	At         utc           `json:"at"`
	RequestIDs []string      `json:"request_ids"`
	Count      int64         `json:"count"`
	Method     string        `json:"method"`
	Path       string        `json:"path"`
	Host       string        `json:"host,omitempty"`
	Route      string        `json:"route,omitempty"`
	Contract   auth.Contract `json:"contract,omitempty"`
	Status     int           `json:"status"`
	Reason     auth.Reason   `json:"reason"`
	Account    int64         `json:"account,omitempty"`
	Credential string        `json:"credential,omitempty"`
	Secret     int           `json:"secret,omitempty"`
	Session    string        `json:"session,omitempty"`
	Type       verify.Type   `json:"type,omitempty"`
	Address    string        `json:"address,omitempty"`
	UserAgent  string        `json:"user_agent,omitempty"`
	Limit      string        `json:"limit,omitempty"`
}

func (c *refusalList) Run(sh *shell) error {
	if err := c.Since.notNever("since"); err != nil {
		return err
	}
	if c.Most < 1 || c.Most > 100_000 {
		return usage("--most %d: write 1 to 100000", c.Most)
	}
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	f := auth.RefusalFilter{Address: c.Address.Addr, Since: c.Since.before(op.DB.Now()), Most: c.Most}
	if c.Account != "" {
		a, err := sh.account(op, c.Account)
		if err != nil {
			return err
		}
		f.Account = a.ID
	}
	if c.Credential != "" {
		found, err := op.Registry.Credential(sh.ctx, actor(), c.Credential)
		if err != nil {
			return err
		}
		f.Credential = found.ID
	}
	found, err := sh.refusals(op, f)
	if err != nil {
		return err
	}
	if c.JSON {
		list := []refusalJSON{}
		for _, r := range found {
			list = append(list, refusalForPrograms(r))
		}
		return sh.json(list)
	}
	if len(found) == 0 {
		sh.note("nobody was refused, as far as it is known")
		return nil
	}
	rows := [][]string{{"AT", "REQUEST", "COUNT", "ASKED", "STATUS", "REASON", "ACCOUNT", "CREDENTIAL", "FROM"}}
	for _, r := range found {
		j := refusalForPrograms(r)
		id, account := "", ""
		if len(j.RequestIDs) > 0 {
			id = j.RequestIDs[0]
		}
		if j.Account != 0 {
			account = strconv.FormatInt(j.Account, 10)
		}
		rows = append(rows, []string{
			stamp(r.At), id, strconv.FormatInt(r.Count, 10), r.Method + " " + r.Path, strconv.Itoa(r.Status), string(r.Reason),
			account, j.Credential, j.Address,
		})
	}
	return sh.table(rows)
}

func refusalForPrograms(r auth.Refusal) refusalJSON {
	j := refusalJSON{
		At: utc(r.At), RequestIDs: append([]string{}, r.RequestIDs...), Count: r.Count, Method: r.Method, Path: r.Path, Host: r.Host,
		Route: r.Route, Contract: r.Contract, Status: r.Status, Reason: r.Reason, Account: int64(r.Subject.Account),
		Credential: string(r.Subject.Credential), Secret: r.Subject.Secret, Session: string(r.Subject.Session), Type: r.Type,
		UserAgent: r.UserAgent, Limit: r.Limit,
	}
	if r.Address.IsValid() {
		j.Address = r.Address.String()
	}
	return j
}
