package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// enrolment is a second factor whose last code was of step 100, and two recovery codes.
func enrolment() auth.Enrolment {
	return auth.Enrolment{
		TOTP: auth.Sealed{Text: []byte("sealed"), MasterKey: "master 1"}, Step: 100,
		Codes: []auth.RecoveryCode{{Digest: digest("one"), Pepper: "pepper 1"}, {Digest: digest("two"), Pepper: "pepper 1"}},
	}
}

func secondFactors(t *testing.T, w *World) {
	ctx := t.Context()
	p, s := w.active(t, 0, auth.RoleOwner)
	other := w.dashboard(p.ID)
	no(t, w.StartDashboardSession(ctx, other, auth.Spent{}, act))
	next := w.dashboard(p.ID)
	no(t, w.EnrollTOTP(ctx, s.Digest, next, enrolment(), act))
	is(t, "enrol again from the same session", w.EnrollTOTP(ctx, s.Digest, w.dashboard(p.ID), enrolment(), act), auth.ErrBadCredential)
	for what, digest := range map[string][]byte{"the session before": s.Digest, "another session": other.Digest} {
		if _, _, err := w.DashboardSession(ctx, digest); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%s lives on: %v", what, err)
		}
	}
	proofs, err := w.Proofs(ctx, p.ID)
	no(t, err)
	if string(proofs.TOTP.Text) != "sealed" || proofs.TOTP.Row != string(p.ID) || proofs.TOTP.MasterKey != "master 1" || proofs.TOTPStep != 100 {
		t.Errorf("got %+v", proofs)
	}

	spend := func(spent auth.Spent) error { return w.StartDashboardSession(ctx, w.dashboard(p.ID), spent, act) }
	is(t, "the code that enrolled", spend(auth.Spent{Step: 100}), auth.ErrBadCredential)
	no(t, spend(auth.Spent{Step: 102}))
	is(t, "the same code", spend(auth.Spent{Step: 102}), auth.ErrBadCredential)
	is(t, "the code before", spend(auth.Spent{Step: 101}), auth.ErrBadCredential)
	no(t, spend(auth.Spent{RecoveryCode: digest("one")}))
	is(t, "a recovery code again", spend(auth.Spent{RecoveryCode: digest("one")}), auth.ErrBadCredential)
	is(t, "no recovery code", spend(auth.Spent{RecoveryCode: digest("three")}), auth.ErrBadCredential)
	if p, err := w.Person(ctx, p.ID); err != nil || p.RecoveryCodes != 1 || !p.TOTP {
		t.Errorf("got %+v, %v", p, err)
	}
	codes, err := w.RecoveryCodes(ctx, p.ID)
	no(t, err)
	if used := slices.DeleteFunc(codes, func(c auth.RecoveryCode) bool { return c.UsedAt.IsZero() }); len(used) != 1 || used[0].Pepper != "pepper 1" {
		t.Errorf("got used codes %+v, want one", used)
	}
	no(t, w.SetRecoveryCodes(ctx, p.ID, []auth.RecoveryCode{{Digest: digest("new"), Pepper: "pepper 1"}}, act))
	is(t, "a code of before", spend(auth.Spent{RecoveryCode: digest("two")}), auth.ErrBadCredential)

	// A new password ends the other sessions; a hash made anew ends nothing, and only if nobody was faster.
	no(t, w.SetPersonPassword(ctx, p.ID, "hash 2", next.ID, act))
	if all, err := w.DashboardSessions(ctx, p.ID); err != nil || len(all) != 1 || all[0].ID != next.ID {
		t.Errorf("after a new password: %+v, %v", all, err)
	}
	no(t, w.RehashPassword(ctx, p.ID, "hash", "hash 3"))
	no(t, w.RehashPassword(ctx, p.ID, "hash 2", "hash 4"))
	if proofs, err := w.Proofs(ctx, p.ID); err != nil || proofs.Password != "hash 4" {
		t.Errorf("got %+v, %v", proofs, err)
	}

	// Under another master key it is sealed anew with everything else.
	n, err := w.Reseal(ctx, "master 1", "master 2", []byte("c"), func(s auth.Sealed) ([]byte, error) {
		return fmt.Appendf(nil, "%s %s %s %s", s.Table, s.Row, s.Purpose, s.Text), nil
	}, act)
	no(t, err)
	proofs, err = w.Proofs(ctx, p.ID)
	no(t, err)
	if want := "people " + string(p.ID) + " totp sealed"; n != 1 || string(proofs.TOTP.Text) != want || proofs.TOTP.MasterKey != "master 2" {
		t.Errorf("sealed anew: %d texts, %+v", n, proofs.TOTP)
	}

	no(t, w.RemovePerson(ctx, 0, p.ID, true, act))
	is(t, "a password for somebody removed", w.SetPersonPassword(ctx, p.ID, "x", "", act), auth.ErrBadCredential)
	if proofs, err := w.Proofs(ctx, p.ID); err != nil || proofs.Password != "" || proofs.TOTP.Text != nil {
		t.Errorf("of somebody removed: %+v, %v", proofs, err)
	}
}

func passkeys(t *testing.T, w *World) {
	ctx := t.Context()
	p := w.invite(t, 0, auth.RoleOwner)
	key := auth.Passkey{
		ID: []byte{0, 1, 255}, Name: "Phone", PublicKey: []byte("public"), Counter: 1<<32 - 2, Transports: []string{"internal", "hybrid"},
		Model: make([]byte, 16), Synced: true, CreatedAt: w.Now(),
	}
	is(t, "before they joined", w.AddPasskey(ctx, p.ID, key, act), auth.ErrBadCredential)
	_, err := w.Join(ctx, digest(string(p.ID)), auth.Joining{Passkey: &key}, w.dashboard(""), act)
	no(t, err)
	got, whose, err := w.Passkey(ctx, key.ID)
	no(t, err)
	if diff := gocmp.Diff(key, got, same); diff != "" || whose != p.ID {
		t.Errorf("the passkey of %s (-want +got):\n%s", whose, diff)
	}
	if _, _, err := w.Passkey(ctx, []byte("none")); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("no passkey: %v", err)
	}
	is(t, "the last way in", w.RemovePasskey(ctx, p.ID, key.ID, act), auth.ErrConflict)
	is(t, "twice", w.AddPasskey(ctx, p.ID, key, act), auth.ErrConflict)

	// A copy is known by a count that does not grow.
	no(t, w.UsePasskey(ctx, key.ID, 1<<32-1, true))
	is(t, "a copy", w.UsePasskey(ctx, key.ID, 1<<32-1, true), auth.ErrBadCredential)
	is(t, "one that stopped counting", w.UsePasskey(ctx, key.ID, 0, true), auth.ErrBadCredential)
	no(t, w.AddPasskey(ctx, p.ID, auth.Passkey{ID: []byte("silent"), PublicKey: []byte("public")}, act))
	no(t, w.UsePasskey(ctx, []byte("silent"), 0, false))
	no(t, w.UsePasskey(ctx, []byte("silent"), 0, false))

	no(t, w.RenamePasskey(ctx, p.ID, key.ID, "Old phone", act))
	is(t, "rename another's", w.RenamePasskey(ctx, p.ID, []byte("none"), "x", act), auth.ErrNotFound)
	all, err := w.Passkeys(ctx, p.ID)
	no(t, err)
	if len(all) != 2 || all[0].Name != "Old phone" || !all[0].BackedUp || all[0].UsedAt.IsZero() {
		t.Errorf("got %+v", all)
	}
	no(t, w.RemovePasskey(ctx, p.ID, key.ID, act))
	is(t, "remove it twice", w.RemovePasskey(ctx, p.ID, key.ID, act), auth.ErrNotFound)
	for i := range 19 {
		no(t, w.AddPasskey(ctx, p.ID, auth.Passkey{ID: fmt.Appendf(nil, "key %d", i), PublicKey: []byte("public")}, act))
	}
	is(t, "one too many", w.AddPasskey(ctx, p.ID, auth.Passkey{ID: []byte("more"), PublicKey: []byte("public")}, act), auth.ErrConflict)
}

func openIDs(t *testing.T, w *World) {
	ctx := t.Context()
	operator, _ := w.active(t, 0, auth.RoleOwner)
	member, _ := w.active(t, w.account(t).ID, auth.RoleOwner)
	other, _ := w.active(t, member.Account, auth.RoleViewer)
	is1 := auth.OpenID{Issuer: "https://login.example.com", Subject: "1", Email: "jane@example.com", Provider: "Example", CreatedAt: w.Now()}
	no(t, w.AddOpenID(ctx, operator.ID, is1, act))
	no(t, w.AddOpenID(ctx, member.ID, is1, act)) // one human who is both
	is(t, "two members", w.AddOpenID(ctx, other.ID, is1, act), auth.ErrConflict)
	got, err := w.OpenIDs(ctx, member.ID)
	no(t, err)
	if diff := gocmp.Diff([]auth.OpenID{is1}, got, same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for kind, want := range map[auth.PersonKind]auth.PersonID{auth.Operator: operator.ID, auth.Member: member.ID} {
		if id, err := w.UseOpenID(ctx, kind, is1.Issuer, is1.Subject); err != nil || id != want {
			t.Errorf("%s: got %s, %v, want %s", kind, id, err, want)
		}
	}
	if _, err := w.UseOpenID(ctx, auth.Member, "https://other.example.com", "1"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("of another provider: %v", err)
	}
	is(t, "remove another's", w.RemoveOpenID(ctx, other.ID, is1.Issuer, is1.Subject, act), auth.ErrNotFound)
	no(t, w.RemoveOpenID(ctx, member.ID, is1.Issuer, is1.Subject, act))

	alone := w.invite(t, 0, auth.RoleViewer)
	_, err = w.Join(ctx, digest(string(alone.ID)), auth.Joining{OpenID: &auth.OpenID{Issuer: "i", Subject: "2"}}, w.dashboard(""), act)
	no(t, err)
	is(t, "the last way in", w.RemoveOpenID(ctx, alone.ID, "i", "2", act), auth.ErrConflict)
}

// raceProof: a session is rotated once, and a code opens once.
func raceProof(t *testing.T, w *World) {
	ctx := t.Context()
	p, s := w.active(t, 0, auth.RoleOwner)
	no(t, w.EnrollTOTP(ctx, s.Digest, w.dashboard(p.ID), enrolment(), act))
	for _, spent := range []auth.Spent{{Step: 101}, {RecoveryCode: digest("one")}} {
		var sessions []auth.DashboardSession
		for range racers {
			sessions = append(sessions, w.dashboard(p.ID))
		}
		oneWins(t, race(racers, func(i int) error { return w.StartDashboardSession(ctx, sessions[i], spent, act) }), auth.ErrBadCredential)
	}
	half := w.dashboard(p.ID)
	no(t, w.StartDashboardSession(ctx, half, auth.Spent{}, act))
	var sessions []auth.DashboardSession
	for range racers {
		sessions = append(sessions, w.dashboard(p.ID))
	}
	oneWins(t, race(racers, func(i int) error { return w.RotateDashboardSession(ctx, half.Digest, sessions[i], auth.Spent{}, act) }), auth.ErrBadCredential)
}

// raceWays: two who each remove one of the last two ways to sign in leave one.
func raceWays(t *testing.T, w *World) {
	ctx := t.Context()
	p := w.invite(t, 0, auth.RoleOwner)
	_, err := w.Join(ctx, digest(string(p.ID)), auth.Joining{Passkey: &auth.Passkey{ID: []byte{0}, PublicKey: []byte("k")}}, w.dashboard(""), act)
	no(t, err)
	for i := 1; i < racers; i++ {
		no(t, w.AddPasskey(ctx, p.ID, auth.Passkey{ID: []byte{byte(i)}, PublicKey: []byte("k")}, act))
	}
	lost := 0
	for _, err := range race(racers, func(i int) error { return w.RemovePasskey(ctx, p.ID, []byte{byte(i)}, act) }) {
		if err != nil {
			is(t, "the last one", err, auth.ErrConflict)
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("%d passkeys stayed, want 1", lost)
	}
}
