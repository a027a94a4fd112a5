package dashboard

import (
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// tokenRoutes are the pages of the tokens that open the admin API to programs.
func tokenRoutes() []route {
	return []route{
		{Operators, get, "/tokens", registry.ReadTokens, false, (*Dashboard).tokens},
		{Operators, get, "/tokens/new", registry.CreateToken, false, (*Dashboard).newToken},
		{Operators, post, "/tokens/new", registry.CreateToken, false, once((*Dashboard).newToken, (*Dashboard).createToken, func(*visit) string { return toTokens.To })},
		{Operators, get, "/tokens/{token}/revoke", registry.RevokeToken, false, (*Dashboard).askRevokeToken},
		{Operators, post, "/tokens/{token}/revoke", registry.RevokeToken, false, (*Dashboard).revokeToken},
	}
}

var toTokens = link{To: Root + "/tokens", Text: "Tokens of the admin API"}

// A tokenRow is a token as the list shows it.
type tokenRow struct {
	auth.OperatorToken
	State string
}

// tokens lists them, the youngest first.
func (d *Dashboard) tokens(v *visit) error {
	found, err := d.Registry.Tokens(v.r.Context(), v.actor, auth.OperatorTokenQuery{})
	if err != nil {
		return err
	}
	var rows []tokenRow
	for i := len(found) - 1; i >= 0; i-- {
		row := tokenRow{found[i], "live"}
		if dead := row.Dead(d.now()); dead != auth.ReasonNone {
			row.State = string(dead)
		}
		rows = append(rows, row)
	}
	return v.page("tokens", toTokens.Text, rows)
}

// operatorRoles are the choice of what a token may, the least mighty first: what is not looked at gives little.
var operatorRoles = []Option{
	{Value: string(auth.RoleViewer), Text: "Viewer", Hint: "Reads."},
	{Value: string(auth.RoleAdmin), Text: "Admin", Hint: "Looks after accounts and all that is theirs."},
	{Value: string(auth.RoleOwner), Text: "Owner", Hint: "Everything."},
}

// newToken asks what a token is to be able to do.
func (d *Dashboard) newToken(v *visit) error {
	return v.page("token-new", "New token", struct{ Roles, Scopes []Option }{operatorRoles, scopeOptions()}, toTokens)
}

func scopeOptions() []Option {
	var all []Option
	for _, s := range registry.Scopes() {
		all = append(all, Option{Value: "scope-" + s, Text: s})
	}
	return all
}

// createToken makes one, and shows it this once.
func (d *Dashboard) createToken(v *visit) error {
	expires, err := v.day("expires")
	if err != nil {
		return v.refused(err, "expires", (*Dashboard).newToken)
	}
	n := registry.NewToken{Name: v.form.Get("name"), Role: auth.Role(v.form.Get("role")), Expires: expires}
	for name, value := range v.form.sent {
		if scope, ok := strings.CutPrefix(name, "scope-"); ok && value != "" {
			n.Scopes = append(n.Scopes, scope)
		}
	}
	made, err := d.Registry.CreateToken(v.r.Context(), v.actor, n)
	if err != nil {
		return v.refused(err, "", (*Dashboard).newToken)
	}
	return v.page("token-issued", "Token created", struct{ Name, Label, Value, To string }{"secret", "token", made.Reveal(), toTokens.To}, toTokens)
}

// askRevokeToken asks whether a token is to end.
func (d *Dashboard) askRevokeToken(v *visit) error {
	return v.ask("Revoke a token", Ask{
		Lead: "The token " + v.r.PathValue("token") + " is refused from its next request on. This cannot be undone.", Button: "Revoke it", Danger: true, Back: toTokens.To,
	}, toTokens)
}

func (d *Dashboard) revokeToken(v *visit) error {
	if _, err := d.Registry.RevokeToken(v.r.Context(), v.actor, auth.OperatorTokenID(v.r.PathValue("token"))); err != nil {
		return v.refused(err, "", (*Dashboard).askRevokeToken)
	}
	return v.done(toTokens.To, "The token was revoked.")
}
