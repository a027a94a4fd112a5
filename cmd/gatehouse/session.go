package main

import (
	"strconv"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

type sessions struct {
	List   sessionList   `cmd:"" help:"List an account's sessions."`
	Revoke sessionRevoke `cmd:"" help:"End a session and every token that came of it."`
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
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	id, err := sh.account(o, c.Account)
	if err != nil {
		return err
	}
	all, err := whole(func(r api.Range) (api.Page[api.Session], error) {
		return o.Sessions(sh.ctx, api.SessionQuery{Account: int64(id), All: c.All, Range: r})
	})
	if err != nil {
		return err
	}
	none := "account " + id.String() + " has no live session"
	heading := []string{"SESSION", "CREDENTIAL", "STATUS", "LOGIN", "REFRESHED", "GOOD UNTIL", "FROM", "BY"}
	return showList(sh, all, c.JSON, none, heading, func(s api.Session) []string {
		refreshed := "never"
		if s.Refreshes > 0 {
			refreshed = stamp(s.RefreshedAt) + ", " + count(int(s.Refreshes), "time", "times")
		}
		status := s.Status
		if status == "ended" {
			status += " (" + s.EndedBecause + ")"
		}
		return []string{s.ID, s.Credential, status, stamp(s.StartedAt), refreshed, stamp(s.ExpiresAt), s.Address, s.UserAgent}
	})
}

type sessionRevoke struct {
	ID string `arg:"" help:"The session's id: \"session list\" shows it, and it is the claim sid of every token."`
	printed
}

func (sessionRevoke) Help() string {
	return `    gatehouse session revoke 7hJ2kL9mN4pQ6rS8tU0vWx`
}

func (c *sessionRevoke) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	ended, err := o.RevokeSession(sh.ctx, auth.SessionID(c.ID))
	if err != nil {
		return err
	}
	return sh.showRevoked(o, ended, c.JSON)
}

// showRevoked tells that a session was ended.
func (sh *shell) showRevoked(o *visit, ended api.SessionRevoked, forProgram bool) error {
	sh.settle(o, &ended.Confirmed)
	if forProgram {
		return sh.json(ended)
	}
	of := ""
	if ended.Account != 0 {
		of = " of account " + strconv.FormatInt(ended.Account, 10)
	}
	return sh.printf("session %s%s is over, and every token that came of it is dead\n", clean(ended.Session), of)
}
