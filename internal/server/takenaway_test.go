package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Whatever operators took away between the backup and the restore, by whichever command: with the replaced database, or with its
// audit trail alone, it is taken away again, and nothing that was given since is given.
func TestWhatWasTakenAwayStaysSo(t *testing.T) {
	for _, by := range []string{"database", "journal"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t, unlimited)
			r := w.Registry()
			must := func(_ any, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			account := func(name string) auth.AccountID {
				t.Helper()
				a, err := r.CreateAccount(t.Context(), operator, name, "")
				must(a, err)
				return a.ID
			}
			type held struct {
				auth.Credential
				key string
			}
			key := func() held {
				c, key, _ := w.issue(auth.APIKey, "a", "b", "c")
				return held{c, key}
			}
			list := func(prefixes ...string) (all []netip.Prefix) {
				for _, p := range prefixes {
					all = append(all, netip.MustParsePrefix(p))
				}
				return all
			}
			allow := func(id auth.AccountID, prefixes ...string) {
				t.Helper()
				must(r.AllowIP(t.Context(), operator, id, list(prefixes...), "", time.Time{}))
			}
			rotate := func(c held, until time.Time) string {
				t.Helper()
				issued, err := r.RotateCredential(t.Context(), operator, c.ID, until, false)
				must(nil, err)
				key, _ := issued.Reveal()
				return key
			}
			day := time.Now().Add(24 * time.Hour)
			untouched, revoked, narrowed, widened, expiring := key(), key(), key(), key(), key()
			rotated, leaked, finished, undone, twice := key(), key(), key(), key(), key()
			client, clientID, _ := w.issue(auth.OAuth)
			suspended, both, resumed, deleted := account("suspended"), account("suspended and resumed"), account("resumed"), account("deleted")
			limited, closed, changed, opened := account("limited"), account("closed"), account("changed"), account("opened")
			must(r.SuspendAccount(t.Context(), operator, resumed, false))
			allow(changed, "192.0.2.0/24", "198.51.100.0/24")
			allow(opened, "192.0.2.0/24")
			finishedNew, undoneNew := rotate(finished, day), rotate(undone, day)
			staff := newStaff(t, w, "owner", "removed", "demoted", "promoted", "reset", "forgetful", "untouched")
			must(r.ChangeRole(t.Context(), operator, 0, staff["promoted"], auth.RoleViewer))
			ci, stays := adminToken(t, r, "revoked"), adminToken(t, r, "stays")
			path := w.backUp()

			staff.change(t, w)
			must(r.RevokeToken(t.Context(), operator, ci))
			must(r.SuspendAccount(t.Context(), operator, suspended, true))
			must(r.SuspendAccount(t.Context(), operator, both, false))
			must(r.ResumeAccount(t.Context(), operator, both))
			must(r.ResumeAccount(t.Context(), operator, resumed))
			must(r.DeleteAccount(t.Context(), operator, deleted))
			must(r.LimitAccount(t.Context(), operator, limited, auth.Rate{Count: 5, Per: time.Minute, Burst: 2}))
			allow(closed, "203.0.113.0/24")
			allow(changed, "203.0.113.0/24")
			must(r.RemoveIP(t.Context(), operator, changed, list("192.0.2.0/24"), false))
			must(r.RemoveIP(t.Context(), operator, opened, list("192.0.2.0/24"), true))
			must(r.RevokeCredential(t.Context(), operator, revoked.ID))
			name, fewer, more, hour := "Renamed", "a c", "a b c d", time.Now().Add(time.Hour)
			must(r.UpdateCredential(t.Context(), operator, narrowed.ID, auth.CredentialUpdate{Name: &name, Scope: &fewer}))
			must(r.UpdateCredential(t.Context(), operator, widened.ID, auth.CredentialUpdate{Scope: &more}))
			must(r.UpdateCredential(t.Context(), operator, expiring.ID, auth.CredentialUpdate{ExpiresAt: &hour}))
			rotatedNew, leakedNew := rotate(rotated, day), rotate(leaked, time.Time{})
			must(r.FinishRotation(t.Context(), operator, finished.ID))
			must(r.UndoRotation(t.Context(), operator, undone.ID))
			twiceNew := rotate(twice, day)
			must(r.UndoRotation(t.Context(), operator, twice.ID))
			made := key()

			old := filepath.Join(t.TempDir(), "old.db")
			o := Restore{Replace: true, Old: old}
			if by == "journal" {
				var journal bytes.Buffer
				must(nil, w.Opened().DB.ExportAudit(t.Context(), backup.NewExporter(&journal)))
				o = Restore{Replace: true, Journal: &journal}
			}
			w.stop()
			for _, end := range []string{"", "-wal"} { // the same file would do: it is read before it is replaced
				text, err := os.ReadFile(DatabasePath(w.dir) + end)
				if err == nil {
					must(nil, os.WriteFile(old+end, text, 0o600))
				}
			}
			restored, err := restoreInto(t, w.config(), path, o)
			must(nil, err)
			t.Logf("%+v", restored.Taken)
			w.start(unlimited)
			r = w.Registry()

			opens := func(key string) bool {
				return w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key).Code == 201
			}
			for what, c := range map[string]struct {
				key  string
				want bool
			}{
				"untouched": {untouched.key, true}, "revoked": {revoked.key, false}, "narrowed": {narrowed.key, true},
				"expiring": {expiring.key, true}, "the old secret of a rotation, until its end": {rotated.key, true},
				"the new secret of a rotation, which no journal has": {rotatedNew, by == "database"},
				"the old secret that was ended":                      {leaked.key, false}, "its successor": {leakedNew, by == "database"},
				"the old secret of a finished rotation": {finished.key, false}, "the new one": {finishedNew, true},
				"the new secret of an undone rotation": {undoneNew, false}, "the one before": {undone.key, true},
				"a secret of a rotation that came and went": {twiceNew, false}, "what it was for": {twice.key, true},
				"made since": {made.key, false},
			} {
				if got := opens(c.key); got != c.want {
					t.Errorf("%s opens: %v, want %v", what, got, c.want)
				}
			}
			is := func(id auth.AccountID) auth.Account {
				t.Helper()
				a, err := r.Account(t.Context(), operator, id.String())
				must(a, err)
				return a
			}
			if !is(suspended).Suspended() || !is(resumed).Suspended() || is(both).Suspended() {
				t.Errorf("suspended are %v, %v and %v", is(suspended).Suspended(), is(resumed).Suspended(), is(both).Suspended())
			}
			if _, err := r.Account(t.Context(), operator, deleted.String()); err == nil {
				t.Error("a deleted account is back")
			}
			if got := is(limited).Requests; got != (auth.Rate{Count: 5, Per: time.Minute, Burst: 2}) {
				t.Errorf("the limit is %v", got)
			}
			for id, want := range map[auth.AccountID]string{closed: "[203.0.113.0/24]", changed: "[198.51.100.0/24 203.0.113.0/24]", opened: "[192.0.2.0/24]"} {
				var got []string
				for _, e := range is(id).Allowlist {
					got = append(got, e.Prefix.String())
				}
				if fmt.Sprint(got) != want {
					t.Errorf("account %d lets in %v, want %s", id, got, want)
				}
			}
			for c, want := range map[auth.CredentialID]string{narrowed.ID: "a c", widened.ID: "a b c", untouched.ID: "a b c"} {
				if found, err := r.Credential(t.Context(), operator, string(c)); err != nil || found.Scope != want {
					t.Errorf("the scopes are %q, %v; want %q", found.Scope, err, want)
				}
			}
			if found, err := r.Credential(t.Context(), operator, string(expiring.ID)); err != nil || found.ExpiresAt.Sub(hour).Abs() > time.Millisecond {
				t.Errorf("it expires at %v, %v; want %v", found.ExpiresAt, err, hour)
			}
			if found, err := r.Credential(t.Context(), operator, string(client.ID)); err != nil || found.Dead(time.Now()) != auth.ReasonNone {
				t.Errorf("the client %s is %v, %v", clientID, found.Dead(time.Now()), err)
			}
			staff.check(t, w, by)
			for id, want := range map[auth.OperatorTokenID]auth.Reason{ci: auth.ReasonRevoked, stays: auth.ReasonNone} {
				if got, err := w.Opened().DB.OperatorToken(t.Context(), id); err != nil || got.Dead(time.Now()) != want {
					t.Errorf("the token %s is %q, %v; want %q", got.Name, got.Dead(time.Now()), err, want)
				}
			}
			// A secret that nobody has can be replaced at once.
			if by == "journal" {
				issued, err := r.RotateCredential(t.Context(), operator, leaked.ID, time.Time{}, false)
				must(nil, err)
				if key, _ := issued.Reveal(); !opens(key) {
					t.Error("the secret in the place of the one that nobody has opens nothing")
				}
			}
		})
	}
}

// A staff are operators by what happens to them.
type staff map[string]auth.PersonID

// newStaff invites operators, who come with the password "hash" and a passkey.
func newStaff(t *testing.T, w *world, names ...string) staff {
	t.Helper()
	all := make(staff)
	for _, name := range names {
		in, err := w.Registry().InvitePerson(t.Context(), operator, 0, registry.NewPerson{Email: name + "@example.com", Name: name, Role: auth.RoleOwner}, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(in.Link(""), "#")
		now := w.Opened().DB.Now()
		s := auth.DashboardSession{ID: auth.DashboardSessionID(name), Digest: []byte(name), Stage: auth.StageFull, CreatedAt: now, IdleEnds: now.Add(time.Hour), EndsAt: now.Add(time.Hour)}
		if _, err := w.Opened().DB.Join(t.Context(), w.Opened().Rings.LookupDigest(auth.LookupLink, code), auth.Joining{Password: "hash"}, s, auth.Act{Action: "person.join"}); err != nil {
			t.Fatal(err)
		}
		key := auth.Passkey{ID: []byte(name), Name: "Old phone", PublicKey: []byte("k")}
		if err := w.Opened().DB.AddPasskey(t.Context(), in.Person.ID, key, auth.Act{Action: "person.passkey-add", Detail: in.Person.Detail() + " Old phone"}); err != nil {
			t.Fatal(err)
		}
		all[name] = in.Person.ID
	}
	return all
}

// change does to each what the name says.
func (s staff) change(t *testing.T, w *world) {
	t.Helper()
	r, ctx := w.Registry(), t.Context()
	detail := string(s["forgetful"]) + " forgetful@example.com"
	for _, err := range []error{
		w.Opened().DB.SetPersonPassword(ctx, s["forgetful"], "another", "", auth.Act{Action: "person.password", Detail: detail}),
		w.Opened().DB.RemovePasskey(ctx, s["forgetful"], []byte("forgetful"), auth.Act{Action: "person.passkey-remove", Detail: detail + " Old phone"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err1 := r.RemovePerson(ctx, operator, 0, s["removed"])
	_, err2 := r.ChangeRole(ctx, operator, 0, s["demoted"], auth.RoleViewer)
	_, err3 := r.ChangeRole(ctx, operator, 0, s["promoted"], auth.RoleOwner)
	_, err4 := r.ResetPerson(ctx, operator, 0, s["reset"], 0)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
}

func (s staff) check(t *testing.T, w *world, by string) {
	t.Helper()
	forgetful, password := auth.Active, "another"
	if by == "journal" { // which does not have the new password: a new link is needed
		forgetful, password = auth.Invited, ""
	}
	for name, want := range map[string]struct {
		state    auth.PersonState
		role     auth.Role
		password string
		passkeys int
	}{
		"owner": {auth.Active, auth.RoleOwner, "hash", 1}, "untouched": {auth.Active, auth.RoleOwner, "hash", 1},
		"removed": {auth.Removed, auth.RoleOwner, "", 0}, "demoted": {auth.Active, auth.RoleViewer, "hash", 1},
		"promoted": {auth.Active, auth.RoleViewer, "hash", 1}, "reset": {auth.Invited, auth.RoleOwner, "", 0},
		"forgetful": {forgetful, auth.RoleOwner, password, 0},
	} {
		p, err := w.Opened().DB.Person(t.Context(), s[name])
		proofs, err2 := w.Opened().DB.Proofs(t.Context(), s[name])
		if errors.Join(err, err2) != nil || p.State != want.state || p.Role != want.role || p.Passkeys != want.passkeys || proofs.Password != want.password {
			t.Errorf("%s is %+v with the password %q, %v, %v; want %+v", name, p, proofs.Password, err, err2, want)
		}
	}
}

func adminToken(t *testing.T, r *registry.Registry, name string) auth.OperatorTokenID {
	t.Helper()
	issued, err := r.CreateToken(t.Context(), operator, registry.NewToken{Name: name, Role: auth.RoleViewer, Scopes: []string{"accounts:read"}})
	if err != nil {
		t.Fatal(err)
	}
	return issued.Token.ID
}

// An act of which nobody can tell what it took away is not passed over.
func TestAnUnclearJournal(t *testing.T) {
	w := newWorld(t, unlimited)
	c, _, _ := w.issue(auth.APIKey)
	path := w.backUp()
	var journal bytes.Buffer
	last := int64(0)
	write := func(e backup.Entry) error {
		last = e.Number
		return backup.NewExporter(&journal).Entry(e)
	}
	if err := w.Opened().DB.ExportAudit(t.Context(), backup.Acts(write)); err != nil {
		t.Fatal(err)
	}
	whole := journal.String()
	w.stop()
	for name, e := range map[string]backup.Entry{
		"a change that an older release wrote down": {Action: "credential.update", Credential: string(c.ID)},
		"an act of a later release":                 {Action: "credential.shrink", Credential: string(c.ID)},
		"a rotation with another detail":            {Action: "credential.rotate", Credential: string(c.ID), Secret: 2, Detail: "by hand"},
	} {
		journal.Reset()
		journal.WriteString(whole)
		e.Number, e.At, e.Actor = last+1, time.Now().Truncate(time.Millisecond), "test"
		if err := write(e); err != nil {
			t.Fatal(err)
		}
		_, err := restoreInto(t, w.config(), path, Restore{Replace: true, Journal: strings.NewReader(journal.String())})
		if err == nil || !strings.Contains(err.Error(), e.Action) {
			t.Errorf("%s is passed over: %v", name, err)
		}
		last--
	}
	stranger := strings.Replace(whole, `"actor":"test"`, `"actor":"somebody"`, 1)
	if _, err := restoreInto(t, w.config(), path, Restore{Replace: true, AcceptRevived: true, Journal: strings.NewReader(stranger)}); err == nil {
		t.Error("the journal of another database is taken")
	}
	if _, err := restoreInto(t, w.config(), path, Restore{Replace: true, Journal: strings.NewReader(whole)}); err != nil {
		t.Errorf("a journal in which nothing was done since: %v", err)
	}
}
