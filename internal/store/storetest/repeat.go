package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// under is an act under a key, whose answer is what it makes.
func (w *World) under(key, request string) auth.Act {
	a := act
	a.Makes = func(about auth.Subject, _ time.Time) any { return about }
	a.Terms.Once = &auth.Once{
		Key: []byte(key), Request: []byte(request), Until: w.Now().Add(time.Hour), Answer: func(made any) string { return fmt.Sprintf("%+v", made) },
	}
	return a
}

// repeat fails unless this is what was done under a key.
func (w *World) repeat(t *testing.T, key, request, answer string) {
	t.Helper()
	got, err := w.Repeat(t.Context(), []byte(key))
	no(t, err)
	if string(got.Request) != request || got.Answer != answer {
		t.Errorf("under %s: %q for %q, want %q for %q", key, got.Answer, got.Request, answer, request)
	}
}

func repeats(t *testing.T, w *World) {
	ctx := t.Context()
	w.repeat(t, "one", "", "")
	a, err := w.CreateAccount(ctx, "Acme", "C-1", w.under("one", "a"))
	no(t, err)
	made := fmt.Sprintf("%+v", auth.Subject{Account: a.ID})
	w.repeat(t, "one", "a", made)

	// What was done is not done again, and what was refused leaves the key as it is.
	acts := len(w.trail(t))
	_, err = w.CreateAccount(ctx, "Acme again", "", w.under("one", "a"))
	is(t, "a second account under the key", err, auth.ErrDone)
	_, err = w.CreateAccount(ctx, "Acme again", "C-1", w.under("two", "a"))
	is(t, "an account with another's reference", err, auth.ErrConflict)
	w.repeat(t, "two", "", "")
	if all, err := w.Accounts(ctx, auth.AccountQuery{}); err != nil || len(all) != 1 || len(w.trail(t)) != acts {
		t.Errorf("%d accounts, %d acts, %v; want 1 and %d", len(all), len(w.trail(t)), err, acts)
	}

	// Everything that is made can be made under a key.
	c := w.credential(t, a.ID).ID
	for name, do := range map[string]func(auth.Act) error{
		"credential": func(a1 auth.Act) error {
			return w.CreateCredential(ctx, auth.Credential{ID: "under", Account: a.ID, Kind: auth.OAuth, Keys: "k", CreatedAt: w.Now()}, a1)
		},
		"rotation": func(a1 auth.Act) error {
			_, _, err := w.RotateSecret(ctx, c, digest("next"), "p", w.Now().Add(time.Hour), false, a1)
			return err
		},
		"person": func(a1 auth.Act) error {
			return w.InvitePerson(ctx, auth.Person{ID: "p_under", Account: a.ID, Email: "under@example.com"}, auth.Invitation{Person: "p_under", Digest: []byte("u"), ExpiresAt: w.Now().Add(time.Hour)}, a1)
		},
		"reset": func(a1 auth.Act) error {
			p := w.invite(t, a.ID, auth.RoleViewer)
			return w.ResetPerson(ctx, a.ID, p.ID, w.link(p.ID), a1)
		},
		"token": func(a1 auth.Act) error {
			return w.CreateOperatorToken(ctx, auth.OperatorToken{ID: "ot_under", Digest: []byte("d"), CreatedAt: w.Now()}, a1)
		},
		"key": func(a1 auth.Act) error { return w.AddKey(ctx, key("under", auth.SigningRing, w.Now()), "", a1) },
		"allowlist": func(a1 auth.Act) error {
			list := []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), CreatedAt: w.Now()}}
			_, err := w.ReplaceAllowlist(ctx, a.ID, list, auth.AllowlistTag(nil), a1.Terms, []auth.Act{act, a1})
			return err
		},
		"allowlist that stays as it is": func(a1 auth.Act) error {
			_, err := w.ReplaceAllowlist(ctx, w.account(t).ID, nil, auth.AllowlistTag(nil), a1.Terms, nil)
			return err
		},
	} {
		no(t, do(w.under(name, "r")))
		if got, err := w.Repeat(ctx, []byte(name)); err != nil || got.Answer == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}

	no(t, w.AmendRepeat(ctx, []byte("one"), "more"))
	w.repeat(t, "one", "a", "more")
	w.wait(time.Hour)
	w.repeat(t, "one", "", "") // as if nobody had used it before
	_, err = w.CreateAccount(ctx, "Beta", "", w.under("one", "c"))
	no(t, err)
	w.wait(time.Hour + time.Second)
	no(t, w.Prune(ctx, store.PruneBefore{}))
	no(t, w.AmendRepeat(ctx, []byte("one"), "late"))
	w.repeat(t, "one", "", "")
}

// raceRepeat: of many under one key one does it, and the others leave nothing behind.
func raceRepeat(t *testing.T, w *World) {
	for round := range rounds {
		oneWins(t, race(racers, func(i int) error {
			_, err := w.CreateAccount(t.Context(), fmt.Sprint("Number ", i), "", w.under(fmt.Sprint("key ", round), "r"))
			return err
		}), auth.ErrDone)
	}
	all, err := w.Accounts(t.Context(), auth.AccountQuery{})
	no(t, err)
	if len(all) != rounds || len(w.trail(t)) != rounds {
		t.Errorf("%d accounts and %d acts came of %d keys", len(all), len(w.trail(t)), rounds)
	}
}

// terms: what is not as its changer believes stays as it is.
func terms(t *testing.T, w *World) {
	ctx := t.Context()
	a, c := w.account(t), w.credential(t, w.account(t).ID)
	p := w.invite(t, w.account(t).ID, auth.RoleOwner)
	token := auth.OperatorToken{ID: "ot_1", Scopes: []string{"accounts:read", "accounts:write"}, Digest: digest("secret"), CreatedAt: w.Now()}
	no(t, w.CreateOperatorToken(ctx, token, act))
	no(t, w.AddKey(ctx, key("k1", auth.SigningRing, w.Now()), "", act))
	no(t, w.AddKey(ctx, key("k2", auth.RefreshRing, w.Now()), "", act))
	believe := func(right bool) auth.Act {
		on := act
		on.Terms.Account = func(got auth.Account) bool { return got.ID == a.ID && right }
		on.Terms.Credential = func(got auth.Credential) bool { return got.ID == c.ID && len(got.Secrets) > 0 && right }
		on.Terms.Person = func(got auth.Person) bool {
			return got.ID == p.ID && got.Account == p.Account && got.Email == p.Email && right
		}
		on.Terms.Token = func(got auth.OperatorToken) bool {
			return got.ID == "ot_1" && slices.Equal(got.Scopes, token.Scopes) && right
		}
		on.Terms.Key = func(all []auth.KeyRow, id auth.KeyID) bool {
			return len(all) == 2 && all[0].ID == "k1" && id == "k1" && right
		}
		return on
	}
	wide, name := []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), CreatedAt: w.Now()}}, "shop"
	for _, step := range []struct {
		name string
		do   func(auth.Act) error
	}{
		{"rename", func(on auth.Act) error { _, err := w.RenameAccount(ctx, a.ID, "Beta", nil, on); return err }},
		{"suspend", func(on auth.Act) error { _, err := w.SuspendAccount(ctx, a.ID, true, on); return err }},
		{"suspend again", func(on auth.Act) error { _, err := w.SuspendAccount(ctx, a.ID, false, on); return err }},
		{"resume", func(on auth.Act) error { _, err := w.ResumeAccount(ctx, a.ID, on); return err }},
		{"limit", func(on auth.Act) error {
			_, err := w.LimitAccount(ctx, a.ID, auth.Rate{Count: 1, Per: time.Second}, on)
			return err
		}},
		{"replace", func(on auth.Act) error {
			_, err := w.ReplaceAllowlist(ctx, a.ID, wide, auth.AllowlistTag(nil), on.Terms, []auth.Act{act})
			return err
		}},
		{"allow", func(on auth.Act) error {
			_, err := w.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("::/0")}}, on)
			return err
		}},
		{"remove", func(on auth.Act) error {
			_, err := w.RemoveIP(ctx, a.ID, []netip.Prefix{wide[0].Prefix}, true, on)
			return err
		}},
		{"delete", func(on auth.Act) error { _, err := w.DeleteAccount(ctx, a.ID, on); return err }},
		{"update", func(on auth.Act) error {
			_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Name: &name}, on)
			return err
		}},
		{"rotate", func(on auth.Act) error {
			_, _, err := w.RotateSecret(ctx, c.ID, digest("next"), "p", w.Now().Add(time.Hour), false, on)
			return err
		}},
		{"undo", func(on auth.Act) error { _, err := w.UndoRotation(ctx, c.ID, on); return err }},
		{"revoke", func(on auth.Act) error { _, err := w.RevokeCredential(ctx, c.ID, on); return err }},
		{"role", func(on auth.Act) error {
			return w.ChangePersonRole(ctx, p.Account, p.ID, auth.RoleViewer, false, on)
		}},
		{"reset", func(on auth.Act) error { return w.ResetPerson(ctx, p.Account, p.ID, w.link(p.ID), on) }},
		{"remove a person", func(on auth.Act) error { return w.RemovePerson(ctx, p.Account, p.ID, true, on) }},
		{"revoke a token", func(on auth.Act) error { return w.RevokeOperatorToken(ctx, "ot_1", on) }},
		{"revoke it again", func(on auth.Act) error { return w.RevokeOperatorToken(ctx, "ot_1", on) }},
		{"revoke a key", func(on auth.Act) error { _, err := w.RevokeKey(ctx, "k1", nil, on); return err }},
		{"revoke that again", func(on auth.Act) error { _, err := w.RevokeKey(ctx, "k1", nil, on); return err }},
	} {
		head, acts := w.head(t), len(w.trail(t))
		is(t, step.name, step.do(believe(false)), auth.ErrChanged)
		if w.head(t) != head || len(w.trail(t)) != acts {
			t.Errorf("%s: something was done all the same", step.name)
		}
		no(t, step.do(believe(true)))
	}
	is(t, "an account that is gone", func() error { _, err := w.ResumeAccount(ctx, a.ID, believe(true)); return err }(), auth.ErrNotFound)
	is(t, "a credential that never was", func() error { _, err := w.RevokeCredential(ctx, "nobody", believe(true)); return err }(), auth.ErrNotFound)
	is(t, "a person who was removed", w.ResetPerson(ctx, p.Account, p.ID, w.link(p.ID), believe(false)), auth.ErrNotFound)
	other := w.invite(t, 0, auth.RoleViewer)
	is(t, "a person of others", w.ChangePersonRole(ctx, p.Account, other.ID, auth.RoleOwner, true, believe(false)), auth.ErrNotFound)
	is(t, "a token that never was", w.RevokeOperatorToken(ctx, "nobody", believe(false)), auth.ErrNotFound)
	is(t, "a key that never was", func() error { _, err := w.RevokeKey(ctx, "nobody", nil, believe(false)); return err }(), auth.ErrNotFound)
}

// raceTerms: of many who change what they all have read, the one who is first is right.
func raceTerms(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	for round := range rounds {
		before, err := w.Account(ctx, a.ID)
		no(t, err)
		tag := auth.AllowlistTag(before.Allowlist)
		on := act
		on.Terms.Account = func(now auth.Account) bool { return now.Name == before.Name && auth.AllowlistTag(now.Allowlist) == tag }
		entry := func(i int) auth.AllowEntry {
			return auth.AllowEntry{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(round), byte(i)}), 32), CreatedAt: w.Now()}
		}
		oneWins(t, race(racers, func(i int) error {
			var err error
			switch i % 3 {
			case 0:
				_, err = w.RenameAccount(ctx, a.ID, fmt.Sprintf("%d of %d", i, round), nil, on)
			case 1:
				_, err = w.AllowIP(ctx, a.ID, []auth.AllowEntry{entry(i)}, on)
			default:
				_, err = w.ReplaceAllowlist(ctx, a.ID, []auth.AllowEntry{entry(i)}, tag, on.Terms, []auth.Act{act})
			}
			return err
		}), auth.ErrChanged)

		was, err := w.Credential(ctx, c.ID)
		no(t, err)
		on = act
		on.Terms.Credential = func(now auth.Credential) bool { return now.Name == was.Name }
		oneWins(t, race(racers, func(i int) error {
			name := fmt.Sprintf("%d of %d", i, round)
			_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Name: &name}, on)
			return err
		}), auth.ErrChanged)
	}
	w.raceTermsOfPeople(t)
}

// raceTermsOfPeople is raceTerms for persons, tokens and keys, which most changes end: whoever changes a person's role or resets them
// makes of them another for all others.
func (w *World) raceTermsOfPeople(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for round := range rounds {
		for _, account := range []auth.AccountID{0, w.account(t).ID} {
			p, _ := w.active(t, account, auth.RoleViewer)
			on := act
			on.Terms.Person = func(now auth.Person) bool { return now.Role == p.Role && now.State == p.State }
			oneWins(t, race(racers, func(i int) error {
				if i%2 == 0 {
					return w.ChangePersonRole(ctx, account, p.ID, auth.RoleOwner, true, on)
				}
				return w.ResetPerson(ctx, account, p.ID, w.link(p.ID), on)
			}), auth.ErrChanged)
		}
		token := auth.OperatorToken{ID: auth.OperatorTokenID(w.id("ot_")), Digest: digest("secret"), CreatedAt: w.Now()}
		no(t, w.CreateOperatorToken(ctx, token, act))
		on := act
		on.Terms.Token = func(now auth.OperatorToken) bool { return now.RevokedAt.IsZero() }
		oneWins(t, race(racers, func(int) error { return w.RevokeOperatorToken(ctx, token.ID, on) }), auth.ErrChanged)

		k := key(auth.KeyID(w.id("k")), auth.Ring(fmt.Sprint("ring ", round)), w.Now())
		no(t, w.AddKey(ctx, k, "", act))
		on = act
		on.Terms.Key = func(all []auth.KeyRow, id auth.KeyID) bool {
			return slices.ContainsFunc(all, func(k auth.KeyRow) bool { return k.ID == id && k.RevokedAt.IsZero() })
		}
		oneWins(t, race(racers, func(int) error { _, err := w.RevokeKey(ctx, k.ID, nil, on); return err }), auth.ErrChanged)
	}
}
