package main

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/server"
)

type accountAllowIP struct {
	ID      accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	CIDR    []prefix  `arg:"" name:"cidr" help:"Addresses and CIDRs, as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."`
	Note    string    `placeholder:"TEXT" help:"What they are."`
	Expires moment    `placeholder:"WHEN" help:"How long they are allowed: 30d, 2027-01-31. Without it: always."`
	DryRun  bool      `help:"Change nothing; say what the list would be, and which addresses that the account came from lately would be shut out."`
	printed
}

func (accountAllowIP) Help() string {
	return `With the first entry every other address is shut out, at once, tokens already out included. An entry that is there already gets the new note and end.

    gatehouse account allow-ip 100001 203.0.113.0/24 --note "their office" --dry-run
    gatehouse account allow-ip 100001 203.0.113.0/24 2001:db8::/32 --note "their office"
    gatehouse account allow-ip 100001 198.51.100.7 --expires 7d`
}

func (c *accountAllowIP) Run(sh *shell) error {
	if c.DryRun {
		return c.tryOut(sh)
	}
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.ID)
	if err != nil {
		return err
	}
	d, err := op.Registry.AllowIP(sh.ctx, actor(), a.ID, plain(c.CIDR), c.Note, c.Expires.after(op.DB.Now()))
	if err != nil {
		return err
	}
	sh.done(op, d)
	if a, err = sh.account(op, accountID(a.ID.String())); err != nil {
		return err
	}
	lately, err := sh.lately(op, a)
	if err != nil {
		return err
	}
	for _, seen := range judged(lately, a.Allowlist, op.DB.Now()) {
		if !seen.Allowed {
			sh.note("note: %s is shut out now: %s came from there at %s", seen.Address, seen.Who, time.Time(seen.At).Format(time.RFC3339))
		}
	}
	return sh.showAccount(a, c.JSON)
}

func plain(all []prefix) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range all {
		prefixes = append(prefixes, p.Prefix)
	}
	return prefixes
}

// tryOut says what would be.
func (c *accountAllowIP) tryOut(sh *shell) error {
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.ID)
	if err != nil {
		return err
	}
	now := op.DB.Now()
	expires := c.Expires.after(now)
	if !expires.IsZero() && !expires.After(now) {
		return usage("--expires: the entry would have expired already")
	}
	would := withEntries(a.Allowlist, plain(c.CIDR), c.Note, expires, now)
	lately, err := sh.lately(op, a)
	if err != nil {
		return err
	}
	addresses := judged(lately, would, now)
	out := 0
	for _, seen := range addresses {
		if !seen.Allowed {
			out++
		}
	}
	if c.JSON {
		return sh.json(map[string]any{"account": a.ID, "dry_run": true, "allowlist": entriesJSON(would), "addresses": addresses, "shut_out": out})
	}
	if err := sh.printf("This would be the allowlist of account %d; nothing was changed.\n\n", a.ID); err != nil {
		return err
	}
	if err := sh.showEntries(would); err != nil {
		return err
	}
	if len(a.Allowlist) == 0 {
		if err := sh.printf("\nIts first entry shuts out every other address.\n"); err != nil {
			return err
		}
	}
	if len(addresses) == 0 {
		return sh.printf("\nNo address is known that the account came from: it has no live session, and no secret of it was used.\n")
	}
	rows := [][]string{{"CAME FROM", "AT", "WHO", "THEN"}}
	for _, seen := range addresses {
		then := "comes in"
		if !seen.Allowed {
			then = "is SHUT OUT"
		}
		rows = append(rows, []string{seen.Address.String(), stamp(time.Time(seen.At)), seen.Who, then})
	}
	if err := sh.printf("\n"); err != nil {
		return err
	}
	if err := sh.table(rows); err != nil {
		return err
	}
	return sh.printf("\n%s of %d would be shut out.\n", strconv.Itoa(out), len(addresses))
}

// withEntries is the list with these entries added, as the store would have it.
func withEntries(before []auth.AllowEntry, add []netip.Prefix, note string, expires, now time.Time) []auth.AllowEntry {
	list := slices.Clone(before)
	for _, p := range add {
		i := slices.IndexFunc(list, func(e auth.AllowEntry) bool { return e.Prefix == p })
		if i < 0 {
			list = append(list, auth.AllowEntry{Prefix: p, CreatedAt: now})
			i = len(list) - 1
		}
		list[i].Note, list[i].ExpiresAt = note, expires
	}
	return list
}

// seenAddress is where somebody of an account came from.
type seenAddress struct {
	Address netip.Addr `json:"address"`
	Who     string     `json:"who"`
	At      utc        `json:"at"`
	Allowed bool       `json:"allowed"`
}

// lately is where an account came from, as far as it is known: its live sessions, and the last use of each live secret.
func (sh *shell) lately(op *server.Opened, a auth.Account) ([]seenAddress, error) {
	var all []seenAddress
	live, err := op.Registry.Sessions(sh.ctx, actor(), a.ID, true)
	if err != nil {
		return nil, err
	}
	for _, s := range live {
		if s.Address.IsValid() {
			all = append(all, seenAddress{Address: s.Address, Who: "session " + string(s.ID), At: utc(s.StartedAt)})
		}
	}
	known, err := op.Registry.Credentials(sh.ctx, actor(), a.ID)
	if err != nil {
		return nil, err
	}
	now := op.DB.Now()
	for _, c := range known {
		for _, s := range c.Secrets {
			if c.Dead(now) == auth.ReasonNone && s.Live(now) && s.LastUse.Address.IsValid() {
				who := string(c.Kind) + " credential " + string(c.ID)
				all = append(all, seenAddress{Address: s.LastUse.Address, Who: who, At: utc(s.LastUse.At)})
			}
		}
	}
	return all, nil
}

// judged says of each address whether a list lets it in.
func judged(all []seenAddress, list []auth.AllowEntry, now time.Time) []seenAddress {
	compiled := limit.NewAllowlist(list)
	judged := []seenAddress{}
	for _, seen := range all {
		seen.Allowed = compiled.Allows(seen.Address, now)
		judged = append(judged, seen)
	}
	return judged
}

type accountRemoveIP struct {
	ID            accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	CIDR          []prefix  `arg:"" name:"cidr" help:"Entries of the list, as \"account show\" prints them."`
	AllowEveryone bool      `help:"Take the last entry off too, and open the account to every address."`
	printed
}

func (accountRemoveIP) Help() string {
	return `Whoever came from there is shut out at once, tokens already out included. An entry that has expired lets nobody in, but while it is there the account is not open to everyone.

    gatehouse account remove-ip 100001 198.51.100.7
    gatehouse account remove-ip 100001 203.0.113.0/24 --allow-everyone`
}

func (c *accountRemoveIP) Run(sh *shell) error {
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.ID)
	if err != nil {
		return err
	}
	d, err := op.Registry.RemoveIP(sh.ctx, actor(), a.ID, plain(c.CIDR), c.AllowEveryone)
	if err != nil {
		return err
	}
	sh.done(op, d)
	if a, err = sh.account(op, accountID(a.ID.String())); err != nil {
		return err
	}
	return sh.showAccount(a, c.JSON)
}
