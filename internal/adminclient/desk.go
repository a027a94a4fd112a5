package adminclient

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// name puts an id into a path. What cannot be one is not sent: it may be a secret that somebody pasted, and a URL stands in logs.
func name(what, id string, longest int) (string, error) {
	if id == "" || len(id) > longest || strings.ContainsFunc(id, notInNames) || id == "find" {
		return "", auth.ErrNotFound.Saying("there is no " + what + " " + strconv.QuoteToASCII(auth.Masked(id)))
	}
	return id, nil
}

func notInNames(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_'
}

// The longest names: shorter than any secret.
const (
	longestCredential = len("test_u_") + auth.IDLength + 4
	longestName       = 40
)

// A question is the query of a list.
type question url.Values

func (q question) set(name, value string) question {
	if value != "" {
		q[name] = []string{value}
	}
	return q
}

func (q question) number(name string, n int64) question {
	if n == 0 {
		return q
	}
	return q.set(name, strconv.FormatInt(n, 10))
}

func (q question) flag(name string, on bool) question {
	if !on {
		return q
	}
	return q.set(name, "true")
}

func (q question) moment(name string, t time.Time) question {
	if t.IsZero() {
		return q
	}
	return q.set(name, t.UTC().Format(time.RFC3339Nano))
}

func (q question) part(r api.Range) url.Values {
	return url.Values(q.set("after", r.After).number("limit", int64(r.Limit)))
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func account(id auth.AccountID) string { return "/accounts/" + id.String() }

// Accounts lists accounts by number.
func (c *Client) Accounts(ctx context.Context, q api.AccountQuery) (api.Page[api.Account], error) {
	return get[api.Page[api.Account]](ctx, c, "/accounts", question{}.set("search", q.Search).set("ref", q.Ref).set("status", q.Status).part(q.Range))
}

// Account finds an account by its number or, as "ref:…", by the operator's reference.
func (c *Client) Account(ctx context.Context, id string) (api.Account, error) {
	if ref, ok := strings.CutPrefix(id, "ref:"); ok {
		found, err := c.Accounts(ctx, api.AccountQuery{Ref: ref})
		if err != nil {
			return api.Account{}, err
		}
		if len(found.Items) == 0 {
			return api.Account{}, auth.ErrNotFound.Saying("there is no account with the reference " + strconv.QuoteToASCII(ref))
		}
		return found.Items[0], nil
	}
	named, err := name("account", id, longestName)
	if err != nil {
		return api.Account{}, err
	}
	return get[api.Account](ctx, c, "/accounts/"+named, nil)
}

// CreateAccount makes an account.
func (c *Client) CreateAccount(ctx context.Context, n api.NewAccount) (api.Account, error) {
	return once[api.Account](ctx, c, "/accounts", n)
}

// UpdateAccount changes name or reference.
func (c *Client) UpdateAccount(ctx context.Context, id auth.AccountID, u api.AccountUpdate) (api.Account, error) {
	return ask[api.Account](ctx, c, http.MethodPatch, account(id), u, "")
}

// SuspendAccount refuses everything of the account at once.
func (c *Client) SuspendAccount(ctx context.Context, id auth.AccountID, s api.Suspension) (api.Account, error) {
	return post[api.Account](ctx, c, account(id)+"/suspend", s)
}

// ResumeAccount ends a suspension.
func (c *Client) ResumeAccount(ctx context.Context, id auth.AccountID) (api.Account, error) {
	return post[api.Account](ctx, c, account(id)+"/resume", nil)
}

// LimitAccount gives the account a limit of its own, or takes it away.
func (c *Client) LimitAccount(ctx context.Context, id auth.AccountID, l api.RateLimit) (api.Account, error) {
	return ask[api.Account](ctx, c, http.MethodPut, account(id)+"/limit", l, "")
}

// DeleteAccount ends everything of the account for good.
func (c *Client) DeleteAccount(ctx context.Context, id auth.AccountID) (api.Deleted, error) {
	return ask[api.Deleted](ctx, c, http.MethodDelete, account(id), nil, "")
}

// Allow adds entries to an account's allowlist.
func (c *Client) Allow(ctx context.Context, id auth.AccountID, change api.Allowing) (api.Allowlist, error) {
	return post[api.Allowlist](ctx, c, account(id)+"/allowlist/add", change)
}

// Disallow takes entries off an account's allowlist.
func (c *Client) Disallow(ctx context.Context, id auth.AccountID, change api.Disallowing) (api.Allowlist, error) {
	return post[api.Allowlist](ctx, c, account(id)+"/allowlist/remove", change)
}

// Credentials lists credentials.
func (c *Client) Credentials(ctx context.Context, q api.CredentialQuery) (api.Page[api.Credential], error) {
	return get[api.Page[api.Credential]](ctx, c, "/credentials",
		question{}.number("account", q.Account).set("kind", q.Kind).set("search", q.Search).flag("live", q.Live).part(q.Range))
}

// onCredential asks for something about one credential.
func onCredential[T any](ctx context.Context, c *Client, method, id, what string, body any) (T, error) {
	named, err := name("credential", id, longestCredential)
	if err != nil {
		var none T
		return none, err
	}
	return ask[T](ctx, c, method, "/credentials/"+named+what, body, "")
}

// Credential finds a credential by its id, or by the identifier that its holder sends.
func (c *Client) Credential(ctx context.Context, id string) (api.Credential, error) {
	return onCredential[api.Credential](ctx, c, http.MethodGet, id, "", nil)
}

// FindCredential says whose credential a text is.
func (c *Client) FindCredential(ctx context.Context, text string) (api.Found, error) {
	return post[api.Found](ctx, c, "/credentials/find", api.Text{Text: text})
}

// CreateCredential makes a credential, and tells its secret this one time.
func (c *Client) CreateCredential(ctx context.Context, n api.NewCredential) (api.Issued, error) {
	return told(once[api.Issued](ctx, c, "/credentials", n))
}

// told is an error where the answer with the secret got lost.
func told(i api.Issued, err error) (api.Issued, error) {
	if err == nil && i.Replayed {
		err = auth.ErrConflict.Saying("credential " + i.ID + " has a new secret, but the answer with it got lost, so nobody knows it: " +
			"end it with gatehouse credential revoke " + i.ID + ", or rotate --undo if it was rotated, and try again")
	}
	return i, err
}

// UpdateCredential changes a credential's name, scopes, end or keys.
func (c *Client) UpdateCredential(ctx context.Context, id auth.CredentialID, u api.CredentialUpdate) (api.Credential, error) {
	return onCredential[api.Credential](ctx, c, http.MethodPatch, string(id), "", u)
}

// RotateCredential gives a credential a new secret beside the old one, and tells it this one time.
func (c *Client) RotateCredential(ctx context.Context, id auth.CredentialID, r api.Rotation) (api.Issued, error) {
	named, err := name("credential", string(id), longestCredential)
	if err != nil {
		return api.Issued{}, err
	}
	return told(once[api.Issued](ctx, c, "/credentials/"+named+"/rotate", r))
}

// FinishRotation ends the old secret of a rotation now.
func (c *Client) FinishRotation(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return onCredential[api.Credential](ctx, c, http.MethodPost, string(id), "/finish", nil)
}

// UndoRotation takes the new secret of a rotation back.
func (c *Client) UndoRotation(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return onCredential[api.Credential](ctx, c, http.MethodPost, string(id), "/undo", nil)
}

// RevokeCredential ends a credential with its tokens and sessions, for good.
func (c *Client) RevokeCredential(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return onCredential[api.Credential](ctx, c, http.MethodPost, string(id), "/revoke", nil)
}

// Sessions lists an account's sessions, the youngest first.
func (c *Client) Sessions(ctx context.Context, q api.SessionQuery) (api.Page[api.Session], error) {
	return get[api.Page[api.Session]](ctx, c, account(auth.AccountID(q.Account))+"/sessions", question{}.flag("all", q.All).part(q.Range))
}

// RevokeSession ends a session and every token that came of it.
func (c *Client) RevokeSession(ctx context.Context, id auth.SessionID) (api.SessionRevoked, error) {
	named, err := name("session", string(id), longestName)
	if err != nil {
		return api.SessionRevoked{}, err
	}
	return post[api.SessionRevoked](ctx, c, "/sessions/"+named+"/revoke", nil)
}

// InspectToken says whose a token is and whether it would be accepted.
func (c *Client) InspectToken(ctx context.Context, t api.Token) (api.Inspection, error) {
	return post[api.Inspection](ctx, c, "/tokens/inspect", t)
}

// RevokeToken ends a token, and everything that came of the same login or exchange.
func (c *Client) RevokeToken(ctx context.Context, raw string) (api.SessionRevoked, error) {
	return post[api.SessionRevoked](ctx, c, "/tokens/revoke", api.Token{Token: raw})
}

// SigningKeys lists the keys that sign tokens.
func (c *Client) SigningKeys(ctx context.Context) (api.Page[api.SigningKey], error) {
	return get[api.Page[api.SigningKey]](ctx, c, "/signing-keys", nil)
}

// RotateSigningKey makes the next signing key before its time.
func (c *Client) RotateSigningKey(ctx context.Context) (api.SigningKey, error) {
	return once[api.SigningKey](ctx, c, "/signing-keys", nil)
}

// RevokeSigningKey ends a leaked key, and every token that it signed.
func (c *Client) RevokeSigningKey(ctx context.Context, id auth.KeyID) (api.SigningKey, error) {
	named, err := name("signing key", string(id), longestName)
	if err != nil {
		return api.SigningKey{}, err
	}
	return post[api.SigningKey](ctx, c, "/signing-keys/"+named+"/revoke", nil)
}

// Webhooks lists who is told what happens.
func (c *Client) Webhooks(ctx context.Context) (api.Page[api.Webhook], error) {
	return get[api.Page[api.Webhook]](ctx, c, "/webhooks", nil)
}

// TestWebhook sends one of them a test message, and says what came of it.
func (c *Client) TestWebhook(ctx context.Context, id string) (api.WebhookTest, error) {
	named, err := name("webhook", id, longestName)
	if err != nil {
		return api.WebhookTest{}, err
	}
	return post[api.WebhookTest](ctx, c, "/webhooks/"+named+"/test", nil)
}

// Explain says why a request was refused, and what would mend it.
func (c *Client) Explain(ctx context.Context, requestID string) (audit.Explained, error) {
	named, err := name("refused request", requestID, longestName)
	if err != nil {
		return audit.Explained{}, err
	}
	return get[audit.Explained](ctx, c, "/refusals/"+named, nil)
}

// Refusals lists who was refused, the newest first.
func (c *Client) Refusals(ctx context.Context, q api.RefusalQuery) (api.Page[api.Refusal], error) {
	return get[api.Page[api.Refusal]](ctx, c, "/refusals", question{}.number("account", q.Account).set("credential", q.Credential).
		set("address", addressText(q.Address)).moment("since", q.Since).part(q.Range))
}

// Usage lists what an account's credentials were used for, by the hour.
func (c *Client) Usage(ctx context.Context, id auth.AccountID, since time.Time) (api.Page[api.UsageRow], error) {
	return get[api.Page[api.UsageRow]](ctx, c, account(id)+"/usage", url.Values(question{}.moment("since", since)))
}

// Audit lists acts, the newest first.
func (c *Client) Audit(ctx context.Context, q api.AuditQuery) (api.Page[api.AuditEntry], error) {
	return get[api.Page[api.AuditEntry]](ctx, c, "/audit", question{}.number("account", q.Account).set("credential", q.Credential).
		set("person", q.Person).set("action", q.Action).moment("since", q.Since).moment("until", q.Until).part(q.Range))
}

// people is where the members of an account are, or the operators if it is 0.
func people(of auth.AccountID) string {
	if of == 0 {
		return "/operators"
	}
	return account(of) + "/members"
}

// People lists the members of an account, or the operators if it is 0.
func (c *Client) People(ctx context.Context, account auth.AccountID, part api.Range) (api.Page[api.Person], error) {
	return get[api.Page[api.Person]](ctx, c, people(account), question{}.part(part))
}

// mostAtOnce is how much of a list a server tells at most at once.
const mostAtOnce = 1000

// Person finds one of them by the id, or by the e-mail address among all that there are.
func (c *Client) Person(ctx context.Context, account auth.AccountID, id string) (api.Person, error) {
	if !strings.Contains(id, "@") {
		named, err := name("person", id, longestName)
		if err != nil {
			return api.Person{}, err
		}
		return get[api.Person](ctx, c, people(account)+"/"+named, nil)
	}
	email, err := auth.ParseEmail(id)
	if err != nil {
		return api.Person{}, err
	}
	for part := (api.Range{Limit: mostAtOnce}); ; {
		p, err := c.People(ctx, account, part)
		if err != nil {
			return api.Person{}, err
		}
		for _, one := range p.Items {
			if one.Email == email {
				return one, nil
			}
		}
		if part.After = p.Next; part.After == "" {
			break
		}
	}
	called := strconv.QuoteToASCII(id)
	if account == 0 {
		return api.Person{}, auth.ErrNotFound.Saying("there is no operator " + called + ": gatehouse operator list shows them")
	}
	return api.Person{}, auth.ErrNotFound.Saying("account " + account.String() + " has no member " + called + ": gatehouse member list --account " + account.String() + " shows them")
}

// InvitePerson invites a member of an account, or an operator if it is 0.
func (c *Client) InvitePerson(ctx context.Context, account auth.AccountID, n api.NewPerson) (api.Invited, error) {
	return linked(once[api.Invited](ctx, c, people(account), n))
}

// linked is an error where the answer with the link got lost.
func linked(i api.Invited, err error) (api.Invited, error) {
	if err == nil && i.Replayed {
		again := "gatehouse operator reset " + i.ID
		if i.Account != 0 {
			again = "gatehouse member reset --account " + strconv.FormatInt(i.Account, 10) + " " + i.ID
		}
		err = auth.ErrConflict.Saying(i.Email + " has a new link, but the answer with it got lost, so nobody knows it: make another with " + again)
	}
	return i, err
}

// ResetPerson takes a person's ways to sign in away.
func (c *Client) ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, l api.NewLink) (api.Invited, error) {
	return linked(once[api.Invited](ctx, c, people(account)+"/"+string(id)+"/reset", l))
}

// ChangeRole gives a person another role.
func (c *Client) ChangeRole(ctx context.Context, account auth.AccountID, id auth.PersonID, r api.NewRole) (api.Person, error) {
	return ask[api.Person](ctx, c, http.MethodPatch, people(account)+"/"+string(id), r, "")
}

// RemovePerson removes a person, for good.
func (c *Client) RemovePerson(ctx context.Context, account auth.AccountID, id auth.PersonID) (api.Person, error) {
	return ask[api.Person](ctx, c, http.MethodDelete, people(account)+"/"+string(id), nil, "")
}

// OperatorTokens lists the tokens of the admin API, dead ones too.
func (c *Client) OperatorTokens(ctx context.Context, part api.Range) (api.Page[api.OperatorToken], error) {
	return get[api.Page[api.OperatorToken]](ctx, c, "/operator-tokens", question{}.part(part))
}

// CreateOperatorToken makes a token of the admin API, and tells it this one time.
func (c *Client) CreateOperatorToken(ctx context.Context, n api.NewOperatorToken) (api.OperatorToken, error) {
	t, err := once[api.OperatorToken](ctx, c, "/operator-tokens", n)
	if err == nil && t.Replayed {
		err = auth.ErrConflict.Saying("token " + t.ID + " was made, but the answer with it got lost, so nobody knows it: end it with gatehouse operator token revoke " + t.ID)
	}
	return t, err
}

// RevokeOperatorToken ends a token of the admin API, for good.
func (c *Client) RevokeOperatorToken(ctx context.Context, id auth.OperatorTokenID) (api.OperatorToken, error) {
	named, err := name("operator token", string(id), longestName)
	if err != nil {
		return api.OperatorToken{}, err
	}
	return post[api.OperatorToken](ctx, c, "/operator-tokens/"+named+"/revoke", nil)
}
