package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/adminclient"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
)

// An office is where commands for operators ask: the database, or the admin API of a server. Both answer alike, in the words that
// are printed with --json.
type office interface {
	// Now is the office's time, which need not be this machine's.
	Now() time.Time

	Accounts(context.Context, api.AccountQuery) (api.Page[api.Account], error)
	Account(ctx context.Context, id string) (api.Account, error)
	CreateAccount(context.Context, api.NewAccount) (api.Account, error)
	UpdateAccount(context.Context, auth.AccountID, api.AccountUpdate) (api.Account, error)
	SuspendAccount(context.Context, auth.AccountID, api.Suspension) (api.Account, error)
	ResumeAccount(context.Context, auth.AccountID) (api.Account, error)
	DeleteAccount(context.Context, auth.AccountID) (api.Deleted, error)
	LimitAccount(context.Context, auth.AccountID, api.RateLimit) (api.Account, error)
	Allow(context.Context, auth.AccountID, api.Allowing) (api.Allowlist, error)
	Disallow(context.Context, auth.AccountID, api.Disallowing) (api.Allowlist, error)

	Credentials(context.Context, api.CredentialQuery) (api.Page[api.Credential], error)
	Credential(ctx context.Context, id string) (api.Credential, error)
	FindCredential(ctx context.Context, text string) (api.Found, error)
	CreateCredential(context.Context, api.NewCredential) (api.Issued, error)
	UpdateCredential(context.Context, auth.CredentialID, api.CredentialUpdate) (api.Credential, error)
	RotateCredential(context.Context, auth.CredentialID, api.Rotation) (api.Issued, error)
	FinishRotation(context.Context, auth.CredentialID) (api.Credential, error)
	UndoRotation(context.Context, auth.CredentialID) (api.Credential, error)
	RevokeCredential(context.Context, auth.CredentialID) (api.Credential, error)

	Sessions(context.Context, api.SessionQuery) (api.Page[api.Session], error)
	RevokeSession(context.Context, auth.SessionID) (api.SessionRevoked, error)
	InspectToken(context.Context, api.Token) (api.Inspection, error)
	RevokeToken(ctx context.Context, raw string) (api.SessionRevoked, error)

	SigningKeys(context.Context) (api.Page[api.SigningKey], error)
	RotateSigningKey(context.Context) (api.SigningKey, error)
	RevokeSigningKey(context.Context, auth.KeyID) (api.SigningKey, error)

	// Operators are the people of account 0.
	People(ctx context.Context, account auth.AccountID, part api.Range) (api.Page[api.Person], error)
	Person(ctx context.Context, account auth.AccountID, id string) (api.Person, error)
	InvitePerson(ctx context.Context, account auth.AccountID, n api.NewPerson) (api.Invited, error)
	ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, l api.NewLink) (api.Invited, error)
	ChangeRole(ctx context.Context, account auth.AccountID, id auth.PersonID, r api.NewRole) (api.Person, error)
	RemovePerson(ctx context.Context, account auth.AccountID, id auth.PersonID) (api.Person, error)
	OperatorTokens(context.Context, api.Range) (api.Page[api.OperatorToken], error)
	CreateOperatorToken(context.Context, api.NewOperatorToken) (api.OperatorToken, error)
	RevokeOperatorToken(context.Context, auth.OperatorTokenID) (api.OperatorToken, error)

	Webhooks(context.Context) (api.Page[api.Webhook], error)
	TestWebhook(ctx context.Context, id string) (api.WebhookTest, error)

	Explain(ctx context.Context, requestID string) (audit.Explained, error)
	Refusals(context.Context, api.RefusalQuery) (api.Page[api.Refusal], error)
	Audit(context.Context, api.AuditQuery) (api.Page[api.AuditEntry], error)
	ExportAudit(ctx context.Context, to io.Writer) error
	VerifyAudit(context.Context, chain.Want) (chain.Report, error)
	Usage(ctx context.Context, account auth.AccountID, since time.Time) (api.Page[api.UsageRow], error)
}

// A visit is an office for as long as one command.
type visit struct {
	office
	config *config.Config // nil: the office is elsewhere
	close  func() error
}

// enter goes to the office for a command that changes nothing.
func (sh *shell) enter() (*visit, error) {
	if url := sh.server(); url != "" {
		return sh.visitServer(url)
	}
	op, err := sh.open()
	if err != nil {
		return nil, err
	}
	return sh.visitDatabase(op)
}

// enterToChange goes there for a command that changes something, and names the place, for there may be more than one.
func (sh *shell) enterToChange() (*visit, error) {
	if url := sh.server(); url != "" {
		o, err := sh.visitServer(url)
		if err == nil {
			sh.note("server: %s", url)
		}
		return o, err
	}
	op, err := sh.change()
	if err != nil {
		return nil, err
	}
	return sh.visitDatabase(op)
}

// server is the URL of the server to work through; "" for none.
func (sh *shell) server() string { return or(sh.global.Server, sh.variable(config.ServerVariable)) }

// variable is a variable of the environment.
func (sh *shell) variable(name string) string {
	value := ""
	for _, entry := range sh.environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// visitServer goes to a server.
func (sh *shell) visitServer(url string) (*visit, error) {
	if sh.global.Config != "" || sh.global.DataDir != "" {
		return nil, usage("--config and --data-dir say where a database is, and --server (or %s) that there is none to look for: leave out the one or the other", config.ServerVariable)
	}
	token := sh.variable(config.TokenVariable)
	if sh.global.TokenFile != "" {
		var err error
		if token, err = readToken(sh.global.TokenFile); err != nil {
			return nil, err
		}
	}
	client, err := adminclient.New(adminclient.Config{URL: url, Token: token, Insecure: sh.global.InsecureHTTP})
	if err != nil {
		return nil, usage("%w", err)
	}
	return &visit{office: client, close: client.Close}, nil
}

// longestToken is how much of a file is looked at for a token.
const longestToken = 4 << 10

// readToken reads an operator token from a file that nobody else can read.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("--token-file %s can be read by others (mode %#o): chmod 600 it, and think of the token as known to them", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, longestToken))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func (sh *shell) visitDatabase(op *server.Opened) (*visit, error) {
	desks, err := op.Desks(op.Config)
	if err != nil {
		return nil, errors.Join(err, op.Close())
	}
	return &visit{office: desks.For(actor()), config: op.Config, close: op.Close}, nil
}

// settle says so where a change may not have come to every server, and leaves it out of what is printed.
func (sh *shell) settle(o *visit, confirmed **bool) {
	known := *confirmed
	*confirmed = nil
	if known == nil || *known {
		return
	}
	if o.config == nil {
		sh.note("note: it is committed, but not every running server confirmed in time (revocation.wait) that it has applied it; each will as soon as it reads the database, and refuses everything once it has not for revocation.max_staleness")
		return
	}
	sh.note("note: it is committed, but not every running server confirmed within %s (revocation.wait) that it has applied it; each will as soon as it reads the database, and refuses everything once it has not for %s",
		config.FormatDuration(o.config.Revocation.Wait), config.FormatDuration(o.config.Revocation.MaxStaleness))
}

// atOnce is how much of a list is asked for at once.
const atOnce = 1000

// whole reads a list to its end.
func whole[T any](part func(api.Range) (api.Page[T], error)) ([]T, error) {
	return some(math.MaxInt, part)
}

// some reads a list, as much of it as somebody wants.
func some[T any](most int, part func(api.Range) (api.Page[T], error)) ([]T, error) {
	items := []T{}
	for after := ""; ; {
		p, err := part(api.Range{After: after, Limit: min(atOnce, most-len(items))})
		if err != nil {
			return nil, err
		}
		items = append(items, p.Items...)
		if after = p.Next; after == "" || len(items) >= most {
			return items, nil
		}
	}
}
