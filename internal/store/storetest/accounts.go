package storetest

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// same compares as far as stored values can differ: a nil list is an empty one, addresses compare by ==.
var same = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
}

func bornOnce(t *testing.T, w *World) {
	ctx := t.Context()
	_, err := w.Meta(ctx)
	is(t, "before it is born", err, auth.ErrNotFound)

	b := birth
	b.Keys = []auth.KeyRow{key("k1", auth.SigningRing, w.Now()), key("k2", auth.PepperRing, w.Now())}
	no(t, w.Create(ctx, b))
	is(t, "born again", w.Create(ctx, store.Birth{Incarnation: "another", SealCheck: []byte("x"), MasterKey: "x"}), auth.ErrConflict)

	got, err := w.Meta(ctx)
	no(t, err)
	want := store.Meta{Incarnation: "incarnation", SealCheck: []byte("check"), MasterKey: "master 1", CreatedAt: w.Now()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what it is (-want +got):\n%s", diff)
	}
	rows, err := w.Keys(ctx)
	no(t, err)
	if diff := cmp.Diff(b.Keys, rows); diff != "" {
		t.Errorf("its keys (-want +got):\n%s", diff)
	}
}

func accounts(t *testing.T, w *World) {
	ctx := t.Context()
	a, err := w.CreateAccount(ctx, "Acme", "C-4711", act)
	no(t, err)
	want := auth.Account{ID: auth.FirstAccount, Name: "Acme", Ref: "C-4711", CreatedAt: w.Now()}
	if diff := cmp.Diff(want, a, same); diff != "" {
		t.Errorf("a new account (-want +got):\n%s", diff)
	}
	if got := w.last(t); got.Of != auth.ChangedAccount || got.Account != a.ID {
		t.Errorf("an account with a reference is an exception, and the log should say so: got %+v", got)
	}
	b, err := w.CreateAccount(ctx, "Beta", "", act)
	no(t, err)
	if head := w.head(t); head != 1 {
		t.Errorf("an account without a reference has the defaults: got head %d, want 1", head)
	}
	_, err = w.CreateAccount(ctx, "Gamma", "C-4711", act)
	is(t, "a reference that is taken", err, auth.ErrConflict)
	if msg := auth.AsError(err).Msg; !strings.Contains(msg, "100001") {
		t.Errorf("the error should name the account that has it: %q", msg)
	}

	w.wait(time.Minute)
	revoked2 := func(r auth.Revoked, err error) { t.Helper(); revoked(t, r, err) }
	revoked2(w.LimitAccount(ctx, b.ID, auth.Rate{Count: 10, Per: time.Second, Burst: 3}, act))
	ref := "C-1"
	revoked2(w.RenameAccount(ctx, b.ID, "Beta Ltd", &ref, act))
	revoked2(w.RenameAccount(ctx, a.ID, "Acme Inc", nil, act))
	taken := "C-4711"
	_, err = w.RenameAccount(ctx, b.ID, "Beta", &taken, act)
	is(t, "rename to a reference that is taken", err, auth.ErrConflict)
	_, err = w.RenameAccount(ctx, 999, "Nobody", &taken, act)
	is(t, "rename nobody", err, auth.ErrNotFound)

	got, err := w.AccountByRef(ctx, "C-1")
	no(t, err)
	b.Name, b.Ref, b.Requests = "Beta Ltd", "C-1", auth.Rate{Count: 10, Per: time.Second, Burst: 3}
	if diff := cmp.Diff(b, got, same); diff != "" {
		t.Errorf("by reference (-want +got):\n%s", diff)
	}
	none := ""
	revoked2(w.RenameAccount(ctx, b.ID, "Beta Ltd", &none, act))
	_, err = w.AccountByRef(ctx, "C-1")
	is(t, "a reference that was taken away", err, auth.ErrNotFound)
	_, err = w.AccountByRef(ctx, "")
	is(t, "no reference", err, auth.ErrNotFound)

	all, err := w.Accounts(ctx, auth.AccountQuery{})
	no(t, err)
	a.Name, b.Ref = "Acme Inc", ""
	if diff := cmp.Diff([]auth.Account{a, b}, all, same); diff != "" {
		t.Errorf("all accounts (-want +got):\n%s", diff)
	}
}

func accountNumbers(t *testing.T, w *World) {
	ctx := t.Context()
	for want := auth.FirstAccount; want < auth.FirstAccount+3; want++ {
		a := w.account(t)
		if a.ID != want {
			t.Errorf("got number %d, want %d", a.ID, want)
		}
		_, err := w.DeleteAccount(ctx, a.ID, act)
		no(t, err)
	}
}

func suspendAndResume(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	s := w.login(t, c.ID)

	r, err := w.SuspendAccount(ctx, a.ID, false, act)
	p := revoked(t, r, err)
	if got := w.last(t); got != (auth.Change{Number: p, Of: auth.ChangedAccount, Account: a.ID, At: w.Now()}) {
		t.Errorf("the log says %+v", got)
	}
	got, err := w.Account(ctx, a.ID)
	no(t, err)
	if !got.SuspendedAt.Equal(w.Now()) || !got.Suspended() || got.DeadBelow != [4]auth.Position{} {
		t.Errorf("suspended: got %+v", got)
	}
	r, err = w.SuspendAccount(ctx, a.ID, false, act)
	already(t, r, err)
	if r.Position != p {
		t.Errorf("already suspended: got position %d to wait for, want the head, %d", r.Position, p)
	}
	_, err = w.refresh(t, s.ID, 0, "")
	because(t, "refresh while suspended", err, auth.ErrEnded, auth.ReasonAccountSuspended)

	r, err = w.ResumeAccount(ctx, a.ID, act)
	revoked(t, r, err)
	r, err = w.ResumeAccount(ctx, a.ID, act)
	already(t, r, err)
	_, err = w.refresh(t, s.ID, 0, "")
	no(t, err)

	w.wait(time.Minute)
	r, err = w.SuspendAccount(ctx, a.ID, true, act)
	p = revoked(t, r, err)
	r, err = w.ResumeAccount(ctx, a.ID, act)
	revoked(t, r, err)
	got, err = w.Account(ctx, a.ID)
	no(t, err)
	if got.DeadBelow != [4]auth.Position{p, p, p, p} || !got.RestrictedAt.Equal(w.Now()) || got.Suspended() {
		t.Errorf("suspended with its tokens and resumed: got %+v, want all dead below %d", got, p)
	}
	_, err = w.refresh(t, s.ID, 1, "")
	because(t, "what was revoked stays dead", err, auth.ErrEnded, auth.ReasonRevoked)
	_, err = w.refresh(t, w.login(t, c.ID).ID, 0, "")
	no(t, err)

	for name, do := range map[string]func() (auth.Revoked, error){
		"suspend":             func() (auth.Revoked, error) { return w.SuspendAccount(ctx, 99, false, act) },
		"suspend with tokens": func() (auth.Revoked, error) { return w.SuspendAccount(ctx, 99, true, act) },
		"resume":              func() (auth.Revoked, error) { return w.ResumeAccount(ctx, 99, act) },
		"delete":              func() (auth.Revoked, error) { return w.DeleteAccount(ctx, 99, act) },
		"limit":               func() (auth.Revoked, error) { return w.LimitAccount(ctx, 99, auth.Rate{}, act) },
		"allow": func() (auth.Revoked, error) {
			return w.AllowIP(ctx, 99, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("::/0")}}, act)
		},
		"remove": func() (auth.Revoked, error) { return w.RemoveIP(ctx, 99, nil, true, act) },
		"logout": func() (auth.Revoked, error) { return w.RevokeContract(ctx, 99, auth.B2B, act) },
	} {
		_, err := do()
		is(t, name+" nobody", err, auth.ErrNotFound)
	}
}

func deleteAccount(t *testing.T, w *World) {
	ctx := t.Context()
	a, err := w.CreateAccount(ctx, "Acme", "C-1", act)
	no(t, err)
	c := w.credential(t, a.ID)
	s := w.login(t, c.ID)
	_, err = w.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}, act)
	no(t, err)

	w.wait(time.Minute)
	r, err := w.DeleteAccount(ctx, a.ID, act)
	p := revoked(t, r, err)
	_, err = w.Account(ctx, a.ID)
	is(t, "a deleted account", err, auth.ErrNotFound)
	_, err = w.AccountByRef(ctx, "C-1")
	is(t, "its reference", err, auth.ErrNotFound)
	_, err = w.Holder(ctx, auth.Login, c.ID)
	is(t, "its credential", err, auth.ErrNotFound)
	_, err = w.refresh(t, s.ID, 0, "")
	because(t, "its session", err, auth.ErrEnded, auth.ReasonRevoked)
	_, err = w.StartSession(ctx, w.newSession(c.ID))
	because(t, "a login", err, auth.ErrBadCredential, auth.ReasonRevoked)
	is(t, "a new credential for it", w.CreateCredential(ctx, auth.Credential{
		ID: "late", Account: a.ID, Kind: auth.Login, Secrets: []auth.Secret{{Number: 1, Digest: digest("x"), Pepper: "p"}},
	}, act), auth.ErrNotFound)
	_, err = w.ResumeAccount(ctx, a.ID, act)
	is(t, "resume it", err, auth.ErrNotFound)
	_, err = w.DeleteAccount(ctx, a.ID, act)
	is(t, "delete it again", err, auth.ErrNotFound)

	left, err := w.Credential(ctx, c.ID)
	no(t, err)
	if !left.RevokedAt.Equal(w.Now()) {
		t.Errorf("its credential should be revoked, for whoever asks why: got %+v", left)
	}
	// Whoever hears of the change learns what is left of the account.
	e, err := w.ExceptionsOf(ctx, []auth.AccountID{a.ID}, nil)
	no(t, err)
	if len(e.Accounts) != 1 || !e.Accounts[0].Suspended() || e.Accounts[0].DeadBelow != [4]auth.Position{p, p, p, p} ||
		e.Accounts[0].Name != "" || e.Accounts[0].Ref != "" || len(e.Accounts[0].Allowlist) > 0 {
		t.Errorf("what is left: got %+v", e.Accounts)
	}
	// Its reference is free, its number is not.
	b, err := w.CreateAccount(ctx, "Next", "C-1", act)
	no(t, err)
	if b.ID == a.ID {
		t.Errorf("number %d was used again", b.ID)
	}
}

func allowlist(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	entry := func(prefix, note string, expires time.Time) auth.AllowEntry {
		return auth.AllowEntry{Prefix: netip.MustParsePrefix(prefix), Note: note, CreatedAt: w.Now(), ExpiresAt: expires}
	}
	office := entry("192.0.2.0/24", "office", time.Time{})
	vpn := entry("2001:db8::/32", "vpn", w.Now().Add(time.Hour))
	r, err := w.AllowIP(ctx, a.ID, []auth.AllowEntry{office, vpn}, act)
	p := revoked(t, r, err)
	if got := w.last(t); got.Number != p || got.Of != auth.ChangedAccount || got.Account != a.ID {
		t.Errorf("the log says %+v", got)
	}
	shows := func(want ...auth.AllowEntry) {
		t.Helper()
		got, err := w.Account(ctx, a.ID)
		no(t, err)
		if diff := cmp.Diff(want, got.Allowlist, same); diff != "" {
			t.Errorf("allowlist (-want +got):\n%s", diff)
		}
	}
	shows(office, vpn)

	w.wait(2 * time.Hour) // an entry that has expired stays on the list: without it the account would be open
	shows(office, vpn)
	again := vpn
	again.Note, again.ExpiresAt = "vpn, longer", w.Now().Add(time.Hour)
	_, err = w.AllowIP(ctx, a.ID, []auth.AllowEntry{again}, act)
	no(t, err)
	shows(office, again)

	prefixes := func(s ...string) (all []netip.Prefix) {
		for _, s := range s {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	_, err = w.RemoveIP(ctx, a.ID, prefixes("192.0.2.0/24", "10.0.0.0/8"), false, act)
	is(t, "remove one that is not there", err, auth.ErrNotFound)
	if msg := auth.AsError(err).Msg; !strings.Contains(msg, "10.0.0.0/8") {
		t.Errorf("the error should name the entry: %q", msg)
	}
	_, err = w.RemoveIP(ctx, a.ID, prefixes("192.0.2.0/24", "2001:db8::/32"), false, act)
	is(t, "remove all", err, auth.ErrConflict)
	shows(office, again) // all or nothing
	r, err = w.RemoveIP(ctx, a.ID, prefixes("192.0.2.0/24"), false, act)
	revoked(t, r, err)
	shows(again)
	r, err = w.RemoveIP(ctx, a.ID, prefixes("2001:db8::/32"), true, act)
	revoked(t, r, err)
	shows()
}

func sealAnew(t *testing.T, w *World) {
	ctx := t.Context()
	for _, id := range []auth.KeyID{"k1", "k2"} {
		k := key(id, auth.Ring("ring of "+id), w.Now())
		no(t, w.AddKey(ctx, k, "", act))
	}
	seal := func(s auth.Sealed) ([]byte, error) { return append([]byte("anew "), s.Text...), nil }
	_, err := w.Reseal(ctx, "master 0", "master 2", []byte("check 2"), seal, act)
	is(t, "from another master key", err, auth.ErrConflict)
	_, err = w.Reseal(ctx, "master 1", "master 2", []byte("check 2"), func(s auth.Sealed) ([]byte, error) {
		if s.Row == "k2" {
			return nil, auth.ErrInvalid.Saying("cannot be opened")
		}
		return seal(s)
	}, act)
	is(t, "a key that cannot be opened", err, auth.ErrInvalid)
	rows, err := w.Keys(ctx)
	no(t, err)
	if string(rows[0].Sealed) != "sealed k1" || rows[0].MasterKey != "master 1" {
		t.Errorf("after a failure nothing should have changed: got %+v", rows[0])
	}
	n, err := w.Reseal(ctx, "master 1", "master 2", []byte("check 2"), seal, act)
	no(t, err)
	if n != 2 {
		t.Errorf("got %d keys, want 2", n)
	}
	rows, err = w.Keys(ctx)
	no(t, err)
	for _, row := range rows {
		if string(row.Sealed) != "anew sealed "+string(row.ID) || row.MasterKey != "master 2" {
			t.Errorf("sealed anew: got %+v", row)
		}
	}
	m, err := w.Meta(ctx)
	no(t, err)
	if m.MasterKey != "master 2" || string(m.SealCheck) != "check 2" {
		t.Errorf("got %+v, want the new master key", m)
	}
}
