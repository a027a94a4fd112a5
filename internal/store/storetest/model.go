package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A model is what a session should do, said again in the plainest way.
type model struct {
	id                auth.SessionID
	generation        int64
	started, rotated  time.Time
	expires           time.Time
	under             string
	scope, has        string // of the session, and of the credential now
	credentialExpires time.Time
	suspended         bool
	revoked, ended    bool
	final             bool // the credential is revoked
	maxAge            time.Duration
}

func (m *model) refresh(now time.Time, generation int64, key string, badAddress bool) (want *auth.Error, replayed bool) {
	usable := func() *auth.Error {
		switch {
		case !m.credentialExpires.IsZero() && !now.Before(m.credentialExpires), m.suspended:
			return auth.ErrEnded
		case !now.Before(m.expires), m.maxAge > 0 && !now.Before(m.started.Add(m.maxAge)):
			return auth.ErrBadRefresh
		case badAddress:
			return auth.ErrAddressNotAllowed
		}
		return nil
	}
	switch {
	case generation > m.generation:
		return auth.ErrBadRefresh, false
	case m.ended || m.revoked:
		return auth.ErrEnded, false
	case generation == m.generation:
		if err := usable(); err != nil {
			return err, false
		}
		end := now.Add(refreshLife)
		for _, sooner := range []time.Time{m.credentialExpires, m.started.Add(m.maxAge)} {
			if (sooner != m.started) && !sooner.IsZero() && sooner.Before(end) {
				end = sooner
			}
		}
		m.generation, m.rotated, m.expires, m.under = m.generation+1, now, end, key
		m.scope = verify.Intersect(m.scope, m.has)
		return nil, false
	case generation == m.generation-1 && now.Sub(m.rotated) < leeway:
		if key == "" || key != m.under {
			return auth.ErrSpent, false
		}
		return usable(), true
	}
	m.ended = true
	return auth.ErrReused, false
}

// refreshModel lets chance refresh, meddle and wait, and holds the store against the model after each step.
func refreshModel(t *testing.T, w *World) {
	ctx := t.Context()
	rapid.Check(t, func(r *rapid.T) {
		must := func(err error) {
			if err != nil {
				r.Fatalf("got %v, want no error", err)
			}
		}
		a, err := w.CreateAccount(ctx, "Model", "", act)
		must(err)
		c := auth.Credential{
			ID: auth.CredentialID(w.id("credential")), Account: a.ID, Kind: auth.Login, Scope: "a b c", CreatedAt: w.Now(),
			Secrets: []auth.Secret{{Number: 1, Digest: digest("first"), Pepper: "p", CreatedAt: w.Now()}},
		}
		must(w.CreateCredential(ctx, c, act))
		s, err := w.StartSession(ctx, w.newSession(c.ID))
		must(err)
		m := &model{
			id: s.ID, started: s.StartedAt, rotated: s.StartedAt, expires: s.Expires, scope: "a b c", has: "a b c",
			maxAge: rapid.SampledFrom([]time.Duration{0, 0, time.Hour, 10 * 24 * time.Hour}).Draw(r, "max age"),
		}
		r.Repeat(map[string]func(*rapid.T){
			"refresh": func(r *rapid.T) {
				generation := max(0, m.generation-rapid.SampledFrom([]int64{0, 0, 0, 0, 1, 1, 2, -1}).Draw(r, "generations ago"))
				key := rapid.SampledFrom([]string{"", "key 1", "key 2"}).Draw(r, "key")
				spend := w.spend(generation, key)
				spend.MaxAge, spend.AddressRefused = m.maxAge, rapid.IntRange(0, 9).Draw(r, "address") == 0
				peeked, peekErr := w.PeekSession(ctx, m.id, generation, m.maxAge)
				want, wantReplayed := m.refresh(w.Now(), generation, key, spend.AddressRefused)
				switch {
				case want == nil && !wantReplayed:
					if peekErr != nil || peeked.Generation != generation || peeked.Scope != m.scope {
						r.Fatalf("before it was spent: got %+v, %v; want generation %d, scope %q", peeked, peekErr, generation, m.scope)
					}
				case want == nil || want == auth.ErrSpent:
					if !errors.Is(peekErr, auth.ErrReused) {
						r.Fatalf("a generation that is spent: got %v, want %v", peekErr, auth.ErrReused)
					}
				case want != auth.ErrAddressNotAllowed && generation == m.generation:
					if !errors.Is(peekErr, want) {
						r.Fatalf("one that cannot be spent: got %v, want %v", peekErr, want)
					}
				}
				got, replayed, err := w.RotateSession(ctx, m.id, spend)
				if want != nil {
					if !errors.Is(err, want) {
						r.Fatalf("got %v, want %v", err, want)
					}
					return
				}
				must(err)
				if replayed != wantReplayed || got.Generation != m.generation || got.Scope != m.scope || !got.Expires.Equal(m.expires) ||
					m.under != "" && !bytes.Equal(got.RotatedUnder, digest(m.under)) {
					r.Fatalf("got %+v, replayed %v; want %+v, replayed %v", got, replayed, m, wantReplayed)
				}
				stored, err := w.Session(ctx, m.id)
				must(err)
				if stored.Generation != got.Generation || stored.Scope != got.Scope || !stored.Expires.Equal(got.Expires) ||
					!stored.AccessExpires.Equal(got.AccessExpires) {
					r.Fatalf("returned %+v, stored %+v", got, stored)
				}
			},
			"wait": func(r *rapid.T) {
				w.wait(rapid.SampledFrom([]time.Duration{time.Millisecond, leeway - time.Millisecond, leeway, time.Minute, time.Hour, refreshLife}).Draw(r, "time"))
			},
			"suspend": func(*rapid.T) {
				_, err := w.SuspendAccount(ctx, a.ID, false, act)
				must(err)
				m.suspended = true
			},
			"resume": func(*rapid.T) {
				_, err := w.ResumeAccount(ctx, a.ID, act)
				must(err)
				m.suspended = false
			},
			"scope": func(r *rapid.T) {
				if m.final {
					r.Skip("a revoked credential is final")
				}
				m.has = rapid.SampledFrom([]string{"a b c", "a b c", "b c d", "a", ""}).Draw(r, "scope")
				_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Scope: &m.has}, act)
				must(err)
			},
			"expiry": func(r *rapid.T) {
				if m.final {
					r.Skip("a revoked credential is final")
				}
				m.credentialExpires = time.Time{}
				if in := rapid.SampledFrom([]time.Duration{0, time.Minute, 24 * time.Hour}).Draw(r, "in"); in > 0 {
					m.credentialExpires = w.Now().Add(in)
				}
				_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{ExpiresAt: &m.credentialExpires}, act)
				must(err)
			},
			"revoke something": func(r *rapid.T) {
				if rapid.IntRange(0, 4).Draw(r, "luck") > 0 {
					r.Skip("not today")
				}
				var err error
				switch rapid.IntRange(0, 3).Draw(r, "what") {
				case 0:
					_, err = w.RevokeContract(ctx, a.ID, auth.B2B, act)
				case 1:
					_, err = w.SuspendAccount(ctx, a.ID, true, act)
					m.suspended = true
				case 2:
					_, err = w.RevokeCredential(ctx, c.ID, act)
					m.final = true
				case 3:
					_, err = w.RevokeSession(ctx, m.id, a.ID, w.Now().Add(time.Hour), "model", act)
				}
				must(err)
				m.revoked = true
			},
			"log out of another contract": func(*rapid.T) {
				_, err := w.RevokeContract(ctx, a.ID, auth.Liquid, act)
				must(err)
			},
		})
	})
}
