package storetest

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func credentials(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	first := w.credential(t, a.ID, func(c *auth.Credential) { c.ExpiresAt = w.Now().Add(time.Hour) })
	if head := w.head(t); head != 0 {
		t.Errorf("nobody can hold a new credential: got head %d, want 0", head)
	}
	is(t, "the same id again", w.CreateCredential(ctx, first, act), auth.ErrConflict)
	w.wait(time.Second)
	second := w.credential(t, a.ID, func(c *auth.Credential) {
		c.Kind, c.Name, c.Scope = auth.APIKey, "", ""
		c.Secrets = []auth.Secret{
			{Number: 3, Digest: digest("third"), Pepper: "pepper 2", CreatedAt: w.Now()},
			{Number: 2, Digest: digest("second"), Pepper: "pepper 1", CreatedAt: w.Now(), ExpiresAt: w.Now().Add(time.Hour)},
		}
	})
	for name, secrets := range map[string][]auth.Secret{
		"no secret":               nil,
		"a secret without number": {{Digest: digest("x")}},
		"a newest with an end":    {{Number: 1, Digest: digest("x"), ExpiresAt: w.Now()}},
		"an older without one":    {{Number: 2, Digest: digest("x")}, {Number: 1, Digest: digest("y")}},
		"in the wrong order":      {{Number: 1, Digest: digest("x")}, {Number: 2, Digest: digest("y"), ExpiresAt: w.Now()}},
	} {
		if err := w.CreateCredential(ctx, auth.Credential{ID: "bad", Account: a.ID, Kind: auth.Login, Secrets: secrets}, act); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}

	use := auth.Use{At: w.Now(), Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "sdk/1", Count: 4}
	no(t, w.WriteUsage(ctx, nil, []auth.SecretUse{{Credential: second.ID, Secret: 2, Use: use}}))
	second.Secrets[1].LastUse = use
	got, err := w.Credentials(ctx, auth.CredentialQuery{Account: a.ID})
	no(t, err)
	if diff := cmp.Diff([]auth.Credential{first, second}, got, same); diff != "" {
		t.Errorf("credentials of the account (-want +got):\n%s", diff)
	}
	one, err := w.Credential(ctx, second.ID)
	no(t, err)
	if diff := cmp.Diff(second, one, same); diff != "" {
		t.Errorf("one credential (-want +got):\n%s", diff)
	}
	_, err = w.Credential(ctx, "nobody's")
	is(t, "a credential that is not there", err, auth.ErrNotFound)

	r, err := w.RevokeCredential(ctx, first.ID, act)
	p := revoked(t, r, err)
	one, err = w.Credential(ctx, first.ID)
	no(t, err)
	first.RevokedAt, first.RestrictedAt, first.DeadBelow = w.Now(), w.Now(), p
	if diff := cmp.Diff(first, one, same); diff != "" {
		t.Errorf("revoked (-want +got):\n%s", diff)
	}
	if got := w.last(t); got != (auth.Change{Number: p, Of: auth.ChangedCredential, Account: a.ID, Credential: first.ID, At: w.Now()}) {
		t.Errorf("the log says %+v", got)
	}
	r, err = w.RevokeCredential(ctx, first.ID, act)
	already(t, r, err)
	_, err = w.RevokeCredential(ctx, "nobody's", act)
	is(t, "revoke one that is not there", err, auth.ErrNotFound)
}

func expiring(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	var last auth.Credential
	var all []auth.CredentialID
	for _, in := range []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour} {
		last = w.credential(t, a.ID, func(c *auth.Credential) {
			if in > 0 {
				c.ExpiresAt = w.Now().Add(in)
			}
		})
		all = append(all, last.ID)
	}
	counts := func(after, until time.Duration, want int64) {
		t.Helper()
		got, err := w.CountExpiring(ctx, w.Now().Add(after), w.Now().Add(until))
		no(t, err)
		if got != want {
			t.Errorf("between %v and %v: got %d, want %d", after, until, got, want)
		}
	}
	counts(0, 24*time.Hour, 3)
	counts(time.Hour, 2*time.Hour, 1) // not the one at its beginning, but the one at its end
	_, err := w.RevokeCredential(ctx, last.ID, act)
	no(t, err)
	counts(0, 24*time.Hour, 2)

	// They are listed too, the first to end first, and so are those whose old secret ends, unless they are dead themselves.
	other := w.credential(t, w.account(t).ID, func(c *auth.Credential) { c.ExpiresAt = w.Now().Add(90 * time.Minute) })
	lists := func(q auth.EndingQuery, want ...auth.CredentialID) {
		t.Helper()
		found, err := w.Ending(ctx, q)
		no(t, err)
		var ids []auth.CredentialID
		for _, c := range found {
			ids = append(ids, c.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%+v: got %v, want %v", q, ids, want)
		}
	}
	lists(auth.EndingQuery{Within: 2 * time.Hour}, all[1], other.ID, all[2])
	lists(auth.EndingQuery{Within: 2 * time.Hour, Most: 2}, all[1], other.ID)
	lists(auth.EndingQuery{Within: 2 * time.Hour, Account: a.ID}, all[1], all[2])
	lists(auth.EndingQuery{Within: 2 * time.Hour, OldSecrets: true})
	for i, id := range []auth.CredentialID{all[0], all[1], other.ID, last.ID} {
		_, _, err := w.RotateSecret(ctx, id, digest("new "+string(id)), "p", w.Now().Add(time.Duration(5-i)*30*time.Minute), false, act)
		if id != last.ID {
			no(t, err)
		}
	}
	lists(auth.EndingQuery{Within: 3 * time.Hour, OldSecrets: true}, other.ID, all[1], all[0])
	w.wait(70 * time.Minute)
	lists(auth.EndingQuery{Within: 3 * time.Hour, OldSecrets: true}, other.ID, all[0])
	lists(auth.EndingQuery{Within: 3 * time.Hour}, other.ID, all[2])
}

func holder(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID, func(c *auth.Credential) {
		c.Scope, c.ExpiresAt = "orders:read gatehouse:revoke", w.Now().Add(time.Hour)
	})
	_, _, err := w.RotateSecret(ctx, c.ID, digest("second"), "pepper 2", w.Now().Add(time.Hour), true, act)
	no(t, err)
	want := auth.Holder{
		ID: c.ID, Account: a.ID, Kind: auth.Login, Scope: c.Scope, ExpiresAt: c.ExpiresAt,
		Locks: []auth.Lock{
			{Number: 2, Digest: digest("second"), Pepper: "pepper 2"},
			{Number: 1, Digest: digest("first"), Pepper: "pepper 1", ExpiresAt: w.Now().Add(time.Hour)},
		},
	}
	shows := func() {
		t.Helper()
		got, err := w.Holder(ctx, auth.Login, c.ID)
		no(t, err)
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("holder (-want +got):\n%s", diff)
		}
	}
	shows()
	_, err = w.SuspendAccount(ctx, a.ID, false, act)
	no(t, err)
	want.AccountSuspended = true
	shows()
	_, err = w.RevokeCredential(ctx, c.ID, act)
	no(t, err)
	want.RevokedAt = w.Now()
	shows()

	for name, ask := range map[string]struct {
		kind auth.Kind
		id   auth.CredentialID
	}{
		"another kind": {auth.Basic, c.ID}, "nobody's": {auth.Login, "nobody's"}, "no id": {auth.Login, ""},
	} {
		_, err := w.Holder(ctx, ask.kind, ask.id)
		is(t, name, err, auth.ErrNotFound)
	}
}

func rotateSecret(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	s := w.login(t, c.ID)
	w.wait(time.Minute)
	rotate := func(secret string, oldExpires time.Time, end bool) (auth.Secret, auth.Revoked, error) {
		return w.RotateSecret(ctx, c.ID, digest(secret), "pepper 2", oldExpires, end, act)
	}
	got, r, err := rotate("second", w.Now().Add(7*24*time.Hour), false)
	p := revoked(t, r, err)
	if diff := cmp.Diff(auth.Secret{Number: 2, Digest: digest("second"), Pepper: "pepper 2", CreatedAt: w.Now()}, got, same); diff != "" {
		t.Errorf("the new secret (-want +got):\n%s", diff)
	}
	if got := w.last(t); got.Number != p || got.Of != auth.ChangedCredential || got.Credential != c.ID || got.Account != a.ID {
		t.Errorf("the log says %+v", got)
	}
	// Both open; live sessions go on.
	for number, secret := range map[int]string{1: "first", 2: "second"} {
		n := w.newSession(c.ID)
		n.SecretDigest = digest(secret)
		s, err := w.StartSession(ctx, n)
		no(t, err)
		if s.Secret != number {
			t.Errorf("a login with the %s secret: got number %d, want %d", secret, s.Secret, number)
		}
	}
	_, err = w.refresh(t, s.ID, 0, "")
	no(t, err)

	_, _, err = rotate("third", w.Now().Add(time.Hour), false)
	is(t, "a third", err, auth.ErrConflict)
	if msg := auth.AsError(err).Msg; !strings.Contains(msg, "number 1 ") || !strings.Contains(msg, "--finish") {
		t.Errorf("the error should name the secret to finish: %q", msg)
	}
	r, err = w.FinishRotation(ctx, c.ID, act)
	revoked(t, r, err)
	_, err = w.StartSession(ctx, w.newSession(c.ID))
	because(t, "the first secret", err, auth.ErrBadCredential, auth.ReasonWrongSecret)
	_, err = w.FinishRotation(ctx, c.ID, act)
	is(t, "finish again", err, auth.ErrConflict)

	// The one that has ended makes room. An end that has passed is now.
	w.wait(time.Minute)
	got, r, err = rotate("third", time.Time{}, true)
	p = revoked(t, r, err)
	if got.Number != 3 {
		t.Errorf("got number %d, want 3", got.Number)
	}
	now, err := w.Credential(ctx, c.ID)
	no(t, err)
	old := now.Secrets[1]
	if now.DeadBelow != p || !now.RestrictedAt.Equal(w.Now()) || !now.NarrowedAt.IsZero() || !old.ExpiresAt.Equal(w.Now()) || old.Number != 2 {
		t.Errorf("with sessions ended: got %+v", now)
	}
	_, err = w.refresh(t, s.ID, 1, "")
	because(t, "a session from before", err, auth.ErrEnded, auth.ReasonRevoked)
	n := w.newSession(c.ID)
	n.SecretDigest = digest("third")
	after, err := w.StartSession(ctx, n)
	no(t, err)
	_, err = w.refresh(t, after.ID, 0, "")
	no(t, err)

	_, err = w.RevokeCredential(ctx, c.ID, act)
	no(t, err)
	_, _, err = rotate("fourth", time.Time{}, false)
	is(t, "rotate a revoked one", err, auth.ErrConflict)
	_, err = w.FinishRotation(ctx, c.ID, act)
	is(t, "finish a revoked one", err, auth.ErrConflict)
	_, _, err = w.RotateSecret(ctx, "nobody's", digest("x"), "p", time.Time{}, false, act)
	is(t, "rotate nobody's", err, auth.ErrNotFound)
	_, err = w.FinishRotation(ctx, "nobody's", act)
	is(t, "finish nobody's", err, auth.ErrNotFound)
}

func undoRotation(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID)
	_, err := w.UndoRotation(ctx, c.ID, act)
	is(t, "nothing to undo", err, auth.ErrConflict)
	_, _, err = w.RotateSecret(ctx, c.ID, digest("second"), "pepper 2", w.Now().Add(time.Hour), false, act)
	no(t, err)
	r, err := w.UndoRotation(ctx, c.ID, act)
	revoked(t, r, err)
	got, err := w.Credential(ctx, c.ID)
	no(t, err)
	if diff := cmp.Diff(c, got, same); diff != "" {
		t.Errorf("as if it had never been rotated (-want +got):\n%s", diff)
	}
	n := w.newSession(c.ID)
	n.SecretDigest = digest("second")
	_, err = w.StartSession(ctx, n)
	because(t, "the secret that was taken away", err, auth.ErrBadCredential, auth.ReasonWrongSecret)

	// Its number is not used again: the audit trail must not mean two secrets by one.
	s, _, err := w.RotateSecret(ctx, c.ID, digest("third"), "pepper 2", w.Now().Add(time.Hour), false, act)
	no(t, err)
	if s.Number != 3 {
		t.Errorf("got number %d, want 3", s.Number)
	}
	w.wait(time.Hour)
	_, err = w.UndoRotation(ctx, c.ID, act)
	is(t, "undo once the older one is dead", err, auth.ErrConflict)
	_, err = w.UndoRotation(ctx, "nobody's", act)
	is(t, "undo nobody's", err, auth.ErrNotFound)
}

func narrowCredential(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID)
	text := func(s string) *string { return &s }
	at := func(t time.Time) *time.Time { return &t }
	for _, step := range []struct {
		name   string
		to     auth.CredentialUpdate
		narrow bool
	}{
		{"another name", auth.CredentialUpdate{Name: text("Shop")}, false},
		{"more scopes", auth.CredentialUpdate{Scope: text("orders:read orders:write stock")}, false},
		{"fewer scopes", auth.CredentialUpdate{Scope: text("orders:read stock")}, true},
		{"one for another", auth.CredentialUpdate{Scope: text("orders:read orders:write")}, true},
		{"an expiry", auth.CredentialUpdate{ExpiresAt: at(w.Now().Add(24 * time.Hour))}, true},
		{"a later one", auth.CredentialUpdate{ExpiresAt: at(w.Now().Add(48 * time.Hour))}, false},
		{"a sooner one", auth.CredentialUpdate{ExpiresAt: at(w.Now().Add(36 * time.Hour))}, true},
		{"none", auth.CredentialUpdate{ExpiresAt: at(time.Time{})}, false},
	} {
		before, err := w.Credential(ctx, c.ID)
		no(t, err)
		w.wait(time.Minute)
		r, err := w.UpdateCredential(ctx, c.ID, step.to, act)
		p := revoked(t, r, err)
		if got := w.last(t); got.Number != p || got.Of != auth.ChangedCredential || got.Credential != c.ID {
			t.Errorf("%s: the log says %+v", step.name, got)
		}
		want := before
		if step.to.Name != nil {
			want.Name = *step.to.Name
		}
		if step.to.Scope != nil {
			want.Scope = *step.to.Scope
		}
		if step.to.ExpiresAt != nil {
			want.ExpiresAt = *step.to.ExpiresAt
		}
		if step.narrow {
			want.NarrowedAt, want.RestrictedAt = w.Now(), w.Now()
		}
		got, err := w.Credential(ctx, c.ID)
		no(t, err)
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	_, err := w.UpdateCredential(ctx, "nobody's", auth.CredentialUpdate{}, act)
	is(t, "nobody's", err, auth.ErrNotFound)
	_, err = w.RevokeCredential(ctx, c.ID, act)
	no(t, err)
	_, err = w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Name: text("x")}, act)
	is(t, "a revoked one", err, auth.ErrConflict)
}

// clientKeys: an OAuth client is known by keys, by a secret, or by both, and never by nothing.
func clientKeys(t *testing.T, w *World) {
	ctx := t.Context()
	text := func(s string) *string { return &s }
	a := w.account(t)
	alone := w.credential(t, a.ID, func(c *auth.Credential) { c.Kind, c.Keys, c.Secrets = auth.OAuth, `{"keys":[1]}`, nil })
	both := w.credential(t, a.ID, func(c *auth.Credential) { c.Kind = auth.OAuth })
	_, err := w.UpdateCredential(ctx, both.ID, auth.CredentialUpdate{Keys: text(`{"keys":[2]}`)}, act)
	no(t, err)
	both.Keys = `{"keys":[2]}`
	for _, want := range []auth.Credential{alone, both} {
		got, err := w.Credential(ctx, want.ID)
		no(t, err)
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("the credential (-want +got):\n%s", diff)
		}
		h, err := w.Holder(ctx, auth.OAuth, want.ID)
		no(t, err)
		if h.Keys != want.Keys || len(h.Locks) != len(want.Secrets) {
			t.Errorf("an exchange reads %+v, want %+v", h, want)
		}
	}

	// Keys change, and who holds them hears of it.
	r, err := w.UpdateCredential(ctx, alone.ID, auth.CredentialUpdate{Keys: text(`{"keys":[3]}`)}, act)
	p := revoked(t, r, err)
	if got := w.last(t); got != (auth.Change{Number: p, Of: auth.ChangedCredential, Account: a.ID, Credential: alone.ID, At: w.Now()}) {
		t.Errorf("the log says %+v", got)
	}
	got, err := w.Credential(ctx, alone.ID)
	no(t, err)
	if got.Keys != `{"keys":[3]}` || !got.NarrowedAt.IsZero() {
		t.Errorf("got %+v: new keys end no token", got)
	}
	_, err = w.UpdateCredential(ctx, both.ID, auth.CredentialUpdate{Keys: text("")}, act)
	no(t, err)
	_, err = w.UpdateCredential(ctx, alone.ID, auth.CredentialUpdate{Keys: text("")}, act)
	is(t, "to take the only way to be known", err, auth.ErrInvalid)
	_, err = w.UpdateCredential(ctx, w.credential(t, a.ID).ID, auth.CredentialUpdate{Keys: text(`{"keys":[4]}`)}, act)
	is(t, "keys for a login", err, auth.ErrInvalid)

	_, _, err = w.RotateSecret(ctx, alone.ID, digest("x"), "p", w.Now(), false, act)
	is(t, "rotate a secret that is not there", err, auth.ErrConflict)
	_, err = w.FinishRotation(ctx, alone.ID, act)
	is(t, "finish a rotation without one", err, auth.ErrConflict)
	_, err = w.UndoRotation(ctx, alone.ID, act)
	is(t, "undo a rotation without one", err, auth.ErrConflict)
}
