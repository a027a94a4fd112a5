package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func revokeSession(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	s := w.login(t, w.credential(t, a.ID).ID)
	until := w.Now().Add(24 * time.Hour)
	revoke := func(id auth.SessionID, account auth.AccountID, until time.Time) (auth.Revoked, error) {
		return w.RevokeSession(ctx, id, account, until, "logout", act)
	}
	_, err := revoke(s.ID, 999, until)
	is(t, "by another account", err, auth.ErrNotFound)
	r, err := revoke(s.ID, a.ID, until)
	p := revoked(t, r, err)
	want := auth.Change{Number: p, Of: auth.ChangedSession, Account: a.ID, Session: s.ID, Until: until, At: w.Now()}
	if got := w.last(t); got != want {
		t.Errorf("the log: got %+v, want %+v", got, want)
	}
	got, err := w.Session(ctx, s.ID)
	no(t, err)
	if !got.EndedAt.Equal(w.Now()) || got.EndedBecause != "logout" {
		t.Errorf("got %+v, want it ended by logout", got)
	}
	r, err = revoke(s.ID, a.ID, until)
	already(t, r, err)
	r, err = revoke(s.ID, a.ID, until.Add(-time.Hour))
	already(t, r, err)

	// Most sessions have no row: an API key's tokens name one that nobody wrote down.
	r, err = revoke("of an API key", a.ID, until)
	revoked(t, r, err)
	r, err = revoke("of an API key", a.ID, until.Add(time.Hour)) // to be remembered longer: replicas must hear of it
	revoked(t, r, err)
	e, err := w.Exceptions(ctx, w.Now())
	no(t, err)
	if diff := cmp.Diff([]auth.RevokedSession{{ID: s.ID, Until: until}, {ID: "of an API key", Until: until.Add(time.Hour)}}, e.Sessions); diff != "" {
		t.Errorf("revoked sessions (-want +got):\n%s", diff)
	}
	w.wait(24 * time.Hour)
	e, err = w.Exceptions(ctx, w.Now())
	no(t, err)
	if len(e.Sessions) != 1 {
		t.Errorf("what need not be remembered is no exception: got %+v", e.Sessions)
	}
}

func logout(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	before := w.login(t, c.ID)
	var want [4]auth.Position
	for i, contract := range auth.Contracts {
		w.wait(time.Second)
		r, err := w.RevokeContract(ctx, a.ID, contract, act)
		want[i] = revoked(t, r, err)
		got, err := w.Account(ctx, a.ID)
		no(t, err)
		if got.DeadBelow != want || !got.RestrictedAt.Equal(w.Now()) {
			t.Errorf("%s: got %+v restricted at %v, want %+v", contract, got.DeadBelow, got.RestrictedAt, want)
		}
	}
	if _, err := w.RevokeContract(ctx, a.ID, "none", act); err == nil {
		t.Error("a contract that is none: got no error")
	}
	// A login sent after the logout was answered lives, and nothing from before survives.
	after := w.login(t, c.ID)
	if after.Position < want[auth.B2B.Index()] {
		t.Errorf("a login afterwards has position %d, want %d at least", after.Position, want[auth.B2B.Index()])
	}
	_, err := w.refresh(t, before.ID, 0, "")
	because(t, "from before", err, auth.ErrEnded, auth.ReasonRevoked)
	_, err = w.refresh(t, after.ID, 0, "")
	no(t, err)
	other := w.login(t, w.credential(t, w.account(t).ID).ID)
	_, err = w.refresh(t, other.ID, 0, "")
	no(t, err)
}

func listSessions(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c, dead := w.credential(t, a.ID), w.credential(t, a.ID)
	ended := w.login(t, c.ID)
	w.wait(time.Second)
	live := w.login(t, c.ID)
	w.wait(time.Second)
	ofDead := w.login(t, dead.ID)
	w.login(t, w.credential(t, w.account(t).ID).ID)
	_, err := w.RevokeCredential(ctx, dead.ID, act)
	no(t, err)
	_, err = w.RevokeSession(ctx, ended.ID, a.ID, w.Now().Add(time.Hour), "command", act)
	no(t, err)

	lists := func(what string, liveOnly bool, want ...auth.SessionID) {
		t.Helper()
		found, err := w.Sessions(ctx, auth.SessionQuery{Account: a.ID, LiveOnly: liveOnly})
		no(t, err)
		var got []auth.SessionID
		for _, s := range found {
			got = append(got, s.ID)
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	lists("all", false, ofDead.ID, live.ID, ended.ID)
	lists("live", true, live.ID)
	_, err = w.SuspendAccount(ctx, a.ID, false, act)
	no(t, err)
	lists("live, while suspended", true)
	_, err = w.ResumeAccount(ctx, a.ID, act)
	no(t, err)
	lists("live, resumed", true, live.ID)
	w.wait(refreshLife)
	lists("live, expired", true)
}
