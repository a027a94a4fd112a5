package dashboard

import (
	"cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// mainPages is the way to the main pages, in the order of the navigation.
var mainPages = []struct {
	side  Side
	path  string
	text  string
	needs registry.Action
}{
	{both, "/", "Start", ""},
	{Operators, "/accounts", "Accounts", registry.ReadAccounts},
	{Members, "/credentials", "Credentials", registry.ReadCredentials},
	{Members, "/sessions", "Sessions", registry.ReadSessions},
	{Members, "/allowlist", "Allowlist", registry.ReadAccounts},
	{Members, "/usage", "Usage", registry.ReadUsage},
	{both, "/refusals", "Refusals", registry.ReadRefusals},
	{Members, "/people", "People", registry.ReadMembers},
	{Operators, "/operators", "Operators", registry.ReadOperators},
	{both, "/audit", "Audit trail", registry.ReadAudit},
	{Members, "/start", "Get started", registry.ReadCredentials},
	{Operators, "/signing-keys", "Signing keys", registry.ReadKeys},
	{Operators, "/tokens", "Tokens", registry.ReadTokens},
}

// accountPages are those of one account that its other pages lead to.
var accountPages = []struct {
	path, text string
	needs      registry.Action
}{
	{"", "Overview", registry.ReadAccounts},
	{"/credentials", "Credentials", registry.ReadCredentials},
	{"/sessions", "Sessions", registry.ReadSessions},
	{"/allowlist", "Allowlist", registry.ReadAccounts},
	{"/usage", "Usage", registry.ReadUsage},
	{"/refusals", "Refusals", registry.ReadRefusals},
	{"/people", "People", registry.ReadMembers},
	{"/audit", "Audit trail", registry.ReadAudit},
	{"/start", "Get started", registry.ReadCredentials},
}

// accountRoutes are the pages of an account, for operators and for its members alike.
func accountRoutes() []route {
	return []route{
		{both, get, "=/credentials", registry.ReadCredentials, false, (*Dashboard).credentials},
		{both, get, "=/credentials/new", registry.CreateCredential, false, (*Dashboard).newCredential},
		{both, post, "=/credentials/new", registry.CreateCredential, false, once((*Dashboard).newCredential, (*Dashboard).createCredential, func(v *visit) string { return v.toCredentials().To })},
		{both, get, "=/credentials/{credential}", registry.ReadCredentials, false, (*Dashboard).credential},
		{both, get, "=/credentials/{credential}/edit", registry.UpdateCredential, false, (*Dashboard).editCredential},
		{both, post, "=/credentials/{credential}/edit", registry.UpdateCredential, false, (*Dashboard).updateCredential},
		{both, get, "=/credentials/{credential}/rotate", registry.Rotate, false, (*Dashboard).askRotate},
		{both, post, "=/credentials/{credential}/rotate", registry.Rotate, false, once((*Dashboard).askRotate, (*Dashboard).rotate, func(v *visit) string {
			return v.toCredentials().To + "/" + v.r.PathValue("credential")
		})},
		{both, get, "=/credentials/{credential}/finish", registry.FinishRotation, false, (*Dashboard).askFinish},
		{both, post, "=/credentials/{credential}/finish", registry.FinishRotation, false, (*Dashboard).finish},
		{both, get, "=/credentials/{credential}/undo", registry.UndoRotation, false, (*Dashboard).askUndo},
		{both, post, "=/credentials/{credential}/undo", registry.UndoRotation, false, (*Dashboard).undo},
		{both, get, "=/credentials/{credential}/revoke", registry.RevokeCredential, false, (*Dashboard).askRevoke},
		{both, post, "=/credentials/{credential}/revoke", registry.RevokeCredential, false, (*Dashboard).revoke},
		{both, get, "=/sessions", registry.ReadSessions, false, (*Dashboard).sessions},
		{both, get, "=/sessions/{session}/revoke", registry.RevokeSession, false, (*Dashboard).askEndSession},
		{both, post, "=/sessions/{session}/revoke", registry.RevokeSession, false, (*Dashboard).endSession},
	}
}

// Tabs lead operators to the pages of an account; members have them in the navigation.
func (v *visit) Tabs() []link {
	if v.d.Side == Members || v.account() == 0 {
		return nil
	}
	var links []link
	for _, one := range accountPages {
		if v.Can(string(one.needs)) {
			to := v.Base() + one.path
			links = append(links, link{To: to, Text: one.text, Here: isUnder(v.r.URL.Path, to, one.path != "")})
		}
	}
	return links
}

// isUnder says whether at is a page, or if deep one below it.
func isUnder(at, page string, deep bool) bool {
	return at == page || deep && len(at) > len(page) && at[:len(page)+1] == page+"/"
}

// loadAccount reads the account that the page is of.
func (v *visit) loadAccount() (auth.Account, error) {
	a, err := v.d.Registry.Account(v.r.Context(), v.actor, v.account().String())
	v.of = a.Name
	return a, err
}

// trail leads from a page of an account back to where it hangs. For members, and on a page of no account, that is nowhere.
func (v *visit) trail(more ...link) []link {
	if v.d.Side == Members || v.account() == 0 {
		return more
	}
	if v.of == "" {
		_, _ = v.loadAccount() // of one that cannot be read, the number leads back
	}
	first := []link{{To: Root + "/accounts", Text: "Accounts"}, {To: v.Base(), Text: cmp.Or(v.of, v.account().String())}}
	return append(first, more...)
}
