package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// invite writes down a person with a link, whose code is the id.
func (w *World) invite(t *testing.T, account auth.AccountID, role auth.Role) auth.Person {
	t.Helper()
	id := w.id("p_")
	p := auth.Person{ID: auth.PersonID(id), Account: account, Email: id + "@example.com", Name: "Jane", Role: role}
	no(t, w.InvitePerson(t.Context(), p, w.link(p.ID), act))
	return p
}

// link is one for a person, good for a day. Its digest is that of the person's id.
func (w *World) link(person auth.PersonID) auth.Invitation {
	return auth.Invitation{Person: person, Digest: digest(string(person)), ExpiresAt: w.Now().Add(24 * time.Hour)}
}

// active writes down a person who has joined with a password, and returns the session too.
func (w *World) active(t *testing.T, account auth.AccountID, role auth.Role) (auth.Person, auth.DashboardSession) {
	t.Helper()
	p := w.invite(t, account, role)
	s := w.dashboard(p.ID)
	p, err := w.Join(t.Context(), digest(string(p.ID)), auth.Joining{Password: "hash"}, s, auth.Act{Action: "member.join"})
	no(t, err)
	return p, s
}

// dashboard is a session of a person about to be written.
func (w *World) dashboard(person auth.PersonID) auth.DashboardSession {
	now, id := w.Now(), w.id("ds_")
	return auth.DashboardSession{
		ID: auth.DashboardSessionID(id), Digest: digest(id), Person: person, Stage: auth.StageFull, Method: "password", CreatedAt: now, SeenAt: now,
		IdleEnds: now.Add(12 * time.Hour), EndsAt: now.Add(7 * 24 * time.Hour), ProvedAt: now, Address: act.Address, UserAgent: "browser",
	}
}

func people(t *testing.T, w *World) {
	ctx := t.Context()
	a, b := w.account(t).ID, w.account(t).ID
	jane := auth.Person{ID: "p_jane", Account: a, Email: "jane@example.com", Name: "Jane", Role: auth.RoleOwner}
	no(t, w.InvitePerson(ctx, jane, w.link("p_jane"), act))
	again := jane
	again.ID, again.Account = "p_other", b
	is(t, "a member twice", w.InvitePerson(ctx, again, w.link("p_other"), act), auth.ErrConflict)
	again.Account = 0
	no(t, w.InvitePerson(ctx, again, w.link("p_other"), act)) // an operator may have it too
	again.ID = "p_third"
	is(t, "an operator twice", w.InvitePerson(ctx, again, w.link("p_third"), act), auth.ErrConflict)
	again.Account = 99
	is(t, "a member of nothing", w.InvitePerson(ctx, again, w.link("p_third"), act), auth.ErrNotFound)

	got, err := w.Person(ctx, "p_jane")
	no(t, err)
	want := jane
	want.State, want.CreatedAt = auth.Invited, w.Now()
	if diff := gocmp.Diff(want, got, same); diff != "" {
		t.Errorf("the person (-want +got):\n%s", diff)
	}
	if _, err := w.Person(ctx, "p_9"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	for kind, id := range map[auth.PersonKind]auth.PersonID{auth.Member: "p_jane", auth.Operator: "p_other"} {
		p, proofs, err := w.SigningIn(ctx, kind, "jane@example.com")
		no(t, err)
		if p.ID != id || proofs.Password != "" || proofs.TOTP.Text != nil || p.MaySignIn() {
			t.Errorf("%s: got %+v with %+v", kind, p, proofs)
		}
	}
	if _, _, err := w.SigningIn(ctx, auth.Member, "joe@example.com"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("nobody signs in: %v", err)
	}

	// Lists go by e-mail address, page by page, and know no removed ones.
	for range 3 {
		w.invite(t, b, auth.RoleViewer)
	}
	all, err := w.People(ctx, auth.PersonQuery{Account: b})
	no(t, err)
	page, err := w.People(ctx, auth.PersonQuery{Account: b, After: all[0].Email, Most: 1})
	no(t, err)
	if len(all) != 3 || len(page) != 1 || page[0].ID != all[1].ID {
		t.Errorf("got %+v, and behind the first %+v", all, page)
	}
	is(t, "remove another account's", w.RemovePerson(ctx, a, all[0].ID, false, act), auth.ErrNotFound)
	no(t, w.RemovePerson(ctx, b, all[0].ID, false, act))
	is(t, "remove somebody twice", w.RemovePerson(ctx, b, all[0].ID, false, act), auth.ErrNotFound)
	if left, err := w.People(ctx, auth.PersonQuery{Account: b}); err != nil || len(left) != 2 {
		t.Errorf("got %+v, %v, want those who are left", left, err)
	}
	if gone, err := w.Person(ctx, all[0].ID); err != nil || gone.State != auth.Removed || gone.Email == "" {
		t.Errorf("the one removed is %+v, %v, want the row kept", gone, err)
	}
	fresh := all[0]
	fresh.ID = "p_new"
	no(t, w.InvitePerson(ctx, fresh, w.link("p_new"), act)) // the address is free again

	_, err = w.DeleteAccount(ctx, b, act)
	no(t, err)
	if left, err := w.People(ctx, auth.PersonQuery{Account: b}); err != nil || len(left) > 0 {
		t.Errorf("a deleted account has the members %+v, %v", left, err)
	}
	if _, _, err := w.Invited(ctx, digest("p_new")); !errors.Is(err, auth.ErrBadLink) {
		t.Errorf("a link into a deleted account: %v", err)
	}
}

func invitations(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t).ID
	p := w.invite(t, a, auth.RoleOwner)
	code := digest(string(p.ID))
	got, i, err := w.Invited(ctx, code)
	no(t, err)
	if got.ID != p.ID || i.Person != p.ID || !i.ExpiresAt.Equal(w.Now().Add(24*time.Hour)) {
		t.Errorf("the link is for %+v, %+v", got, i)
	}
	join := func(code []byte, j auth.Joining) error {
		_, err := w.Join(ctx, code, j, w.dashboard(""), auth.Act{Action: "member.join"})
		return err
	}
	is(t, "another code", join(digest("x"), auth.Joining{Password: "hash"}), auth.ErrBadLink)
	is(t, "as the first operator", join(code, auth.Joining{Password: "hash", First: &auth.Person{ID: "p_0", Email: "x@example.com"}}), auth.ErrBadLink)
	_, err = w.SuspendAccount(ctx, a, false, act)
	no(t, err)
	is(t, "while the account is suspended", join(code, auth.Joining{Password: "hash"}), auth.ErrBadLink)
	_, err = w.ResumeAccount(ctx, a, act)
	no(t, err)
	no(t, join(code, auth.Joining{Password: "hash"})) // what failed has spent nothing
	is(t, "once more", join(code, auth.Joining{Password: "hash"}), auth.ErrBadLink)
	if trail := w.trail(t); trail[0].Act.Actor != "member "+string(p.ID)+" "+p.Email || trail[0].About.Account != a {
		t.Errorf("the trail has %+v, want the one who joined as actor", trail[0])
	}
	joined, proofs, err := w.SigningIn(ctx, auth.Member, p.Email)
	no(t, err)
	if !joined.MaySignIn() || !joined.Password || proofs.Password != "hash" || !joined.SignedInAt.Equal(w.Now()) {
		t.Errorf("who joined is %+v", joined)
	}

	// A reset takes everything away and gives one link, in the place of the one before.
	no(t, w.AddPasskey(ctx, p.ID, auth.Passkey{ID: []byte("k"), PublicKey: []byte("pk")}, act))
	no(t, w.AddOpenID(ctx, p.ID, auth.OpenID{Issuer: "i", Subject: "s"}, act))
	no(t, w.ResetPerson(ctx, a, p.ID, auth.Invitation{Digest: digest("first"), ExpiresAt: w.Now().Add(time.Hour)}, act))
	no(t, w.ResetPerson(ctx, a, p.ID, auth.Invitation{Digest: digest("second"), ExpiresAt: w.Now().Add(time.Hour)}, act))
	is(t, "reset of another account's", w.ResetPerson(ctx, 0, p.ID, w.link(p.ID), act), auth.ErrNotFound)
	after, err := w.Person(ctx, p.ID)
	no(t, err)
	if after.State != auth.Invited || after.Password || after.Passkeys+after.OpenIDs > 0 {
		t.Errorf("after the reset: %+v", after)
	}
	is(t, "the link before the last", join(digest("first"), auth.Joining{Password: "hash"}), auth.ErrBadLink)
	w.wait(time.Hour)
	if _, _, err := w.Invited(ctx, digest("second")); !errors.Is(err, auth.ErrBadLink) {
		t.Errorf("a link that has expired: %v", err)
	}
	is(t, "a link that has expired", join(digest("second"), auth.Joining{Password: "hash"}), auth.ErrBadLink)

	// With a passkey, or an OpenID, in place of a password; what somebody has already leaves the link as it was.
	for n, j := range []auth.Joining{{Passkey: &auth.Passkey{ID: []byte("k2"), PublicKey: []byte("pk")}}, {OpenID: &auth.OpenID{Issuer: "i", Subject: "s2"}}} {
		one, two := w.invite(t, a, auth.RoleViewer), w.invite(t, a, auth.RoleViewer)
		no(t, join(digest(string(one.ID)), j))
		is(t, "what is somebody's", join(digest(string(two.ID)), j), auth.ErrConflict)
		if _, _, err := w.Invited(ctx, digest(string(two.ID))); err != nil {
			t.Errorf("%d: the link is spent: %v", n, err)
		}
	}
}

func firstOperator(t *testing.T, w *World) {
	ctx := t.Context()
	for _, code := range []string{"first", "second"} {
		needed, err := w.InviteFirst(ctx, auth.Invitation{Digest: digest(code), ExpiresAt: w.Now().Add(time.Hour)}, act)
		no(t, err)
		if there, err := w.HasOperators(ctx); !needed || there || err != nil {
			t.Errorf("needed %v, there %v, %v", needed, there, err)
		}
	}
	first := auth.Person{ID: "p_1", Email: "root@example.com", Name: "Root", Role: auth.RoleOwner}
	join := func(code string) error {
		_, err := w.Join(ctx, digest(code), auth.Joining{First: &first, Password: "hash"}, w.dashboard(""), auth.Act{Action: "operator.join"})
		return err
	}
	is(t, "the link before", join("first"), auth.ErrBadLink)
	if p, i, err := w.Invited(ctx, digest("second")); err != nil || p.ID != "" || i.Person != "" {
		t.Errorf("the link is for %+v, %+v, %v", p, i, err)
	}
	no(t, join("second"))
	p, err := w.Person(ctx, "p_1")
	no(t, err)
	if p.State != auth.Active || p.Role != auth.RoleOwner || p.Kind() != auth.Operator {
		t.Errorf("the first operator is %+v", p)
	}
	needed, err := w.InviteFirst(ctx, auth.Invitation{Digest: digest("third"), ExpiresAt: w.Now().Add(time.Hour)}, act)
	if no(t, err); needed {
		t.Error("a link for a first operator, and there is one")
	}

	// One who was made by a command in between leaves the link without use.
	no(t, w.RemovePerson(ctx, 0, "p_1", true, act))
	needed, err = w.InviteFirst(ctx, auth.Invitation{Digest: digest("fourth"), ExpiresAt: w.Now().Add(time.Hour)}, act)
	if no(t, err); !needed {
		t.Error("no operator is left, and no link is needed")
	}
	w.invite(t, 0, auth.RoleOwner)
	first.ID = "p_2"
	is(t, "with an operator", join("fourth"), auth.ErrConflict)
}

func dashboardSessions(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t).ID
	p, s := w.active(t, a, auth.RoleOwner)
	got, who, err := w.DashboardSession(ctx, s.Digest)
	no(t, err)
	s.Person = p.ID
	if diff := gocmp.Diff(s, got, same); diff != "" || who.ID != p.ID || !who.MaySignIn() {
		t.Errorf("the session of %+v (-want +got):\n%s", who, diff)
	}

	// It ends when nobody comes for its idle time, and in any case at its end.
	w.wait(12*time.Hour - time.Second)
	no(t, w.SeeDashboardSession(ctx, s.Digest, w.Now(), w.Now().Add(12*time.Hour)))
	w.wait(12*time.Hour - time.Second)
	if _, _, err := w.DashboardSession(ctx, s.Digest); err != nil {
		t.Errorf("it was seen in time: %v", err)
	}
	no(t, w.SeeDashboardSession(ctx, s.Digest, w.Now(), w.Now().Add(365*24*time.Hour)))
	w.wait(6*24*time.Hour + 2*time.Second)
	if _, _, err := w.DashboardSession(ctx, s.Digest); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("past its end: %v", err)
	}

	start := func(stage auth.Stage) auth.DashboardSession {
		s := w.dashboard(p.ID)
		s.Stage = stage
		no(t, w.StartDashboardSession(ctx, s, auth.Spent{}, auth.Act{Actor: "member", Action: "sign-in"}))
		return s
	}
	acts := len(w.trail(t))
	half := start(auth.StageSecond)
	if len(w.trail(t)) != acts {
		t.Error("half a sign-in is in the trail")
	}
	whole := w.dashboard(p.ID)
	no(t, w.RotateDashboardSession(ctx, half.Digest, whole, auth.Spent{}, auth.Act{Actor: "member", Action: "sign-in"}))
	if _, _, err := w.DashboardSession(ctx, half.Digest); !errors.Is(err, auth.ErrNotFound) || len(w.trail(t)) != acts+1 {
		t.Errorf("the former value opens %v, and %d acts", err, len(w.trail(t))-acts)
	}
	is(t, "rotate what is gone", w.RotateDashboardSession(ctx, half.Digest, w.dashboard(p.ID), auth.Spent{}, act), auth.ErrBadCredential)
	if p, err := w.Person(ctx, p.ID); err != nil || !p.SignedInAt.Equal(w.Now()) {
		t.Errorf("signed in last at %v, %v", p.SignedInAt, err)
	}

	second, third := start(auth.StageFull), start(auth.StageFull)
	if all, err := w.DashboardSessions(ctx, p.ID); err != nil || len(all) != 3 {
		t.Errorf("got %d sessions, %v, want 3", len(all), err)
	}
	stranger, _ := w.active(t, w.account(t).ID, auth.RoleOwner)
	is(t, "end another's", w.EndDashboardSession(ctx, stranger, second.ID, act), auth.ErrNotFound)
	no(t, w.EndDashboardSession(ctx, p, second.ID, act))
	n, err := w.EndDashboardSessions(ctx, p, third.ID, act)
	no(t, err)
	if all, err := w.DashboardSessions(ctx, p.ID); n != 1 || err != nil || len(all) != 1 || all[0].ID != third.ID {
		t.Errorf("ended %d, and left is %+v, %v", n, all, err)
	}

	// A suspended account lets nobody in; who was there comes back when it is resumed.
	_, err = w.SuspendAccount(ctx, a, false, act)
	no(t, err)
	if _, who, err := w.DashboardSession(ctx, third.Digest); err != nil || who.MaySignIn() {
		t.Errorf("of a suspended account: %+v, %v", who, err)
	}
	is(t, "sign in to a suspended account", w.StartDashboardSession(ctx, w.dashboard(p.ID), auth.Spent{}, act), auth.ErrBadCredential)
	_, err = w.ResumeAccount(ctx, a, act)
	no(t, err)
	if _, who, err := w.DashboardSession(ctx, third.Digest); err != nil || !who.MaySignIn() {
		t.Errorf("of an account that was resumed: %+v, %v", who, err)
	}
	no(t, w.RemovePerson(ctx, a, p.ID, true, act))
	if _, _, err := w.DashboardSession(ctx, third.Digest); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("of somebody who was removed: %v", err)
	}
	is(t, "sign in when removed", w.StartDashboardSession(ctx, w.dashboard(p.ID), auth.Spent{}, act), auth.ErrBadCredential)
}

func lastOwner(t *testing.T, w *World) {
	ctx := t.Context()
	for _, account := range []auth.AccountID{0, w.account(t).ID} {
		owner, _ := w.active(t, account, auth.RoleOwner)
		viewer, _ := w.active(t, account, auth.RoleViewer)
		w.invite(t, account, auth.RoleOwner) // who may never come
		is(t, "demote the last owner", w.ChangePersonRole(ctx, account, owner.ID, auth.RoleViewer, false, act), auth.ErrConflict)
		is(t, "remove the last owner", w.RemovePerson(ctx, account, owner.ID, false, act), auth.ErrConflict)
		no(t, w.ChangePersonRole(ctx, account, owner.ID, auth.RoleOwner, false, act))
		no(t, w.ChangePersonRole(ctx, account, viewer.ID, auth.RoleOwner, false, act))
		no(t, w.ChangePersonRole(ctx, account, owner.ID, auth.RoleViewer, false, act))
		if p, err := w.Person(ctx, owner.ID); err != nil || p.Role != auth.RoleViewer {
			t.Errorf("got %+v, %v", p, err)
		}
		is(t, "of another account", w.ChangePersonRole(ctx, 99, owner.ID, auth.RoleViewer, false, act), auth.ErrNotFound)
		no(t, w.RemovePerson(ctx, account, viewer.ID, true, act))
	}
}

func operatorTokens(t *testing.T, w *World) {
	ctx := t.Context()
	token := auth.OperatorToken{
		ID: "ot_1", Name: "ci", Role: auth.RoleAdmin, Scopes: []string{"accounts:read", "accounts:write"}, Digest: digest("secret"), Pepper: "pepper 1",
		CreatedAt: w.Now(), CreatedBy: act.Actor, ExpiresAt: w.Now().Add(time.Hour),
	}
	no(t, w.CreateOperatorToken(ctx, token, act))
	is(t, "twice", w.CreateOperatorToken(ctx, token, act), auth.ErrConflict)
	no(t, w.UseOperatorToken(ctx, "ot_1", w.Now(), act.Address))
	no(t, w.UseOperatorToken(ctx, "ot_1", w.Now().Add(-time.Hour), auth.Act{}.Address)) // heard of late
	token.UsedAt, token.UsedFrom = w.Now(), act.Address
	got, err := w.OperatorToken(ctx, "ot_1")
	no(t, err)
	if diff := gocmp.Diff(token, got, same); diff != "" {
		t.Errorf("the token (-want +got):\n%s", diff)
	}
	acts := len(w.trail(t))
	no(t, w.RevokeOperatorToken(ctx, "ot_1", act))
	no(t, w.RevokeOperatorToken(ctx, "ot_1", act))
	is(t, "revoke nothing", w.RevokeOperatorToken(ctx, "ot_2", act), auth.ErrNotFound)
	all, err := w.OperatorTokens(ctx, auth.OperatorTokenQuery{})
	no(t, err)
	if len(all) != 1 || all[0].Dead(w.Now()) != auth.ReasonRevoked || len(w.trail(t)) != acts+1 {
		t.Errorf("got %+v, and %d acts, want it revoked once", all, len(w.trail(t))-acts)
	}
}

func prunePeople(t *testing.T, w *World) {
	ctx := t.Context()
	gone, _ := w.active(t, 0, auth.RoleOwner)
	stays, s := w.active(t, 0, auth.RoleOwner)
	w.invite(t, 0, auth.RoleViewer)
	no(t, w.RemovePerson(ctx, 0, gone.ID, false, act))
	no(t, w.CreateOperatorToken(ctx, auth.OperatorToken{ID: "ot_1", Digest: digest("x"), Pepper: "p", CreatedAt: w.Now(), ExpiresAt: w.Now().Add(time.Hour)}, act))
	w.wait(24*time.Hour + time.Second)
	no(t, w.Prune(ctx, store.PruneBefore{}))
	if all, err := w.DashboardSessions(ctx, stays.ID); err != nil || len(all) > 0 {
		t.Errorf("got %+v, %v of what expired", all, err)
	}
	// It is gone, not only past its time: another one may have its name.
	no(t, w.StartDashboardSession(ctx, s, auth.Spent{}, act))
	if _, err := w.Person(ctx, gone.ID); err != nil {
		t.Errorf("the trail still tells of the one removed: %v", err)
	}
	no(t, w.Prune(ctx, store.PruneBefore{Audit: w.Now()}))
	if _, err := w.Person(ctx, gone.ID); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("nothing tells of the one removed any more: %v", err)
	}
	if all, err := w.OperatorTokens(ctx, auth.OperatorTokenQuery{}); err != nil || len(all) > 0 {
		t.Errorf("got %+v, %v of what expired", all, err)
	}
	if all, err := w.People(ctx, auth.PersonQuery{}); err != nil || len(all) != 2 {
		t.Errorf("got %+v, %v, want those who are there", all, err)
	}
}

const manyRacers = 100

// raceJoin: a link lets one in, however many open it at once; so does the one for the first operator.
func raceJoin(t *testing.T, w *World) {
	p := w.invite(t, w.account(t).ID, auth.RoleOwner)
	join := func(code string, first func(i int) *auth.Person) []error {
		var sessions []auth.DashboardSession
		for range manyRacers {
			sessions = append(sessions, w.dashboard(""))
		}
		return race(manyRacers, func(i int) error {
			_, err := w.Join(context.WithoutCancel(t.Context()), digest(code), auth.Joining{First: first(i), Password: fmt.Sprint(i)}, sessions[i], act)
			return err
		})
	}
	oneWins(t, join(string(p.ID), func(int) *auth.Person { return nil }), auth.ErrBadLink)
	if all, err := w.DashboardSessions(t.Context(), p.ID); err != nil || len(all) != 1 {
		t.Errorf("got %d sessions, %v, want 1", len(all), err)
	}
	_, err := w.InviteFirst(t.Context(), auth.Invitation{Digest: digest("setup"), ExpiresAt: w.Now().Add(time.Hour)}, act)
	no(t, err)
	oneWins(t, join("setup", func(i int) *auth.Person {
		return &auth.Person{ID: auth.PersonID(fmt.Sprint("p_first", i)), Email: fmt.Sprint(i, "@example.com"), Role: auth.RoleOwner}
	}), auth.ErrBadLink)
	if all, err := w.People(t.Context(), auth.PersonQuery{}); err != nil || len(all) != 1 {
		t.Errorf("got %d operators, %v, want 1", len(all), err)
	}
}

// raceLastOwner: owners who all go at once leave one.
func raceLastOwner(t *testing.T, w *World) {
	for _, account := range []auth.AccountID{0, w.account(t).ID} {
		var owners []auth.Person
		for range racers {
			p, _ := w.active(t, account, auth.RoleOwner)
			owners = append(owners, p)
		}
		lost := 0
		for _, err := range race(racers, func(i int) error {
			if i%2 == 0 {
				return w.RemovePerson(t.Context(), account, owners[i].ID, false, act)
			}
			return w.ChangePersonRole(t.Context(), account, owners[i].ID, auth.RoleViewer, false, act)
		}) {
			if err != nil {
				is(t, "the last one", err, auth.ErrConflict)
				lost++
			}
		}
		if lost != 1 {
			t.Errorf("%d of %d owners stayed, want 1", lost, racers)
		}
	}
}
