package server

import (
	"context"
	"net/netip"
	"strings"
	"time"

	wire "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/desk"
)

// Desks answer operators, for commands and for the admin API alike.
func (op *Opened) Desks() (*desk.Desks, error) {
	c := op.Config
	return desk.New(desk.Config{
		Registry: op.Registry, Reload: op.Rings.Load, Inspect: op.inspectForDesk, Spoken: c.Contracts.Enabled,
		Retention: config.FormatDuration(c.Refusals.Retention), Now: op.DB.Now,
	})
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
