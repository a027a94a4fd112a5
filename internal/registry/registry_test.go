package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// A fakeStore answers nothing: whoever calls a method that a test did not mean to be called crashes.
type fakeStore struct {
	Store
	tokenStore
	keys    []auth.KeyRow
	created []auth.Credential
	held    map[auth.CredentialID]auth.Credential
	session auth.Session
	asked   auth.AuditQuery
	noted   []note
	noteErr error
}

type tokenStore interface{ token.Store }

func (s *fakeStore) Audit(_ context.Context, q auth.AuditQuery) ([]auth.AuditEntry, error) {
	s.asked = q
	return nil, nil
}

func (s *fakeStore) Keys(context.Context) ([]auth.KeyRow, error) { return s.keys, nil }

func (s *fakeStore) CreateCredential(_ context.Context, c auth.Credential, _ auth.Act) error {
	s.created = append(s.created, c)
	s.held[c.ID] = c
	return nil
}

func (s *fakeStore) Credential(_ context.Context, id auth.CredentialID) (auth.Credential, error) {
	if c, ok := s.held[id]; ok {
		return c, nil
	}
	return auth.Credential{}, auth.ErrNotFound
}

var (
	start    = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	operator = auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}
)

func newRegistry(t *testing.T) (*Registry, *fakeStore) {
	t.Helper()
	key, err := secret.ParseMasterKey(secret.GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeStore{held: map[auth.CredentialID]auth.Credential{}}
	masters := secret.Masters{Current: key}
	if s.keys, err = token.NewKeys(masters, verify.EdDSA, start); err != nil {
		t.Fatal(err)
	}
	rings, err := token.New(token.Config{Store: s, Masters: masters, Algorithm: verify.EdDSA, Issuer: "i", Audience: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := rings.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{
		Store: s, Rings: rings, Environment: auth.Live, KeyPrefix: "gk", Now: func() time.Time { return start },
		Acknowledge: func(context.Context, auth.Position) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// Whoever is no operator changes nothing: the store is not even asked.
func TestOnlyAnOperatorChangesAnything(t *testing.T) {
	r, _ := newRegistry(t)
	ctx := t.Context()
	somebody := auth.Actor{Name: "somebody"}
	prefix := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, change := range map[string]func() error{
		"create account":    func() error { _, err := r.CreateAccount(ctx, somebody, "n", ""); return err },
		"rename account":    func() error { _, err := r.RenameAccount(ctx, somebody, 100001, "n", nil); return err },
		"suspend account":   func() error { _, err := r.SuspendAccount(ctx, somebody, 100001, true); return err },
		"resume account":    func() error { _, err := r.ResumeAccount(ctx, somebody, 100001); return err },
		"delete account":    func() error { _, err := r.DeleteAccount(ctx, somebody, 100001); return err },
		"limit account":     func() error { _, err := r.LimitAccount(ctx, somebody, 100001, auth.Rate{}); return err },
		"allow":             func() error { _, err := r.AllowIP(ctx, somebody, 100001, prefix, "", time.Time{}); return err },
		"remove":            func() error { _, err := r.RemoveIP(ctx, somebody, 100001, prefix, true); return err },
		"create credential": func() error { _, err := r.CreateCredential(ctx, somebody, NewCredential{Kind: auth.Login}); return err },
		"update credential": func() error { _, err := r.UpdateCredential(ctx, somebody, "c", auth.CredentialUpdate{}); return err },
		"revoke credential": func() error { _, err := r.RevokeCredential(ctx, somebody, "c"); return err },
		"rotate credential": func() error { _, err := r.RotateCredential(ctx, somebody, "c", start, true); return err },
		"finish rotation":   func() error { _, err := r.FinishRotation(ctx, somebody, "c"); return err },
		"undo rotation":     func() error { _, err := r.UndoRotation(ctx, somebody, "c"); return err },
		"revoke session":    func() error { _, err := r.RevokeSession(ctx, somebody, "s", 100001); return err },
		"rotate key":        func() error { _, err := r.RotateSigningKey(ctx, somebody); return err },
		"revoke key":        func() error { _, err := r.RevokeSigningKey(ctx, somebody, "k"); return err },
	} {
		if err := change(); err == nil || auth.AsError(err).Kind != auth.Forbidden {
			t.Errorf("%s by somebody: %v, want it forbidden", name, err)
		}
	}
}

func TestACredentialIsMadeAsItIsPresented(t *testing.T) {
	r, s := newRegistry(t)
	for _, kind := range auth.Kinds {
		issued, err := r.CreateCredential(t.Context(), operator, NewCredential{Account: 100001, Kind: kind, Scopes: []string{"b a", "b"}})
		if err != nil {
			t.Fatal(err)
		}
		identifier, text := issued.Reveal()
		var p auth.Presented
		if kind == auth.APIKey {
			p, err = auth.ParseKey("gk", auth.Live, identifier)
		} else {
			p, err = auth.ParseUser(kind, auth.Live, identifier, text)
		}
		if err != nil || p.ID != issued.Credential.ID {
			t.Errorf("%s: %v, %v", kind, p, err)
		}
		stored := s.created[len(s.created)-1]
		if stored.Scope != "a b" {
			t.Errorf("%s: scope %q, want it in order, each once", kind, stored.Scope)
		}
		if got := fmt.Sprintf("%v %+v %#v %s", issued, issued, issued, stored.Secrets[0].Digest); strings.Contains(got, p.Reveal()) {
			t.Errorf("%s: the secret is printed or stored: %s", kind, got)
		}
		whole := identifier
		if text != "" {
			whole += ":" + text
		}
		for given, want := range map[string]Found{
			whole:              {Secret: 1},
			" " + whole + "\n": {Secret: 1},
		} {
			got, err := r.Find(t.Context(), operator, given)
			if err != nil || got.Credential.ID != p.ID || got.Secret != want.Secret || got.Wrong != "" {
				t.Errorf("%s: found %+v, %v", kind, got, err)
			}
		}
	}
	if _, err := r.Find(t.Context(), operator, "u_AAAAAAAAAAAA:secret"); !errors.Is(err, auth.ErrNotFound) || strings.Contains(err.Error(), "secret") {
		t.Errorf("one that is not here: %v", err)
	}
}

func TestWhatCannotBeMeantIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	r, _ := newRegistry(t)
	ctx := t.Context()
	past := start.Add(-time.Hour)
	for name, change := range map[string]func() error{
		"no name":        func() error { _, err := r.CreateAccount(ctx, operator, "", ""); return err },
		"a line break":   func() error { _, err := r.CreateAccount(ctx, operator, "a\nb", ""); return err },
		"a long name":    func() error { _, err := r.CreateAccount(ctx, operator, strings.Repeat("n", 201), ""); return err },
		"a ref to split": func() error { _, err := r.CreateAccount(ctx, operator, "n", "C 4711"); return err },
		"no such kind":   func() error { _, err := r.CreateCredential(ctx, operator, NewCredential{Kind: "key"}); return err },
		"a quoted scope": func() error {
			_, err := r.CreateCredential(ctx, operator, NewCredential{Kind: auth.Login, Scopes: []string{`a"b`}})
			return err
		},
		"over before it began": func() error {
			_, err := r.CreateCredential(ctx, operator, NewCredential{Kind: auth.Login, Expires: past})
			return err
		},
		"an entry that is over": func() error {
			_, err := r.AllowIP(ctx, operator, 100001, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "", past)
			return err
		},
		"no account": func() error { _, err := r.Account(ctx, operator, "one hundred"); return err },
	} {
		if err := change(); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v, want it invalid", name, err)
		}
	}
}
