package dashboard

import (
	"strconv"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// accounts lists them, or those that a search finds.
func (d *Dashboard) accounts(v *visit) error {
	after, err := v.after("accounts")
	if err != nil {
		return err
	}
	q := auth.AccountQuery{Search: v.query("q"), Status: v.query("status"), Most: perPage + 1}
	if after != "" {
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return err
		}
		q.After = auth.AccountID(n)
	}
	found, err := d.Registry.Accounts(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	v.form.Fill("q", q.Search)
	v.form.Fill("status", q.Status)
	return v.page("accounts", "Accounts", accountsPage{
		paged(v, "accounts", found, func(a *auth.Account) string { return a.ID.String() }), q.Search != "" || q.Status != "", accountStates,
	})
}

// An accountsPage is a page of accounts.
type accountsPage struct {
	list[auth.Account]
	Searched bool
	States   []Option
}

var accountStates = []Option{{Text: "Any"}, {Value: "active", Text: "Active"}, {Value: "suspended", Text: "Suspended"}}

func (d *Dashboard) newAccount(v *visit) error {
	return v.page("account-new", "New account", nil, link{To: Root + "/accounts", Text: "Accounts"})
}

func (d *Dashboard) createAccount(v *visit) error {
	a, err := d.Registry.CreateAccount(v.r.Context(), v.actor, v.form.Get("name"), v.form.Get("ref"))
	if err != nil {
		return v.refused(err, "", (*Dashboard).newAccount)
	}
	return v.done("/accounts/"+a.ID.String(), "The account "+a.ID.String()+" was created.")
}

// overview shows one account.
func (d *Dashboard) overview(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	return v.page("account", a.Name, accountPage{a, v.Base()}, link{To: Root + "/accounts", Text: "Accounts"})
}

// An accountPage is what there is to say of an account.
type accountPage struct {
	auth.Account
	Here string
}

// toAccounts and toAccount lead back from the pages of one account.
var toAccounts = link{To: Root + "/accounts", Text: "Accounts"}

func toAccount(a auth.Account) link {
	return link{To: Root + "/accounts/" + a.ID.String(), Text: a.Name}
}

// editAccount shows what an account is called.
func (d *Dashboard) editAccount(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	v.form.Fill("name", a.Name)
	v.form.Fill("ref", a.Ref)
	return v.page("account-edit", "Rename "+a.Name, toAccount(a), toAccounts, toAccount(a))
}

func (d *Dashboard) renameAccount(v *visit) error {
	ref := v.form.Get("ref")
	done, err := d.Registry.RenameAccount(v.r.Context(), v.actor, v.account(), v.form.Get("name"), &ref)
	if err != nil {
		return v.refused(err, "", (*Dashboard).editAccount)
	}
	return v.done(v.Base(), "The account was renamed."+late(done))
}

// askLimit asks how often the account may call.
func (d *Dashboard) askLimit(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	if !a.Requests.None() {
		v.form.Fill("rate", a.Requests.String())
	}
	return v.ask("Limit "+a.Name, Ask{
		Lead:   "How often the account may call through routes, all its programs together. It acts on every server within a second.",
		Fields: []Field{v.form.Text("rate", "Calls", "As 10/s, 600/min, 100/h or 5000/d. Empty: the limit that is configured for everybody.")},
		Button: "Save", Back: v.Base(),
	}, toAccounts, toAccount(a))
}

func (d *Dashboard) limitAccount(v *visit) error {
	var rate auth.Rate
	if text := v.form.Get("rate"); text != "" {
		var err error
		if rate, err = auth.ParseRate(text); err != nil {
			return v.refused(auth.ErrInvalid.Saying(err.Error()), "rate", (*Dashboard).askLimit)
		}
	}
	done, err := d.Registry.LimitAccount(v.r.Context(), v.actor, v.account(), rate)
	if err != nil {
		return v.refused(err, "rate", (*Dashboard).askLimit)
	}
	return v.done(v.Base(), "The limit was changed."+late(done))
}

// askSuspend asks whether the account is to be shut out.
func (d *Dashboard) askSuspend(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	return v.ask("Suspend "+a.Name, Ask{
		Lead:   "Everything of the account is refused at once: its credentials, its tokens, its sessions, and its members at their dashboard. Resuming gives back what has not expired by then.",
		Fields: []Field{v.form.Check("revoke", "Kill its tokens and sessions for good", "Then resuming gives back the credentials alone.")},
		Button: "Suspend the account", Danger: true, Back: v.Base(),
	}, toAccounts, toAccount(a))
}

func (d *Dashboard) suspend(v *visit) error {
	done, err := d.Registry.SuspendAccount(v.r.Context(), v.actor, v.account(), v.form.Has("revoke"))
	if err != nil {
		return v.refused(err, "", (*Dashboard).askSuspend)
	}
	return v.done(v.Base(), "The account is suspended."+late(done))
}

// askResume asks whether a suspension is to end.
func (d *Dashboard) askResume(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	return v.ask("Resume "+a.Name, Ask{
		Lead: "The account may do again what it could before, with everything that has not expired since.", Button: "Resume the account", Back: v.Base(),
	}, toAccounts, toAccount(a))
}

func (d *Dashboard) resume(v *visit) error {
	done, err := d.Registry.ResumeAccount(v.r.Context(), v.actor, v.account())
	if err != nil {
		return v.refused(err, "", (*Dashboard).askResume)
	}
	return v.done(v.Base(), "The account is active again."+late(done))
}

// askDelete asks for the account's number, so that nobody deletes the wrong one.
func (d *Dashboard) askDelete(v *visit) error {
	a, err := v.loadAccount()
	if err != nil {
		return err
	}
	return v.ask("Delete "+a.Name, Ask{
		Lead:    "Everything of the account ends for good: credentials, tokens, sessions, members. Its number is never used again.",
		Warning: "This cannot be undone. To shut the account out for a time, suspend it.",
		Fields:  []Field{v.form.Text("number", "The account's number", "Type "+a.ID.String()+" to say that you mean it.").Need()},
		Button:  "Delete the account", Danger: true, Back: v.Base(),
	}, toAccounts, toAccount(a))
}

func (d *Dashboard) deleteAccount(v *visit) error {
	if v.form.Get("number") != v.account().String() {
		return v.refused(auth.ErrInvalid.Saying("This is not the number of the account"), "number", (*Dashboard).askDelete)
	}
	done, err := d.Registry.DeleteAccount(v.r.Context(), v.actor, v.account())
	if err != nil {
		return v.refused(err, "", (*Dashboard).askDelete)
	}
	return v.done(toAccounts.To, "The account "+v.account().String()+" was deleted."+late(done))
}
