package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

type sessions struct {
	List   sessionList   `cmd:"" help:"List an account's sessions."`
	Revoke sessionRevoke `cmd:"" help:"End a session and every token that came of it."`
}

type sessionJSON struct {
	ID           auth.SessionID    `json:"id"`
	Account      auth.AccountID    `json:"account"`
	Credential   auth.CredentialID `json:"credential"`
	Secret       int               `json:"secret"`
	Status       string            `json:"status"`
	Refreshes    int64             `json:"refreshes"`
	Scopes       []string          `json:"scopes"`
	StartedAt    utc               `json:"started_at"`
	RefreshedAt  utc               `json:"refreshed_at"`
	ExpiresAt    utc               `json:"expires_at"`
	EndedAt      utc               `json:"ended_at,omitzero"`
	EndedBecause string            `json:"ended_because,omitempty"`
	Address      string            `json:"address,omitempty"`
	UserAgent    string            `json:"user_agent,omitempty"`
}

type sessionList struct {
	Account accountID `required:"" placeholder:"ID" help:"Whose: the account's number, or ref:REFERENCE."`
	All     bool      `help:"Those that are over too, as far as they are remembered."`
	printed
}

func (sessionList) Help() string {
	return `Sessions are what logins of contract 3 start. Tokens of the other contracts have none to list; "token revoke" ends those.

    gatehouse session list --account 100001`
}

func (c *sessionList) Run(sh *shell) error {
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.Account)
	if err != nil {
		return err
	}
	live, err := op.Registry.Sessions(sh.ctx, actor(), a.ID, true)
	if err != nil {
		return err
	}
	alive := map[auth.SessionID]bool{}
	for _, s := range live {
		alive[s.ID] = true
	}
	all := live
	if c.All {
		if all, err = op.Registry.Sessions(sh.ctx, actor(), a.ID, false); err != nil {
			return err
		}
	}
	now := op.DB.Now()
	if c.JSON {
		list := []sessionJSON{}
		for _, s := range all {
			list = append(list, sessionForPrograms(s, sessionStatus(s, alive[s.ID], now)))
		}
		return sh.json(list)
	}
	if len(all) == 0 {
		sh.note("account %d has no live session", a.ID)
		return nil
	}
	rows := [][]string{{"SESSION", "CREDENTIAL", "STATUS", "LOGIN", "REFRESHED", "GOOD UNTIL", "FROM", "BY"}}
	for _, s := range all {
		refreshed := "never"
		if s.Generation > 0 {
			refreshed = stamp(s.RotatedAt) + ", " + count(int(s.Generation), "time", "times")
		}
		from := ""
		if s.Address.IsValid() {
			from = s.Address.String()
		}
		rows = append(rows, []string{
			string(s.ID), string(s.Credential), sessionStatus(s, alive[s.ID], now), stamp(s.StartedAt), refreshed, stamp(s.Expires), from, s.UserAgent,
		})
	}
	return sh.table(rows)
}

// sessionStatus is live, or why it is not.
func sessionStatus(s auth.Session, live bool, now time.Time) string {
	switch {
	case live:
		return "live"
	case !s.EndedAt.IsZero():
		return "ended (" + s.EndedBecause + ")"
	case !now.Before(s.Expires):
		return "expired"
	}
	return "dead" // with its account, its credential, or by a logout
}

func sessionForPrograms(s auth.Session, status string) sessionJSON {
	status, _, _ = strings.Cut(status, " ")
	j := sessionJSON{
		ID: s.ID, Account: s.Account, Credential: s.Credential, Secret: s.Secret, Status: status, Refreshes: s.Generation,
		Scopes: append([]string{}, strings.Fields(s.Scope)...), StartedAt: utc(s.StartedAt), RefreshedAt: utc(s.RotatedAt),
		ExpiresAt: utc(s.Expires), EndedAt: utc(s.EndedAt), EndedBecause: s.EndedBecause, UserAgent: s.UserAgent,
	}
	if s.Address.IsValid() {
		j.Address = s.Address.String()
	}
	return j
}

type sessionRevoke struct {
	ID string `arg:"" help:"The session's id: \"session list\" shows it, and it is the claim sid of every token."`
	printed
}

func (sessionRevoke) Help() string {
	return `    gatehouse session revoke 7hJ2kL9mN4pQ6rS8tU0vWx`
}

func (c *sessionRevoke) Run(sh *shell) error {
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	d, err := op.Registry.RevokeSession(sh.ctx, actor(), auth.SessionID(c.ID), 0)
	if err != nil {
		return err
	}
	sh.done(op, d)
	return sh.revoked(c.JSON, auth.SessionID(c.ID), 0)
}

// revoked tells that a session was ended.
func (sh *shell) revoked(forProgram bool, id auth.SessionID, account auth.AccountID) error {
	if forProgram {
		return sh.json(struct {
			Session auth.SessionID `json:"session"`
			Account auth.AccountID `json:"account,omitempty"`
			Revoked bool           `json:"revoked"`
		}{id, account, true})
	}
	of := ""
	if account != 0 {
		of = " of account " + strconv.FormatInt(int64(account), 10)
	}
	return sh.printf("session %s%s is over, and every token that came of it is dead\n", clean(string(id)), of)
}
