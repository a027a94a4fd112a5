package dashboard

import (
	"github.com/gatehouse/gatehouse/internal/registry"
)

// operatorRoutes are the pages of operators alone.
func operatorRoutes() []route {
	return []route{
		{Operators, get, "/", "", false, (*Dashboard).start},
		{Operators, get, "/ending", registry.ReadCredentials, false, (*Dashboard).endingSoon},
		{Operators, get, "/accounts", registry.ReadAccounts, false, (*Dashboard).accounts},
		{Operators, get, "/accounts/new", registry.CreateAccount, false, (*Dashboard).newAccount},
		{Operators, post, "/accounts/new", registry.CreateAccount, false, (*Dashboard).createAccount},
		{Operators, get, "/accounts/{account}", registry.ReadAccounts, false, (*Dashboard).overview},
		{Operators, get, "/accounts/{account}/edit", registry.RenameAccount, false, (*Dashboard).editAccount},
		{Operators, post, "/accounts/{account}/edit", registry.RenameAccount, false, (*Dashboard).renameAccount},
		{Operators, get, "/accounts/{account}/limit", registry.LimitAccount, false, (*Dashboard).askLimit},
		{Operators, post, "/accounts/{account}/limit", registry.LimitAccount, false, (*Dashboard).limitAccount},
		{Operators, get, "/accounts/{account}/suspend", registry.Suspend, false, (*Dashboard).askSuspend},
		{Operators, post, "/accounts/{account}/suspend", registry.Suspend, false, (*Dashboard).suspend},
		{Operators, get, "/accounts/{account}/resume", registry.Resume, false, (*Dashboard).askResume},
		{Operators, post, "/accounts/{account}/resume", registry.Resume, false, (*Dashboard).resume},
		{Operators, get, "/accounts/{account}/delete", registry.DeleteAccount, false, (*Dashboard).askDelete},
		{Operators, post, "/accounts/{account}/delete", registry.DeleteAccount, false, (*Dashboard).deleteAccount},
		{Operators, get, "/signing-keys", registry.ReadKeys, false, (*Dashboard).signingKeys},
		{Operators, get, "/signing-keys/rotate", registry.RotateKey, false, (*Dashboard).askRotateKey},
		{Operators, post, "/signing-keys/rotate", registry.RotateKey, false, (*Dashboard).rotateKey},
		{Operators, get, "/signing-keys/{key}/revoke", registry.RevokeKey, false, (*Dashboard).askRevokeKey},
		{Operators, post, "/signing-keys/{key}/revoke", registry.RevokeKey, false, (*Dashboard).revokeKey},
	}
}
