package server

import (
	"context"
	"net/netip"
	"strings"
	"time"

	wire "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/contract/admin"
	"github.com/gatehouse/gatehouse/internal/desk"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/webhook"
)

// Desks answer operators, for commands and for the admin API alike, as c has it.
func (op *Opened) Desks(c *config.Config) (*desk.Desks, error) {
	tester, err := webhook.NewTester(webhook.Config{Endpoints: endpoints(c), Now: op.DB.Now})
	if err != nil {
		return nil, err
	}
	return desk.New(desk.Config{
		Registry: op.Registry, Reload: op.Rings.Load, Inspect: op.inspectForDesk, Spoken: c.Contracts.Enabled, AuditKeys: op.auditKeys, VerifyAudit: op.VerifyAudit,
		Dashboard: func(of auth.PersonKind) (string, bool) {
			if of == auth.Operator {
				return c.Dashboard.AdminURL, c.Dashboard.Enabled
			}
			return strings.TrimSuffix(c.PublicURL, "/"), c.Dashboard.Enabled
		},
		Webhooks: func() []wire.Webhook { return webhooks(c, tester.Names()) },
		TestWebhook: func(ctx context.Context, id string, act auth.Act) (wire.WebhookTest, error) {
			return testWebhook(ctx, tester, id, act)
		},
		Retention: config.FormatDuration(c.Refusals.Retention), Now: op.DB.Now,
	})
}

// adminAPI makes the addresses of the admin API.
func (s *Server) adminAPI(c *config.Config) ([]web.Address, error) {
	desks, err := s.opened.Desks(c)
	if err != nil {
		return nil, err
	}
	contract, err := admin.New(admin.Config{
		Desks: desks, Tokens: s.people, Repeats: s.opened.DB, Digest: s.opened.Rings.HandedOut, Realm: c.Realm, Log: s.log, Now: s.opened.DB.Now,
	})
	if err != nil {
		return nil, err
	}
	return contract.Addresses(), nil
}

func (op *Opened) inspectForDesk(ctx context.Context, raw string, from netip.Addr) (desk.Inspection, error) {
	found, err := op.Inspect(ctx, raw, from)
	if err != nil {
		return desk.Inspection{}, err
	}
	said := found.Said
	told := wire.Inspection{
		Good: found.Good, Reason: string(found.Reason), Authentic: found.Authentic, Unreadable: said.NotSpelledLikeOneOfThese,
		Refresh: found.Refresh, Type: said.Type, Account: said.Account, AccountName: found.Name, Credential: said.Credential,
		CredentialKind: string(found.Credential.Kind), CredentialName: found.Credential.Name, Session: said.Session,
		Scopes: append([]string{}, strings.Fields(found.Scope)...), Issuer: said.Issuer, Audience: said.Audience, Key: said.KeyID,
		Algorithm: said.Algorithm, IssuedAt: said.IssuedAt.UTC(), PresentedAt: said.AuthTime.UTC(), ExpiresAt: said.Expires.UTC(),
		Checks: []wire.Check{},
	}
	for _, t := range []*time.Time{&told.IssuedAt, &told.PresentedAt, &told.ExpiresAt} {
		*t = t.Truncate(time.Second)
	}
	for _, check := range found.Checks {
		told.Checks = append(told.Checks, wire.Check{Check: check.Name, Outcome: string(check.Outcome), Detail: check.Detail})
	}
	return desk.Inspection{Inspection: told, Of: found.Subject}, nil
}
