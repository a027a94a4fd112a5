package dashboard

import (
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// operatorRoutes are the pages of operators alone.
func operatorRoutes() []route {
	return []route{
		{Operators, get, "/", "", false, (*Dashboard).start},
		{Operators, get, "/accounts", registry.ReadAccounts, false, (*Dashboard).accounts},
		{Operators, get, "/accounts/new", registry.CreateAccount, false, (*Dashboard).newAccount},
		{Operators, post, "/accounts/new", registry.CreateAccount, false, (*Dashboard).createAccount},
		{Operators, get, "/accounts/{account}", registry.ReadAccounts, false, (*Dashboard).overview},
		{Operators, get, "/signing-keys", registry.ReadKeys, false, (*Dashboard).signingKeys},
		{Operators, get, "/signing-keys/rotate", registry.RotateKey, false, (*Dashboard).askRotateKey},
		{Operators, post, "/signing-keys/rotate", registry.RotateKey, false, (*Dashboard).rotateKey},
		{Operators, get, "/signing-keys/{key}/revoke", registry.RevokeKey, false, (*Dashboard).askRevokeKey},
		{Operators, post, "/signing-keys/{key}/revoke", registry.RevokeKey, false, (*Dashboard).revokeKey},
	}
}

// start is what operators see first.
func (d *Dashboard) start(v *visit) error { return d.accounts(v) }

// accounts lists them.
func (d *Dashboard) accounts(v *visit) error {
	found, err := d.Registry.Accounts(v.r.Context(), v.actor)
	if err != nil {
		return err
	}
	return v.page("accounts", "Accounts", found)
}

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
