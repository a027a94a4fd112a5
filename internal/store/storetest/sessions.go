package storetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func login(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID, func(c *auth.Credential) { c.Scope = "gatehouse:revoke orders:read" })
	_, err := w.RevokeContract(ctx, a.ID, auth.Orders, act) // so that the log has begun
	no(t, err)
	n := w.newSession(c.ID)
	s, err := w.StartSession(ctx, n)
	no(t, err)
	want := auth.Session{
		ID: n.ID, Account: a.ID, Credential: c.ID, Secret: 1, Position: 1, StartedAt: w.Now(), RotatedAt: w.Now(),
		AccessExpires: w.Now().Add(accessLife), Expires: w.Now().Add(refreshLife), AccessKey: "signing 1", RefreshKey: "refresh 1",
		Scope: "orders:read", Address: netip.MustParseAddr("2001:db8::7"), UserAgent: "warehouse/2.1",
	}
	if diff := cmp.Diff(want, s, same); diff != "" {
		t.Errorf("the session (-want +got):\n%s", diff)
	}
	stored, err := w.Session(ctx, n.ID)
	no(t, err)
	if diff := cmp.Diff(want, stored, same); diff != "" {
		t.Errorf("as stored (-want +got):\n%s", diff)
	}
	_, err = w.Session(ctx, "nobody's")
	is(t, "nobody's session", err, auth.ErrNotFound)
	if head := w.head(t); head != 1 {
		t.Errorf("a login appends nothing: got head %d, want 1", head)
	}

	// No token outlives its credential.
	soon := w.Now().Add(10 * time.Minute)
	d := w.credential(t, a.ID, func(c *auth.Credential) { c.ExpiresAt = soon })
	s = w.login(t, d.ID)
	if !s.AccessExpires.Equal(soon) || !s.Expires.Equal(soon) {
		t.Errorf("got a pair until %v and %v, want %v", s.AccessExpires, s.Expires, soon)
	}
}

func lateLogin(t *testing.T, w *World) {
	ctx := t.Context()
	for _, story := range []struct {
		name   string
		meddle func(auth.AccountID, auth.CredentialID) error
		want   auth.Reason
	}{
		{"revoked", func(_ auth.AccountID, c auth.CredentialID) error {
			_, err := w.RevokeCredential(ctx, c, act)
			return err
		}, auth.ReasonRevoked},
		{"suspended", func(a auth.AccountID, _ auth.CredentialID) error {
			_, err := w.SuspendAccount(ctx, a, false, act)
			return err
		}, auth.ReasonAccountSuspended},
		{"expired", func(_ auth.AccountID, c auth.CredentialID) error {
			now := w.Now()
			_, err := w.UpdateCredential(ctx, c, auth.CredentialUpdate{ExpiresAt: &now}, act)
			return err
		}, auth.ReasonExpired},
		{"rotated and finished", func(_ auth.AccountID, c auth.CredentialID) error {
			_, _, err := w.RotateSecret(ctx, c, digest("second"), "p", time.Time{}, false, act)
			return err
		}, auth.ReasonWrongSecret},
	} {
		a := w.account(t)
		c := w.credential(t, a.ID)
		no(t, story.meddle(a.ID, c.ID))
		_, err := w.StartSession(ctx, w.newSession(c.ID))
		because(t, story.name, err, auth.ErrBadCredential, story.want)
		if about := auth.AsError(err).About; about.Account != a.ID || about.Credential != c.ID {
			t.Errorf("%s: about %+v", story.name, about)
		}
	}
	_, err := w.StartSession(ctx, w.newSession("nobody's"))
	because(t, "nobody's", err, auth.ErrBadCredential, auth.ReasonUnknown)
	key := w.credential(t, w.account(t).ID, func(c *auth.Credential) { c.Kind = auth.APIKey })
	_, err = w.StartSession(ctx, w.newSession(key.ID))
	because(t, "a credential of another contract", err, auth.ErrBadCredential, auth.ReasonUnknown)
}

func refresh(t *testing.T, w *World) {
	c := w.credential(t, w.account(t).ID)
	s := w.login(t, c.ID)
	login := w.Now()
	for _, step := range []struct {
		generation int64
		after      time.Duration // the login
		want       error
	}{
		{0, time.Minute, nil},
		{0, time.Minute + time.Second, auth.ErrSpent}, // two workers raced: the session lives on
		{0, time.Minute + leeway - time.Millisecond, auth.ErrSpent},
		{1, 2 * time.Minute, nil},
		{3, 2 * time.Minute, auth.ErrBadRefresh}, // never made
		{-1, 2 * time.Minute, auth.ErrBadRefresh},
		{2, time.Hour, nil},
		{2, time.Hour + leeway, auth.ErrReused}, // someone kept a copy,
		{3, time.Hour + leeway, auth.ErrEnded},  // so the honest holder is out too
		{2, time.Hour + leeway, auth.ErrEnded},
	} {
		w.wait(step.after - w.Now().Sub(login))
		got, err := w.refresh(t, s.ID, step.generation, "")
		if step.want != nil {
			is(t, "spend generation "+time.Duration(step.generation).String(), err, step.want)
			if err != nil && auth.AsError(err).About.Session != s.ID {
				t.Errorf("generation %d: about %+v", step.generation, auth.AsError(err).About)
			}
			continue
		}
		no(t, err)
		s.Generation, s.RotatedAt = step.generation+1, w.Now()
		s.AccessExpires, s.Expires = w.Now().Add(accessLife), w.Now().Add(refreshLife)
		s.AccessKey, s.RefreshKey = "signing 2", "refresh 2"
		if diff := cmp.Diff(s, got, same); diff != "" {
			t.Errorf("generation %d (-want +got):\n%s", step.generation, diff)
		}
		stored, err := w.Session(t.Context(), s.ID)
		no(t, err)
		if diff := cmp.Diff(s, stored, same); diff != "" {
			t.Errorf("generation %d, as stored (-want +got):\n%s", step.generation, diff)
		}
	}
	// An older one at any time is theft, within the leeway of the youngest too.
	s = w.login(t, c.ID)
	for generation := range int64(2) {
		_, err := w.refresh(t, s.ID, generation, "")
		no(t, err)
	}
	_, err := w.refresh(t, s.ID, 0, "")
	is(t, "an older one at once", err, auth.ErrReused)
	_, err = w.refresh(t, "nobody's", 0, "")
	because(t, "nobody's session", err, auth.ErrBadRefresh, auth.ReasonUnknown)
}

// refreshEnds lists what stops a refresh, and for which reason.
func refreshEnds(t *testing.T, w *World) {
	ctx := t.Context()
	for _, story := range []struct {
		name   string
		meddle func(auth.Session) error
		spend  func(*auth.Spend)
		want   *auth.Error
		reason auth.Reason
	}{
		{"the account is suspended", func(s auth.Session) error {
			_, err := w.SuspendAccount(ctx, s.Account, false, act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonAccountSuspended},
		{"the account logged out", func(s auth.Session) error {
			_, err := w.RevokeContract(ctx, s.Account, auth.B2B, act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonRevoked},
		{"the credential is revoked", func(s auth.Session) error {
			_, err := w.RevokeCredential(ctx, s.Credential, act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonRevoked},
		{"the credential's sessions were ended", func(s auth.Session) error {
			_, _, err := w.RotateSecret(ctx, s.Credential, digest("x"), "p", w.Now().Add(time.Hour), true, act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonRevoked},
		{"the credential has expired", func(s auth.Session) error {
			now := w.Now()
			_, err := w.UpdateCredential(ctx, s.Credential, auth.CredentialUpdate{ExpiresAt: &now}, act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonExpired},
		{"the session was revoked", func(s auth.Session) error {
			_, err := w.RevokeSession(ctx, s.ID, s.Account, w.Now().Add(time.Hour), "command", act)
			return err
		}, nil, auth.ErrEnded, auth.ReasonRevoked},
		{"the session has expired", func(auth.Session) error {
			w.wait(refreshLife)
			return nil
		}, nil, auth.ErrBadRefresh, auth.ReasonExpired},
		{"the session is too old", func(auth.Session) error {
			w.wait(time.Hour)
			return nil
		}, func(s *auth.Spend) { s.MaxAge = time.Hour }, auth.ErrBadRefresh, auth.ReasonExpired},
	} {
		t.Run(story.name, func(t *testing.T) {
			s := w.login(t, w.credential(t, w.account(t).ID).ID)
			no(t, story.meddle(s))
			before, err := w.Session(ctx, s.ID)
			no(t, err)
			spend := w.spend(0, "")
			if story.spend != nil {
				story.spend(&spend)
			}
			_, _, err = w.RotateSession(ctx, s.ID, spend)
			because(t, "refresh", err, story.want, story.reason)
			if about := auth.AsError(err).About; about.Account != s.Account || about.Credential != s.Credential || about.Session != s.ID {
				t.Errorf("about %+v", about)
			}
			after, err := w.Session(ctx, s.ID)
			no(t, err)
			if diff := cmp.Diff(before, after, same); diff != "" {
				t.Errorf("a refusal must change nothing (-before +after):\n%s", diff)
			}
		})
	}
}

// peek looks at what a refresh would find, and leaves it.
func peek(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID, func(c *auth.Credential) { c.Scope = "a b" })
	s := w.login(t, c.ID)
	_, err := w.refresh(t, s.ID, 0, "")
	no(t, err)
	scope := "b c"
	_, err = w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Scope: &scope}, act)
	no(t, err)
	before, err := w.Session(ctx, s.ID)
	no(t, err)
	got, err := w.PeekSession(ctx, s.ID, 1, 0)
	no(t, err)
	want := before
	want.Scope = "b"
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("the session (-want +got):\n%s", diff)
	}
	for generation, want := range map[int64]error{0: auth.ErrReused, 2: auth.ErrBadRefresh, -1: auth.ErrBadRefresh} {
		_, err := w.PeekSession(ctx, s.ID, generation, 0)
		is(t, "another generation", err, want)
	}
	_, err = w.PeekSession(ctx, "nobody's", 0, 0)
	because(t, "nobody's session", err, auth.ErrBadRefresh, auth.ReasonUnknown)
	w.wait(time.Hour)
	_, err = w.PeekSession(ctx, s.ID, 1, time.Hour)
	because(t, "a session that is too old", err, auth.ErrBadRefresh, auth.ReasonExpired)
	after, err := w.Session(ctx, s.ID)
	no(t, err)
	if diff := cmp.Diff(before, after, same); diff != "" {
		t.Errorf("looking must change nothing (-before +after):\n%s", diff)
	}
}

// replay: a client that did not get the answer asks again with the same key.
func replay(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID)
	s := w.login(t, c.ID)
	first, replayed, err := w.RotateSession(ctx, s.ID, w.spend(0, "key"))
	no(t, err)
	if replayed {
		t.Error("the first use is no replay")
	}
	w.wait(leeway - time.Millisecond)
	for range 2 {
		again, replayed, err := w.RotateSession(ctx, s.ID, w.spend(0, "key"))
		no(t, err)
		if !replayed {
			t.Error("got a first use, want a replay")
		}
		if diff := cmp.Diff(first, again, same); diff != "" {
			t.Errorf("a replay returns the row as it is (-first +again):\n%s", diff)
		}
	}
	_, err = w.refresh(t, s.ID, 0, "another key")
	is(t, "another key", err, auth.ErrSpent)
	_, err = w.refresh(t, s.ID, 0, "")
	is(t, "no key", err, auth.ErrSpent)

	// It passes every check of a first use.
	_, err = w.SuspendAccount(ctx, s.Account, false, act)
	no(t, err)
	_, err = w.refresh(t, s.ID, 0, "key")
	because(t, "suspended meanwhile", err, auth.ErrEnded, auth.ReasonAccountSuspended)
	_, err = w.ResumeAccount(ctx, s.Account, act)
	no(t, err)
	bad := w.spend(0, "key")
	bad.AddressRefused = true
	_, _, err = w.RotateSession(ctx, s.ID, bad)
	is(t, "from an address that is not allowed", err, auth.ErrAddressNotAllowed)

	w.wait(time.Millisecond)
	_, err = w.refresh(t, s.ID, 0, "key")
	is(t, "past the leeway", err, auth.ErrReused)

	// A rotation without a key has no replay, not even without a key.
	s = w.login(t, c.ID)
	_, err = w.refresh(t, s.ID, 0, "")
	no(t, err)
	_, err = w.refresh(t, s.ID, 0, "")
	is(t, "no key, twice", err, auth.ErrSpent)
	// The key of an earlier rotation is not the key of this one.
	_, err = w.refresh(t, s.ID, 1, "key 1")
	no(t, err)
	_, err = w.refresh(t, s.ID, 2, "key 2")
	no(t, err)
	_, err = w.refresh(t, s.ID, 1, "key 1")
	is(t, "an older generation under its old key", err, auth.ErrReused)
}

func badAddress(t *testing.T, w *World) {
	ctx := t.Context()
	s := w.login(t, w.credential(t, w.account(t).ID).ID)
	bad := func(generation int64) error {
		spend := w.spend(generation, "")
		spend.AddressRefused = true
		_, _, err := w.RotateSession(ctx, s.ID, spend)
		return err
	}
	is(t, "a good token", bad(0), auth.ErrAddressNotAllowed)
	_, err := w.refresh(t, s.ID, 0, "") // and it stays good
	no(t, err)
	is(t, "a race", bad(0), auth.ErrSpent)
	is(t, "one never made", bad(2), auth.ErrBadRefresh)
	w.wait(leeway)
	is(t, "a reuse is a reuse from anywhere", bad(0), auth.ErrReused)
	is(t, "and ends the session", bad(1), auth.ErrEnded)
}

func reuse(t *testing.T, w *World) {
	ctx := t.Context()
	s := w.login(t, w.credential(t, w.account(t).ID).ID)
	_, err := w.refresh(t, s.ID, 0, "")
	no(t, err)
	w.wait(leeway)

	before := len(w.trail(t))
	spend := w.spend(0, "")
	spend.OnReuse = auth.RefuseOnly
	_, _, err = w.RotateSession(ctx, s.ID, spend)
	is(t, "refuse only", err, auth.ErrReused)
	if got, err := w.Session(ctx, s.ID); err != nil || !got.EndedAt.IsZero() || w.head(t) != 0 || len(w.trail(t)) != before {
		t.Errorf("refuse only must leave everything as it is: got %+v, %v", got, err)
	}

	spend.OnReuse = auth.RevokeSession
	_, _, err = w.RotateSession(ctx, s.ID, spend)
	because(t, "reuse", err, auth.ErrReused, auth.ReasonRefreshReused)
	about := auth.Subject{Account: s.Account, Credential: s.Credential, Secret: 1, Session: s.ID}
	if got := auth.AsError(err).About; got != about {
		t.Errorf("about %+v, want %+v", got, about)
	}
	got, err := w.Session(ctx, s.ID)
	no(t, err)
	if !got.EndedAt.Equal(w.Now()) || got.EndedBecause != "reuse" {
		t.Errorf("the session: got %+v, want it ended because of reuse", got)
	}
	// Its access tokens die too, on every replica, and for as long as any of its tokens could live.
	until := w.Now().Add(refreshLife - leeway)
	want := auth.Change{Number: 1, Of: auth.ChangedSession, Account: s.Account, Session: s.ID, Until: until, At: w.Now()}
	if got := w.last(t); got != want {
		t.Errorf("the log: got %+v, want %+v", got, want)
	}
	e, err := w.Exceptions(ctx, w.Now())
	no(t, err)
	if diff := cmp.Diff([]auth.RevokedSession{{ID: s.ID, Until: until}}, e.Sessions); diff != "" {
		t.Errorf("revoked sessions (-want +got):\n%s", diff)
	}
	entry := w.trail(t)[0]
	if entry.Act.Action != "session.reuse" || entry.About != about || entry.Act.Actor != act.Actor || entry.Act.RequestID != act.RequestID {
		t.Errorf("the audit trail: got %+v", entry)
	}
	_, _, err = w.RotateSession(ctx, s.ID, spend)
	is(t, "again", err, auth.ErrEnded)
	if w.head(t) != 1 || len(w.trail(t)) != before+1 {
		t.Error("a session ends once")
	}
}

func nextPairHasLess(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID)
	s := w.login(t, c.ID)
	scope := func(to string) {
		t.Helper()
		_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{Scope: &to}, act)
		no(t, err)
	}
	next := func(generation int64) auth.Session {
		t.Helper()
		s, err := w.refresh(t, s.ID, generation, "")
		no(t, err)
		stored, err := w.Session(ctx, s.ID)
		no(t, err)
		if diff := cmp.Diff(stored, s, same); diff != "" {
			t.Errorf("generation %d (-stored +returned):\n%s", generation, diff)
		}
		return s
	}
	scope("gatehouse:revoke orders:read")
	if got := next(0); got.Scope != "orders:read" {
		t.Errorf("narrowed: got %q, want orders:read", got.Scope)
	}
	scope("orders:read orders:write")
	if got := next(1); got.Scope != "orders:read" {
		t.Errorf("widened, and yet what a session lost it does not get back: got %q", got.Scope)
	}
	scope("orders:write")
	if got := next(2); got.Scope != "" {
		t.Errorf("nothing left: got %q", got.Scope)
	}
	soon := w.Now().Add(30 * time.Minute)
	_, err := w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{ExpiresAt: &soon}, act)
	no(t, err)
	if got := next(3); !got.Expires.Equal(soon) || !got.AccessExpires.Equal(soon) {
		t.Errorf("got a pair until %v and %v, want no longer than the credential, %v", got.AccessExpires, got.Expires, soon)
	}
	later := w.Now().Add(24 * time.Hour)
	_, err = w.UpdateCredential(ctx, c.ID, auth.CredentialUpdate{ExpiresAt: &later}, act)
	no(t, err)
	if got := next(4); !got.Expires.Equal(later) || !got.AccessExpires.Equal(w.Now().Add(accessLife)) {
		t.Errorf("got a pair until %v and %v, want %v at most", got.AccessExpires, got.Expires, later)
	}
	// And no longer than a session may last.
	spend := w.spend(5, "")
	spend.MaxAge = 20 * time.Minute
	got, _, err := w.RotateSession(ctx, s.ID, spend)
	no(t, err)
	if end := s.StartedAt.Add(spend.MaxAge); !got.Expires.Equal(end) || !got.AccessExpires.Equal(end) {
		t.Errorf("got a pair until %v and %v, want until %v", got.AccessExpires, got.Expires, end)
	}
}
