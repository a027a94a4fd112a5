package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/desk"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A route is one method at one path.
type route struct {
	method string
	path   string // below [Path]; what is in braces stands for a name
	// asks is the permission that whoever calls it needs.
	asks  registry.Action
	lists bool // by parameters of the query, which are read by whoever serves; the others have none
	takes bool // a body of JSON
	// repeats says that under an Idempotency-Key it is done once. What does not repeat is done as well once as twice, so a key says
	// nothing there; but what is done anew each time refuses it.
	repeats, anew bool
	serve         func(context.Context, *call) (answer, error)
	streams       func(*call, http.ResponseWriter) error // in the place of serve, for a long answer
	// expects are the terms on which what the route changes is as If-Match says; nil: there is nothing to compare.
	expects func(is func(any) bool) desk.Terms
}

// routes is every address of the API but the document's.
func routes() []*route {
	const (
		get, post, patch, put, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete

		account    = "/accounts/{account}"
		credential = "/credentials/{credential}"
		member     = account + "/members/{person}"
		operator   = "/operators/{person}"
		token      = "/operator-tokens/{token}"
		key        = "/signing-keys/{key}"
	)
	return []*route{
		{method: get, path: "/accounts", asks: registry.ReadAccounts, lists: true, serve: listAccounts},
		{method: post, path: "/accounts", asks: registry.CreateAccount, takes: true, repeats: true, serve: createAccount},
		{method: get, path: account, asks: registry.ReadAccounts, serve: showAccount},
		{method: patch, path: account, asks: registry.RenameAccount, takes: true, serve: updateAccount, expects: anAccount},
		{method: del, path: account, asks: registry.DeleteAccount, serve: deleteAccount, expects: anAccount},
		{method: post, path: account + "/suspend", asks: registry.Suspend, takes: true, serve: suspendAccount, expects: anAccount},
		{method: post, path: account + "/resume", asks: registry.Resume, takes: true, serve: resumeAccount, expects: anAccount},
		{method: put, path: account + "/limit", asks: registry.LimitAccount, takes: true, serve: limitAccount, expects: anAccount},
		{method: get, path: account + "/allowlist", asks: registry.ReadAccounts, serve: showAllowlist},
		{method: put, path: account + "/allowlist", asks: registry.AllowIP, takes: true, repeats: true, serve: replaceAllowlist, expects: anAllowlist},
		{method: post, path: account + "/allowlist/add", asks: registry.AllowIP, takes: true, serve: allow, expects: anAllowlist},
		{method: post, path: account + "/allowlist/remove", asks: registry.RemoveIP, takes: true, serve: disallow, expects: anAllowlist},
		{method: get, path: account + "/sessions", asks: registry.ReadSessions, lists: true, serve: listSessions},
		{method: get, path: account + "/usage", asks: registry.ReadUsage, lists: true, serve: usage},

		{method: get, path: "/credentials", asks: registry.ReadCredentials, lists: true, serve: listCredentials},
		{method: post, path: "/credentials", asks: registry.CreateCredential, takes: true, repeats: true, serve: createCredential},
		{method: post, path: "/credentials/find", asks: registry.ReadCredentials, takes: true, serve: findCredential},
		{method: get, path: credential, asks: registry.ReadCredentials, serve: showCredential},
		{method: patch, path: credential, asks: registry.UpdateCredential, takes: true, serve: updateCredential, expects: aCredential},
		{method: post, path: credential + "/rotate", asks: registry.Rotate, takes: true, repeats: true, serve: rotate, expects: aCredential},
		{method: post, path: credential + "/finish", asks: registry.FinishRotation, takes: true, serve: finish, expects: aCredential},
		{method: post, path: credential + "/undo", asks: registry.UndoRotation, takes: true, serve: undo, expects: aCredential},
		{method: post, path: credential + "/revoke", asks: registry.RevokeCredential, takes: true, serve: revokeCredential, expects: aCredential},

		{method: get, path: account + "/members", asks: registry.ReadMembers, lists: true, serve: listMembers},
		{method: post, path: account + "/members", asks: registry.InviteMember, takes: true, repeats: true, serve: inviteMember},
		{method: get, path: member, asks: registry.ReadMembers, serve: showMember},
		{method: patch, path: member, asks: registry.MemberRole, takes: true, serve: memberRole, expects: aPerson},
		{method: del, path: member, asks: registry.RemoveMember, serve: removeMember, expects: aPerson},
		{method: post, path: member + "/reset", asks: registry.ResetMember, takes: true, repeats: true, serve: resetMember, expects: aPerson},
		{method: get, path: "/operators", asks: registry.ReadOperators, lists: true, serve: listOperators},
		{method: post, path: "/operators", asks: registry.InviteOperator, takes: true, repeats: true, serve: inviteOperator},
		{method: get, path: operator, asks: registry.ReadOperators, serve: showOperator},
		{method: patch, path: operator, asks: registry.OperatorRole, takes: true, serve: operatorRole, expects: aPerson},
		{method: del, path: operator, asks: registry.RemoveOperator, serve: removeOperator, expects: aPerson},
		{method: post, path: operator + "/reset", asks: registry.ResetOperator, takes: true, repeats: true, serve: resetOperator, expects: aPerson},
		{method: get, path: "/operator-tokens", asks: registry.ReadTokens, lists: true, serve: listTokens},
		{method: post, path: "/operator-tokens", asks: registry.CreateToken, takes: true, repeats: true, serve: createToken},
		{method: get, path: token, asks: registry.ReadTokens, serve: showToken},
		{method: post, path: token + "/revoke", asks: registry.RevokeToken, takes: true, serve: revokeOperatorToken, expects: aToken},

		{method: post, path: "/sessions/{session}/revoke", asks: registry.RevokeSession, takes: true, serve: revokeSession},

		{method: post, path: "/tokens/inspect", asks: registry.ReadSessions, takes: true, serve: inspect},
		{method: post, path: "/tokens/revoke", asks: registry.RevokeSession, takes: true, serve: revokeToken},

		{method: get, path: "/signing-keys", asks: registry.ReadKeys, serve: listKeys},
		{method: post, path: "/signing-keys", asks: registry.RotateKey, takes: true, repeats: true, serve: rotateKey},
		{method: get, path: key, asks: registry.ReadKeys, serve: showKey},
		{method: post, path: key + "/revoke", asks: registry.RevokeKey, takes: true, serve: revokeKey, expects: aKey},

		{method: get, path: "/webhooks", asks: registry.ReadWebhooks, serve: listWebhooks},
		{method: post, path: "/webhooks/{webhook}/test", asks: registry.TestWebhook, takes: true, anew: true, serve: testWebhook},

		{method: get, path: "/refusals", asks: registry.ReadRefusals, lists: true, serve: listRefusals},
		{method: get, path: "/audit", asks: registry.ReadAudit, lists: true, serve: listAudit},
		{method: get, path: "/audit/export", asks: registry.ReadAudit, streams: exportAudit},
		{method: get, path: "/refusals/{request}", asks: registry.ReadRefusals, serve: explain},
	}
}

// find finds the route that the call is for, and what is named in its path. What is at no path of ours is 404, and another method
// 405.
func (c *call) find() error {
	path := strings.TrimPrefix(c.Path, Path)
	var allow []string
	for _, r := range c.c.routes {
		named, ok := match(r.path, path)
		if !ok {
			continue
		}
		if r.method == c.Method {
			c.route, c.named, c.second = r, named[0], named[1]
			return nil
		}
		if !slices.Contains(allow, r.method) {
			allow = append(allow, r.method)
		}
	}
	if len(allow) == 0 {
		return &web.StatusError{Status: http.StatusNotFound}
	}
	slices.Sort(allow)
	return &web.StatusError{Status: http.StatusMethodNotAllowed, Allow: strings.Join(allow, ", ")}
}

// match says whether path is one that the pattern stands for, and what it names: letters, digits, - and _. "find" is no name.
func match(pattern, path string) (named [2]string, ok bool) {
	n := 0
	for {
		want, restOfPattern, more := strings.Cut(pattern, "/")
		got, restOfPath, moreGot := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(want, "{"):
			if got == "" || got == "find" || strings.ContainsFunc(got, notInNames) {
				return named, false
			}
			named[n] = got
			n++
		case want != got:
			return named, false
		}
		if !more || !moreGot {
			return named, more == moreGot
		}
		pattern, path = restOfPattern, restOfPath
	}
}

func notInNames(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
}

// read reads the call's body.
func read[T any](c *call) (T, error) {
	var t T
	if c.body == "" {
		return t, nil
	}
	err := web.Strict(c.body, &t)
	return t, err
}

// empty refuses a body that says something, where there is nothing to be said.
func (c *call) empty() error {
	_, err := read[struct{}](c)
	return err
}

// account is the account that the path names.
func (c *call) account() (auth.AccountID, error) {
	n, err := strconv.ParseInt(c.named, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != c.named {
		return 0, auth.ErrNotFound.Saying("an account is named by its number here; GET " + Path + "/accounts?ref=… finds it by your reference")
	}
	return auth.AccountID(n), nil
}

// credential is the credential that the path names, by its id or by what its holder sends.
func (c *call) credential(ctx context.Context) (auth.CredentialID, error) {
	found, err := c.desk.Credential(ctx, c.named)
	return auth.CredentialID(found.ID), err
}

func told[T any](v T, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{value: v}, nil
}

// made is told for what was made, and is at a path of its own, below [Path], if that is not "".
func made[T any](v T, location string, err error) (answer, error) {
	a, err := told(v, err)
	a.status, a.location = http.StatusCreated, location
	return a, err
}

func anAccount(is func(any) bool) desk.Terms {
	return desk.Terms{Account: func(a api.Account) bool { return is(a) }}
}

func anAllowlist(is func(any) bool) desk.Terms {
	return desk.Terms{Allowlist: func(l api.Allowlist) bool { return is(l) }}
}

func aCredential(is func(any) bool) desk.Terms {
	return desk.Terms{Credential: func(c api.Credential) bool { return is(c) }}
}

func aPerson(is func(any) bool) desk.Terms {
	return desk.Terms{Person: func(p api.Person) bool { return is(p) }}
}

func aToken(is func(any) bool) desk.Terms {
	return desk.Terms{Token: func(t api.OperatorToken) bool { return is(t) }}
}

func aKey(is func(any) bool) desk.Terms {
	return desk.Terms{Key: func(k api.SigningKey) bool { return is(k) }}
}

func listAccounts(ctx context.Context, c *call) (answer, error) {
	q := c.query("search", "ref", "status", "after", "limit")
	asked := api.AccountQuery{Search: q.get("search"), Ref: q.get("ref"), Status: q.get("status"), Range: c.part(q)}
	if asked.Status != "" && asked.Status != "active" && asked.Status != "suspended" {
		q.wrong("status is active or suspended")
	}
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.Accounts(ctx, asked)
	return listed(c, found, err)
}

func createAccount(ctx context.Context, c *call) (answer, error) {
	n, err := read[api.NewAccount](c)
	if err != nil {
		return answer{}, err
	}
	a, err := c.desk.CreateAccount(ctx, n)
	return made(a, "/accounts/"+strconv.FormatInt(a.ID, 10), err)
}

func showAccount(ctx context.Context, c *call) (answer, error) {
	id, err := c.account()
	if err != nil {
		return answer{}, err
	}
	return told(c.desk.Account(ctx, id.String()))
}

// onAccount reads a body about the account in the path, and does something with both.
func onAccount[B, T any](ctx context.Context, c *call, do func(context.Context, auth.AccountID, B) (T, error)) (answer, error) {
	id, err := c.account()
	if err != nil {
		return answer{}, err
	}
	body, err := read[B](c)
	if err != nil {
		return answer{}, err
	}
	return told(do(ctx, id, body))
}

func updateAccount(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, c.desk.UpdateAccount)
}

func suspendAccount(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, c.desk.SuspendAccount)
}

func limitAccount(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, c.desk.LimitAccount)
}

func allow(ctx context.Context, c *call) (answer, error) { return onAccount(ctx, c, c.desk.Allow) }

func disallow(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, c.desk.Disallow)
}

func replaceAllowlist(ctx context.Context, c *call) (answer, error) {
	said, err := onAccount(ctx, c, c.desk.ReplaceAllowlist)
	said.settled = true
	return said, err
}

func resumeAccount(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, func(ctx context.Context, id auth.AccountID, _ struct{}) (api.Account, error) {
		return c.desk.ResumeAccount(ctx, id)
	})
}

func deleteAccount(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, func(ctx context.Context, id auth.AccountID, _ struct{}) (api.Deleted, error) {
		return c.desk.DeleteAccount(ctx, id)
	})
}

func showAllowlist(ctx context.Context, c *call) (answer, error) {
	return onAccount(ctx, c, func(ctx context.Context, id auth.AccountID, _ struct{}) (api.Allowlist, error) {
		return c.desk.Allowlist(ctx, id)
	})
}

func listSessions(ctx context.Context, c *call) (answer, error) {
	id, err := c.account()
	if err != nil {
		return answer{}, err
	}
	q := c.query("all", "after", "limit")
	asked := api.SessionQuery{Account: int64(id), All: q.flag("all"), Range: c.part(q)}
	if q.err != nil {
		return answer{}, q.err
	}
	if err := c.desk.Known(ctx, id); err != nil {
		return answer{}, err
	}
	found, err := c.desk.Sessions(ctx, asked)
	return listed(c, found, err)
}

func usage(ctx context.Context, c *call) (answer, error) {
	id, err := c.account()
	if err != nil {
		return answer{}, err
	}
	q := c.query("since")
	since := q.moment("since")
	if q.err != nil {
		return answer{}, q.err
	}
	if err := c.desk.Known(ctx, id); err != nil {
		return answer{}, err
	}
	return told(c.desk.Usage(ctx, id, since))
}

func listCredentials(ctx context.Context, c *call) (answer, error) {
	q := c.query("account", "kind", "search", "live", "after", "limit")
	asked := api.CredentialQuery{
		Account: q.number("account"), Kind: q.get("kind"), Search: q.get("search"), Live: q.flag("live"), Range: c.part(q),
	}
	if asked.Kind != "" && auth.Kind(asked.Kind).Contract() == "" {
		q.wrong("kind is one of api-key, basic, login, oauth")
	}
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.Credentials(ctx, asked)
	return listed(c, found, err)
}

func createCredential(ctx context.Context, c *call) (answer, error) {
	n, err := read[api.NewCredential](c)
	if err != nil {
		return answer{}, err
	}
	i, err := c.desk.CreateCredential(ctx, n)
	return made(i, "/credentials/"+i.ID, err)
}

func findCredential(ctx context.Context, c *call) (answer, error) {
	text, err := read[api.Text](c)
	if err != nil {
		return answer{}, err
	}
	return told(c.desk.FindCredential(ctx, text.Text))
}

func showCredential(ctx context.Context, c *call) (answer, error) {
	return told(c.desk.Credential(ctx, c.named))
}

func updateCredential(ctx context.Context, c *call) (answer, error) {
	u, err := read[api.CredentialUpdate](c)
	if err != nil {
		return answer{}, err
	}
	return c.onCredential(ctx, func(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
		return c.desk.UpdateCredential(ctx, id, u)
	})
}

// onCredential does something with the credential that the path names.
func (c *call) onCredential(ctx context.Context, do func(context.Context, auth.CredentialID) (api.Credential, error)) (answer, error) {
	id, err := c.credential(ctx)
	if err != nil {
		return answer{}, err
	}
	return told(do(ctx, id))
}

// end is onCredential for what wants no body.
func (c *call) end(ctx context.Context, do func(context.Context, auth.CredentialID) (api.Credential, error)) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	return c.onCredential(ctx, do)
}

func rotate(ctx context.Context, c *call) (answer, error) {
	asked, err := read[api.Rotation](c)
	if err != nil {
		return answer{}, err
	}
	id, err := c.credential(ctx)
	if err != nil {
		return answer{}, err
	}
	said, err := told(c.desk.RotateCredential(ctx, id, asked))
	said.settled = true
	return said, err
}

func finish(ctx context.Context, c *call) (answer, error) { return c.end(ctx, c.desk.FinishRotation) }
func undo(ctx context.Context, c *call) (answer, error)   { return c.end(ctx, c.desk.UndoRotation) }

func revokeCredential(ctx context.Context, c *call) (answer, error) {
	return c.end(ctx, c.desk.RevokeCredential)
}

func revokeSession(ctx context.Context, c *call) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	return told(c.desk.RevokeSession(ctx, auth.SessionID(c.named)))
}

func inspect(ctx context.Context, c *call) (answer, error) {
	t, err := read[api.Token](c)
	if err != nil {
		return answer{}, err
	}
	return told(c.desk.InspectToken(ctx, t))
}

func revokeToken(ctx context.Context, c *call) (answer, error) {
	t, err := read[api.Token](c)
	if err != nil {
		return answer{}, err
	}
	if t.Address != "" {
		return answer{}, auth.ErrInvalid.Saying("a token is revoked wherever it is: leave out address")
	}
	return told(c.desk.RevokeToken(ctx, t.Token))
}

func listKeys(ctx context.Context, c *call) (answer, error) { return told(c.desk.SigningKeys(ctx)) }

func rotateKey(ctx context.Context, c *call) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	k, err := c.desk.RotateSigningKey(ctx)
	return made(k, "/signing-keys/"+k.ID, err)
}

func showKey(ctx context.Context, c *call) (answer, error) {
	return told(c.desk.SigningKey(ctx, auth.KeyID(c.named)))
}

func revokeKey(ctx context.Context, c *call) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	return told(c.desk.RevokeSigningKey(ctx, auth.KeyID(c.named)))
}

func listRefusals(ctx context.Context, c *call) (answer, error) {
	q := c.query("account", "credential", "address", "since", "after", "limit")
	asked := api.RefusalQuery{
		Account: q.number("account"), Credential: q.get("credential"), Address: q.address("address"), Since: q.moment("since"), Range: c.part(q),
	}
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.Refusals(ctx, asked)
	return listed(c, found, err)
}

func explain(ctx context.Context, c *call) (answer, error) { return told(c.desk.Explain(ctx, c.named)) }

func listAudit(ctx context.Context, c *call) (answer, error) {
	q := c.query("account", "credential", "person", "action", "since", "until", "after", "limit")
	asked := api.AuditQuery{
		Account: q.number("account"), Credential: q.get("credential"), Person: q.get("person"), Action: q.get("action"),
		Since: q.moment("since"), Until: q.moment("until"), Range: c.part(q),
	}
	if q.err != nil {
		return answer{}, q.err
	}
	found, err := c.desk.Audit(ctx, asked)
	return listed(c, found, err)
}

func listWebhooks(ctx context.Context, c *call) (answer, error) { return told(c.desk.Webhooks(ctx)) }

func testWebhook(ctx context.Context, c *call) (answer, error) {
	if err := c.empty(); err != nil {
		return answer{}, err
	}
	return told(c.desk.TestWebhook(ctx, c.named))
}
