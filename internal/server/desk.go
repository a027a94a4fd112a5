package server

import (
	"context"
	"net/netip"
	"strings"
	"time"

	wire "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/desk"
)

// Desks answer operators, for commands and for the admin API alike. remembered are the refusals that the running server has in
// memory.
func (op *Opened) Desks(remembered func(context.Context, auth.RefusalFilter) ([]auth.Refusal, error)) (*desk.Desks, error) {
	c := op.Config
	return desk.New(desk.Config{
		Registry: op.Registry, Reload: op.Rings.Load, Inspect: op.inspectForDesk, Remembered: remembered,
		Stored: op.DB.Refusals, Usage: op.DB.Usage, Spoken: c.Contracts.Enabled,
		Deployment: audit.Deployment{Environment: c.Environment, KeyPrefix: c.KeyPrefix},
		Retention:  config.FormatDuration(c.Refusals.Retention), Now: op.DB.Now,
	})
}

// AskServer asks the server that runs on the same data directory for refusals. Without one, or where servers may be on other
// machines, it is [ErrNoServer].
func (op *Opened) AskServer(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	client := ControlClient(op.Config.DataDir)
	switch {
	case !op.alone():
		return nil, ErrNoServer
	case f.RequestID != "":
		return client.Find(ctx, f.RequestID)
	}
	return client.Recent(ctx, f)
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
