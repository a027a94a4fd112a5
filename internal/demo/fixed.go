package demo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/gate"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// publishedSecret is the one secret of all of them.
const publishedSecret = "publishedSecretThatOpensNothing0"

// A Fixed is a credential of the sandbox: constant, published, and the same in every one.
type Fixed struct {
	Case       string // what it does: "good", "expires", "limited", "address", "revoked", "unavailable"
	Kind       auth.Kind
	ID         auth.CredentialID
	Identifier string // what its holder sends: the whole key, or the user ID, username or client id
	Secret     string // "" for a key
}

// A sandboxCase is one way in which credentials of the sandbox behave.
type sandboxCase struct {
	name, mark string // the mark stands in their ids
	quirk      gate.Quirk
}

var sandboxCases = []sandboxCase{
	{"good", "good", gate.Quirk{}},
	{"expires", "expi", gate.Quirk{Lifetime: 5 * time.Second}},
	{"limited", "rate", gate.Quirk{Limited: true}},
	{"address", "addr", gate.Quirk{}}, // its account allows an address where nobody is
	{"revoked", "dead", gate.Quirk{}},
	{"unavailable", "away", gate.Quirk{Unavailable: true}},
}

// FixedCredentials are those of the sandbox: of every kind one for each case.
func FixedCredentials() []Fixed {
	var all []Fixed
	for _, c := range sandboxCases {
		for i, kind := range auth.Kinds {
			f := Fixed{Case: c.name, Kind: kind, ID: auth.CredentialID("sandbox" + "ablo"[i:i+1] + c.mark)}
			if kind == auth.APIKey {
				f.Identifier = auth.FormatKey("gk", auth.Test, f.ID, publishedSecret)
			} else {
				f.Identifier, f.Secret = auth.FormatUser(auth.Test, f.ID), publishedSecret
			}
			all = append(all, f)
		}
	}
	return all
}

// quirks are what the gate does with them.
func quirks() map[auth.CredentialID]gate.Quirk {
	all := map[auth.CredentialID]gate.Quirk{}
	for _, f := range FixedCredentials() {
		for _, c := range sandboxCases {
			if c.name == f.Case {
				all[f.ID] = c.quirk
			}
		}
	}
	return all
}

// nowhere is an address for documentation (RFC 5737): nobody calls from there.
const nowhere = "203.0.113.0/24"

// seedFixed makes the sandbox's accounts, 100001 and, for those off their allowlist, 100002, and its credentials.
func seedFixed(ctx context.Context, r *registry.Registry) (sample, error) {
	var s sample
	var err error
	if s.account, err = r.CreateAccount(ctx, operator, "Sample Customer", "DEMO-1"); err != nil {
		return s, err
	}
	shut, err := r.CreateAccount(ctx, operator, "Sample Customer, elsewhere", "DEMO-2")
	if err != nil {
		return s, err
	}
	if _, err := r.AllowIP(ctx, operator, shut.ID, []netip.Prefix{netip.MustParsePrefix(nowhere)}, "nobody is there", time.Time{}); err != nil {
		return s, err
	}
	for _, f := range FixedCredentials() {
		account := s.account.ID
		if f.Case == "address" {
			account = shut.ID
		}
		_, err := r.CreateCredential(ctx, operator, registry.NewCredential{
			Account: account, Kind: f.Kind, Name: f.Case, Given: &registry.Given{ID: f.ID, Secret: publishedSecret},
		})
		if err != nil {
			return s, err
		}
		if f.Case == "revoked" {
			if _, err := r.RevokeCredential(ctx, operator, f.ID); err != nil {
				return s, err
			}
		}
		if f.Case == "good" {
			s.take(f.Kind, f.Identifier, f.Secret)
		}
	}
	return s, nil
}

// fixedTable lists them, a line each.
func fixedTable() string {
	var b strings.Builder
	for _, f := range FixedCredentials() {
		fmt.Fprintf(&b, "%-12s %-8s %s\n", f.Case, f.Kind, strings.TrimSpace(f.Identifier+" "+f.Secret))
	}
	return b.String()
}
