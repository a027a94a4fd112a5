package storetest

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

func changeLog(t *testing.T, w *World) {
	ctx := t.Context()
	incarnation, head, none, err := w.Changes(ctx, 0)
	no(t, err)
	if incarnation != "incarnation" || head != 0 || len(none) > 0 {
		t.Errorf("a new log: got %q, %d, %+v", incarnation, head, none)
	}
	wakes := w.Wakes()
	woken := func(what string) {
		t.Helper()
		select {
		case <-wakes:
		case <-time.After(10 * time.Second):
			t.Errorf("%s woke nobody", what)
		}
	}
	woken("the beginning") // whoever follows may have looked before the watching began

	a := w.account(t)
	c := w.credential(t, a.ID)
	s := w.login(t, c.ID)
	until := w.Now().Add(time.Hour)
	var want []auth.Change
	for _, step := range []struct {
		do   func() (auth.Revoked, error)
		want auth.Change
	}{
		{func() (auth.Revoked, error) { return w.SuspendAccount(ctx, a.ID, false, act) }, auth.Change{Of: auth.ChangedAccount, Account: a.ID}},
		{func() (auth.Revoked, error) { return w.RevokeSession(ctx, s.ID, a.ID, until, "x", act) }, auth.Change{
			Of: auth.ChangedSession, Account: a.ID, Session: s.ID, Until: until,
		}},
		{func() (auth.Revoked, error) { return w.RevokeCredential(ctx, c.ID, act) }, auth.Change{Of: auth.ChangedCredential, Account: a.ID, Credential: c.ID}},
		{
			func() (auth.Revoked, error) {
				return auth.Revoked{Position: 4}, w.AddKey(ctx, key("k1", auth.SigningRing, w.Now()), "", act)
			},
			auth.Change{Of: auth.ChangedKeys},
		},
	} {
		w.wait(time.Second)
		r, err := step.do()
		woken(string(step.want.Of))
		step.want.Number, step.want.At = revoked(t, r, err), w.Now()
		want = append(want, step.want)
	}
	// What fails draws no number: they have no gaps.
	_, err = w.SuspendAccount(ctx, 99, false, act)
	is(t, "nobody", err, auth.ErrNotFound)
	for after := range auth.Position(5) {
		_, head, got, err := w.Changes(ctx, after)
		no(t, err)
		if diff := gocmp.Diff(want[after:], got, same); diff != "" || head != 4 {
			t.Errorf("after %d: head %d (-want +got):\n%s", after, head, diff)
		}
	}
	for i, change := range want {
		if change.Number != auth.Position(i+1) {
			t.Errorf("change %d has number %d", i, change.Number)
		}
	}
}

func exceptions(t *testing.T, w *World) {
	ctx := t.Context()
	plain, suspended, listed, limited, loggedOut, deleted := w.account(t), w.account(t), w.account(t), w.account(t), w.account(t), w.account(t)
	named, err := w.CreateAccount(ctx, "Named", "C-1", act)
	no(t, err)
	w.credential(t, plain.ID)
	revokedOne, narrowed, rotated := w.credential(t, plain.ID), w.credential(t, plain.ID), w.credential(t, plain.ID)

	_, err = w.SuspendAccount(ctx, suspended.ID, false, act)
	no(t, err)
	_, err = w.AllowIP(ctx, listed.ID, []auth.AllowEntry{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Note: "office"}, {Prefix: netip.MustParsePrefix("2001:db8::/32")},
	}, act)
	no(t, err)
	_, err = w.LimitAccount(ctx, limited.ID, auth.Rate{Count: 5, Per: time.Minute, Burst: 2}, act)
	no(t, err)
	_, err = w.RevokeContract(ctx, loggedOut.ID, auth.B2B, act)
	no(t, err)
	_, err = w.DeleteAccount(ctx, deleted.ID, act)
	no(t, err)
	_, err = w.RevokeCredential(ctx, revokedOne.ID, act)
	no(t, err)
	less := "orders:read"
	_, err = w.UpdateCredential(ctx, narrowed.ID, auth.CredentialUpdate{Scope: &less}, act)
	no(t, err)
	_, _, err = w.RotateSecret(ctx, rotated.ID, digest("x"), "p", w.Now().Add(time.Hour), false, act)
	no(t, err)

	shows := func(what string, since time.Time, accounts []auth.AccountID, credentials []auth.CredentialID) {
		t.Helper()
		e, err := w.Exceptions(ctx, since)
		no(t, err)
		if e.Incarnation != "incarnation" || e.Position != w.head(t) {
			t.Errorf("%s: got incarnation %q, position %d", what, e.Incarnation, e.Position)
		}
		gotAccounts := make([]auth.AccountID, 0)
		for _, a := range e.Accounts {
			gotAccounts = append(gotAccounts, a.ID)
			full, err := w.ExceptionsOf(ctx, []auth.AccountID{a.ID}, nil)
			no(t, err)
			if diff := gocmp.Diff(full.Accounts[0], a, same); diff != "" {
				t.Errorf("%s: account %d (-asked alone +among all):\n%s", what, a.ID, diff)
			}
		}
		gotCredentials := make([]auth.CredentialID, 0)
		for _, c := range e.Credentials {
			gotCredentials = append(gotCredentials, c.ID)
			if len(c.Secrets) > 0 {
				t.Errorf("%s: credential %s comes with secrets", what, c.ID)
			}
		}
		slices.Sort(gotCredentials)
		if diff := gocmp.Diff(accounts, gotAccounts, same); diff != "" {
			t.Errorf("%s: accounts (-want +got):\n%s", what, diff)
		}
		if diff := gocmp.Diff(credentials, gotCredentials, same); diff != "" {
			t.Errorf("%s: credentials (-want +got):\n%s", what, diff)
		}
	}
	shows("now", w.Now(), []auth.AccountID{suspended.ID, listed.ID, limited.ID, loggedOut.ID, deleted.ID, named.ID},
		[]auth.CredentialID{revokedOne.ID, narrowed.ID})
	w.wait(time.Hour)
	shows("once no token from before lives", w.Now(), []auth.AccountID{suspended.ID, listed.ID, limited.ID, named.ID}, nil)

	e, err := w.ExceptionsOf(ctx, []auth.AccountID{plain.ID, 99, deleted.ID}, []auth.CredentialID{rotated.ID, "nobody's", narrowed.ID})
	no(t, err)
	if len(e.Accounts) != 2 || e.Accounts[0].ID != plain.ID || !e.Accounts[1].Suspended() {
		t.Errorf("accounts that are asked for: got %+v", e.Accounts)
	}
	if len(e.Credentials) != 2 || e.Credentials[0].ID != rotated.ID || e.Credentials[1].Scope != less || len(e.Credentials[0].Secrets) > 0 {
		t.Errorf("credentials that are asked for: got %+v", e.Credentials)
	}
	if e.Position != w.head(t) || e.Incarnation != "incarnation" {
		t.Errorf("got incarnation %q, position %d", e.Incarnation, e.Position)
	}
}

func key(id auth.KeyID, ring auth.Ring, now time.Time) auth.KeyRow {
	return auth.KeyRow{
		ID: id, Ring: ring, Algorithm: "EdDSA", Sealed: []byte("sealed " + string(id)), MasterKey: "master 1",
		CreatedAt: now, ActiveAt: now.Add(24 * time.Hour),
	}
}

func keys(t *testing.T, w *World) {
	ctx := t.Context()
	k1, k2, k3 := key("k1", auth.SigningRing, w.Now()), key("k2", auth.SigningRing, w.Now().Add(time.Hour)), key("k3", auth.SigningRing, w.Now())
	other := key("o1", auth.RefreshRing, w.Now())
	no(t, w.AddKey(ctx, k1, "", act))
	no(t, w.AddKey(ctx, other, "", act)) // each ring for itself
	is(t, "a first key where there is one", w.AddKey(ctx, k2, "", act), auth.ErrConflict)
	no(t, w.AddKey(ctx, k2, "k1", act))
	is(t, "after one that is not the youngest", w.AddKey(ctx, k3, "k1", act), auth.ErrConflict)

	w.wait(time.Minute)
	k3.ActiveAt = w.Now()
	r, err := w.RevokeKey(ctx, "k1", &k3, act)
	p := revoked(t, r, err)
	if got := w.last(t); got != (auth.Change{Number: p, Of: auth.ChangedKeys, At: w.Now()}) {
		t.Errorf("the log says %+v", got)
	}
	k4 := key("k4", auth.SigningRing, w.Now())
	r, err = w.RevokeKey(ctx, "k1", &k4, act)
	already(t, r, err)
	_, err = w.RevokeKey(ctx, "nobody's", nil, act)
	is(t, "revoke nobody's", err, auth.ErrNotFound)

	shows := func(want ...auth.KeyRow) {
		t.Helper()
		got, err := w.Keys(ctx)
		no(t, err)
		if diff := gocmp.Diff(want, got, same); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	}
	k1.RevokedAt = w.Now()
	shows(k1, other, k2, k3)
	// k3 stepped in for k1, but the youngest is the one that becomes active last.
	is(t, "after the one that stepped in", w.AddKey(ctx, k4, "k3", act), auth.ErrConflict)
	no(t, w.AddKey(ctx, k4, "k2", act))

	r, err = w.RevokeKey(ctx, "k4", nil, act) // the youngest without a successor: then the one before it is
	revoked(t, r, err)
	is(t, "after a revoked one", w.AddKey(ctx, key("k5", auth.SigningRing, w.Now()), "k4", act), auth.ErrConflict)
	no(t, w.AddKey(ctx, key("k5", auth.SigningRing, w.Now()), "k2", act))
	k4.RevokedAt = w.Now()

	head := w.head(t)
	no(t, w.DeleteKeys(ctx, []auth.KeyID{"k1", "k5", "nobody's"}))
	shows(other, k2, k3, k4)
	if got := w.last(t); got.Of != auth.ChangedKeys || got.Number != head+1 {
		t.Errorf("the log says %+v", got)
	}
	no(t, w.DeleteKeys(ctx, []auth.KeyID{"k1"}))
	if got := w.head(t); got != head+1 {
		t.Errorf("nothing was deleted, and yet the head is %d, want %d", got, head+1)
	}
}

func lifetimes(t *testing.T, w *World) {
	ctx := t.Context()
	l := []auth.Lifetime{
		{Type: "ACCESS_TOKEN", Longest: 24 * time.Hour},
		{Type: "B2B_ACCESS", Longest: time.Hour, LoweredAt: w.Now(), LoweredTo: time.Minute},
	}
	head := w.head(t)
	for _, l := range []auth.Lifetime{l[1], {Type: "ACCESS_TOKEN", Longest: time.Second, LoweredTo: 1}} {
		if raised, err := w.SetLifetime(ctx, l); err != nil || raised != 0 || w.head(t) != head {
			t.Errorf("a first lifetime is told under %d, %v", raised, err)
		}
	}
	for range 2 { // the second time it is no news
		raised, err := w.SetLifetime(ctx, l[0])
		no(t, err)
		if raised != 0 && raised != head+1 || w.head(t) != head+1 || w.last(t).Of != auth.ChangedKeys {
			t.Errorf("a longer one is told under %d, and the log ends with %+v", raised, w.last(t))
		}
	}
	got, err := w.Lifetimes(ctx)
	no(t, err)
	if diff := gocmp.Diff(l, got); diff != "" {
		t.Errorf("lifetimes (-want +got):\n%s", diff)
	}
}

func replicas(t *testing.T, w *World) {
	ctx := t.Context()
	account := w.account(t).ID
	for range 2 { // two entries of the log
		_, err := w.SuspendAccount(ctx, account, false, act)
		no(t, err)
		_, err = w.ResumeAccount(ctx, account, act)
		no(t, err)
	}
	a := auth.Replica{ID: "a", Applied: 3, Started: w.Now(), Version: "1.0", Listens: "127.0.0.1:8000", MaxStaleness: 90 * time.Second}
	b := auth.Replica{ID: "b", Started: w.Now()}
	shows := func(want ...auth.Replica) {
		t.Helper()
		got, now, err := w.Replicas(ctx)
		no(t, err)
		if diff := gocmp.Diff(want, got, same); diff != "" {
			t.Errorf("replicas (-want +got):\n%s", diff)
		}
		if !now.Equal(w.Now()) {
			t.Errorf("it is %v, and the list was made at %v", w.Now(), now)
		}
	}
	no(t, w.Register(ctx, b))
	no(t, w.Register(ctx, a))
	a.HeardAt, b.HeardAt = w.Now(), w.Now()
	shows(a, b)

	w.wait(time.Second)
	head := w.head(t)
	follows := func(id string, applied auth.Position, want ...auth.Position) {
		t.Helper()
		incarnation, at, entries, err := w.Follow(ctx, id, "incarnation", applied)
		no(t, err)
		var got []auth.Position
		for _, e := range entries {
			got = append(got, e.Number)
		}
		if incarnation != "incarnation" || at != head || !slices.Equal(got, want) {
			t.Errorf("%s follows from %d: up to %d of %q, %v, want %v", id, applied, at, incarnation, got, want)
		}
	}
	follows("b", head-2, head-1, head)
	b.Applied, b.HeardAt = head-2, w.Now()
	shows(a, b)
	follows("b", head)
	b.Applied = head
	shows(a, b)
	follows("b", head+7) // it followed something else
	b.Applied = 0
	shows(a, b)
	follows("a", head)
	_, _, _, err := w.Follow(ctx, "a", "the one before", head)
	no(t, err)
	a.Applied, a.HeardAt = 0, w.Now()
	shows(a, b)

	no(t, w.Unregister(ctx, "a"))
	no(t, w.Unregister(ctx, "a"))
	shows(b)
	_, _, _, err = w.Follow(ctx, "a", "incarnation", 9)
	is(t, "heard of one that is gone", err, auth.ErrNotFound)
	w.wait(time.Hour)
	no(t, w.Register(ctx, a))
	a.HeardAt = w.Now()
	no(t, w.Prune(ctx, store.PruneBefore{Replicas: w.Now().Add(-time.Hour)}))
	shows(a, b)
	no(t, w.Prune(ctx, store.PruneBefore{Replicas: w.Now().Add(-time.Hour + time.Millisecond)}))
	shows(a)
	no(t, w.ClearReplicas(ctx))
	shows()
}

func usedOnce(t *testing.T, w *World) {
	ctx := t.Context()
	first := func(digest string, until time.Time, want bool) {
		t.Helper()
		got, err := w.UseOnce(ctx, []byte(digest), until)
		no(t, err)
		if got != want {
			t.Errorf("%s is used for the first time: %v, want %v", digest, got, want)
		}
	}
	until := w.Now().Add(time.Minute)
	first("one", until, true)
	first("two", until.Add(time.Hour), true)
	first("one", until, false)
	w.wait(time.Minute + time.Second)
	no(t, w.Prune(ctx, store.PruneBefore{}))
	first("one", until, false) // clocks differ
	w.wait(time.Minute)
	no(t, w.Prune(ctx, store.PruneBefore{}))
	first("one", until, true)
	first("two", until, false)
}

func usage(t *testing.T, w *World) {
	ctx := t.Context()
	a, other := w.account(t).ID, w.account(t).ID
	hour := w.Now().Truncate(time.Hour)
	row := func(account auth.AccountID, credential auth.CredentialID, hour time.Time, what string, count int64) auth.UsageRow {
		return auth.UsageRow{Account: account, Credential: credential, Hour: hour, What: what, Count: count}
	}
	no(t, w.WriteUsage(ctx, nil, nil))
	no(t, w.WriteUsage(ctx, []auth.UsageRow{
		row(a, "c1", hour, auth.DidLogin, 2), row(a, "c2", hour, auth.DidLogin, 1), row(other, "c3", hour, auth.DidLogin, 9),
	}, nil))
	no(t, w.WriteUsage(ctx, []auth.UsageRow{row(a, "c1", hour, auth.DidLogin, 3), row(a, "c1", hour.Add(-time.Hour), auth.DidRefresh, 1)}, nil))
	got, err := w.Usage(ctx, auth.UsageQuery{Account: a, Since: hour.Add(-time.Hour)})
	no(t, err)
	want := []auth.UsageRow{
		row(a, "c1", hour.Add(-time.Hour), auth.DidRefresh, 1), row(a, "c1", hour, auth.DidLogin, 5), row(a, "c2", hour, auth.DidLogin, 1),
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	got, err = w.Usage(ctx, auth.UsageQuery{Account: a, Since: hour})
	no(t, err)
	if diff := gocmp.Diff(want[1:], got); diff != "" {
		t.Errorf("usage of this hour (-want +got):\n%s", diff)
	}
	got, err = w.Usage(ctx, auth.UsageQuery{Account: a, Until: hour, Credential: "c1"})
	no(t, err)
	if diff := gocmp.Diff(want[:1], got); diff != "" {
		t.Errorf("usage of one before this hour (-want +got):\n%s", diff)
	}
	no(t, w.WriteUsage(ctx, []auth.UsageRow{row(a, "c1", hour.Add(-2*time.Hour), auth.DidRefresh, 7), row(a, "c1", hour.Add(-12*time.Hour), auth.DidRefresh, 8)}, nil))
	got, err = w.Usage(ctx, auth.UsageQuery{Account: a, Step: auth.Daily})
	no(t, err)
	day := hour.Truncate(24 * time.Hour)
	want = []auth.UsageRow{
		row(a, "c1", day.Add(-24*time.Hour), auth.DidRefresh, 8),
		row(a, "c1", day, auth.DidLogin, 5), row(a, "c1", day, auth.DidRefresh, 8), row(a, "c2", day, auth.DidLogin, 1),
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("usage by day (-want +got):\n%s", diff)
	}

	// Of a secret's uses the latest counts, whichever was written last.
	c := w.credential(t, a)
	use := func(at time.Time, address string, count int64) auth.SecretUse {
		return auth.SecretUse{Credential: c.ID, Secret: 1, Use: auth.Use{At: at, Address: netip.MustParseAddr(address), UserAgent: "from " + address, Count: count}}
	}
	no(t, w.WriteUsage(ctx, nil, []auth.SecretUse{use(hour.Add(time.Minute), "192.0.2.1", 2)}))
	no(t, w.WriteUsage(ctx, nil, []auth.SecretUse{use(hour, "192.0.2.2", 3), use(hour.Add(2*time.Minute), "192.0.2.3", 1)}))
	no(t, w.WriteUsage(ctx, nil, []auth.SecretUse{use(hour.Add(time.Second), "192.0.2.4", 1)}))
	one, err := w.Credential(ctx, c.ID)
	no(t, err)
	if diff := gocmp.Diff(use(hour.Add(2*time.Minute), "192.0.2.3", 7).Use, one.Secrets[0].LastUse, same); diff != "" {
		t.Errorf("last use (-want +got):\n%s", diff)
	}
}

func refusals(t *testing.T, w *World) {
	ctx := t.Context()
	now := w.Now()
	full := auth.Refusal{
		At: now, RequestIDs: []string{"reqid_1", "reqid_2"}, Count: 3, Method: "POST", Host: "api.example.com", Path: "/auth/login", Route: "/auth/login",
		Contract: auth.B2B, Status: 401, Reason: auth.ReasonWrongSecret, Subject: auth.Subject{Account: 100001, Credential: "c1", Secret: 1, Session: "s1"},
		Type: "B2B_ACCESS", Address: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddr("10.0.0.1"), Forwarded: "192.0.2.1", UserAgent: "curl",
		Limit: "failures_per_address", IssuedAt: now.Add(-time.Minute), Detail: "it is so",
	}
	bare := auth.Refusal{At: now.Add(-time.Hour), Count: 1, Reason: auth.ReasonUnknown}
	other := auth.Refusal{
		At: now.Add(-time.Minute), RequestIDs: []string{"reqid_2", "reqid_3"}, Count: 1, Subject: auth.Subject{Account: 100002, Credential: "c2"},
		Address: netip.MustParseAddr("2001:db8::1"),
	}
	no(t, w.WriteRefusals(ctx, nil))
	no(t, w.WriteRefusals(ctx, []auth.Refusal{bare, full, other}))
	for _, ask := range []struct {
		name   string
		filter auth.RefusalFilter
		want   []auth.Refusal
	}{
		{"all, the newest first", auth.RefusalFilter{}, []auth.Refusal{full, other, bare}},
		{"two", auth.RefusalFilter{Most: 2}, []auth.Refusal{full, other}},
		{"account", auth.RefusalFilter{Account: 100001}, []auth.Refusal{full}},
		{"credential", auth.RefusalFilter{Credential: "c2"}, []auth.Refusal{other}},
		{"address", auth.RefusalFilter{Address: netip.MustParseAddr("2001:db8::1")}, []auth.Refusal{other}},
		{"since", auth.RefusalFilter{Since: now.Add(-time.Minute)}, []auth.Refusal{full, other}},
		{"request", auth.RefusalFilter{RequestID: "reqid_3"}, []auth.Refusal{other}},
		{"a request counted twice", auth.RefusalFilter{RequestID: "reqid_2"}, []auth.Refusal{full, other}},
		{"everything at once", auth.RefusalFilter{
			Account: 100001, Credential: "c1", Address: full.Address, Since: now, RequestID: "reqid_1", Most: 1,
		}, []auth.Refusal{full}},
		{"things that do not fit", auth.RefusalFilter{Account: 100001, Credential: "c2"}, nil},
		{"an injection", auth.RefusalFilter{RequestID: "' OR '1'='1", Credential: "c1' --"}, nil},
	} {
		got, err := w.Refusals(ctx, ask.filter)
		no(t, err)
		for i := range got {
			if got[i].ID == 0 {
				t.Errorf("%s: a stored refusal has an id", ask.name)
			}
			got[i].ID = 0
		}
		if diff := gocmp.Diff(ask.want, got, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask.name, diff)
		}
	}
}

func prune(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	const many = 1100 // more than two batches
	old := w.Now()
	var dead []auth.SessionID
	for range many {
		dead = append(dead, w.login(t, c.ID).ID)
	}
	var rows []auth.UsageRow
	var refused []auth.Refusal
	for i := range many {
		at := old.Add(time.Duration(i) * time.Millisecond)
		rows = append(rows, auth.UsageRow{Account: a.ID + auth.AccountID(i/700), Hour: at, What: auth.DidLogin, Count: 1})
		refused = append(refused, auth.Refusal{At: at, Count: 1, RequestIDs: []string{w.id("reqid_")}})
	}
	no(t, w.WriteUsage(ctx, rows, nil))
	no(t, w.WriteRefusals(ctx, refused))
	_, err := w.RevokeSession(ctx, "short", a.ID, old.Add(time.Minute), "x", act)
	no(t, err)
	_, err = w.RevokeSession(ctx, "long", a.ID, old.Add(60*24*time.Hour), "x", act)
	no(t, err)
	_, err = w.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), ExpiresAt: old.Add(time.Minute)}}, act)
	no(t, err)
	old = old.Add(many * time.Millisecond)

	w.wait(refreshLife + time.Hour)
	cut := w.Now().Add(-time.Hour + time.Millisecond)
	live := w.login(t, c.ID)
	no(t, w.WriteUsage(ctx, []auth.UsageRow{{Account: a.ID, Hour: w.Now(), What: auth.DidLogin, Count: 1}}, nil))
	no(t, w.WriteRefusals(ctx, []auth.Refusal{{At: w.Now(), Count: 1, RequestIDs: []string{"reqid_live"}}}))
	_, err = w.SuspendAccount(ctx, a.ID, false, act)
	no(t, err)

	no(t, w.Prune(ctx, store.PruneBefore{})) // of what is not named nothing goes
	if got, err := w.Usage(ctx, auth.UsageQuery{Account: a.ID}); err != nil || len(got) != 700+1 {
		t.Errorf("got %d rows of usage and %v, want %d", len(got), err, 700+1)
	}
	no(t, w.Prune(ctx, store.PruneBefore{Refusals: cut, Usage: cut, Sessions: cut, Changes: cut}))

	if got, err := w.Usage(ctx, auth.UsageQuery{Account: a.ID}); err != nil || len(got) != 1 {
		t.Errorf("got %d rows of usage and %v, want 1", len(got), err)
	}
	if got, err := w.Usage(ctx, auth.UsageQuery{Account: a.ID + 1}); err != nil || len(got) > 0 {
		t.Errorf("got %d rows of usage of the next account and %v, want none", len(got), err)
	}
	if got, err := w.Refusals(ctx, auth.RefusalFilter{Most: 5000}); err != nil || len(got) != 1 || got[0].RequestIDs[0] != "reqid_live" {
		t.Errorf("got %d refusals and %v, want 1", len(got), err)
	}
	if got, err := w.Refusals(ctx, auth.RefusalFilter{RequestID: "reqid_1"}); err != nil || len(got) > 0 {
		t.Errorf("got %+v and %v by the request of a refusal that is gone", got, err)
	}
	if got, err := w.Sessions(ctx, auth.SessionQuery{Account: a.ID}); err != nil || len(got) != 1 || got[0].ID != live.ID {
		t.Errorf("got %d sessions and %v, want the live one", len(got), err)
	}
	_, err = w.refresh(t, dead[0], 0, "")
	is(t, "refresh a session that is gone", err, auth.ErrBadRefresh)
	e, err := w.Exceptions(ctx, w.Now())
	no(t, err)
	if diff := gocmp.Diff([]auth.RevokedSession{{ID: "long", Until: old.Add(60*24*time.Hour - many*time.Millisecond)}}, e.Sessions); diff != "" {
		t.Errorf("revoked sessions (-want +got):\n%s", diff)
	}
	if len(e.Accounts) != 1 || len(e.Accounts[0].Allowlist) != 1 {
		t.Errorf("an entry that has expired stays, or the account would be open: got %+v", e.Accounts)
	}
	// Whoever follows the log from before sees that some are missing.
	_, head, left, err := w.Changes(ctx, 0)
	no(t, err)
	if head != 4 || len(left) != 1 || left[0].Number != 4 {
		t.Errorf("the log: got head %d and %+v, want the last entry alone", head, left)
	}
	no(t, w.Prune(ctx, store.PruneBefore{Changes: w.Now().Add(time.Hour)}))
	_, head, left, err = w.Changes(ctx, 0)
	no(t, err)
	if head != 4 || len(left) > 0 {
		t.Errorf("the log, empty: got head %d and %+v", head, left)
	}
}

func auditTrail(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	w.wait(time.Second)
	_, _, err := w.RotateSecret(ctx, c.ID, digest("x"), "p", w.Now().Add(time.Hour), false, auth.Act{Actor: "credential u_1", Action: "credential.rotate"})
	no(t, err)
	_, err = w.SuspendAccount(ctx, 99, false, auth.Act{Action: "account.suspend"}) // failed: no act
	is(t, "nobody", err, auth.ErrNotFound)
	_, err = w.ResumeAccount(ctx, a.ID, auth.Act{Action: "account.resume"}) // nothing was done: no act
	no(t, err)
	refused := auth.Act{Actor: "member", Action: "denied", Detail: "account.suspend", RequestID: "reqid_1", Address: netip.MustParseAddr("2001:db8::1")}
	head := w.head(t)
	no(t, w.Note(ctx, refused, auth.Subject{Account: a.ID})) // nothing changed, and somebody tried
	if now := w.head(t); now != head {
		t.Errorf("a note moved the change log from %d to %d", head, now)
	}
	got := w.trail(t)
	want := []auth.AuditEntry{
		{At: w.Now(), Act: refused, About: auth.Subject{Account: a.ID}},
		{At: w.Now(), Act: auth.Act{Actor: "credential u_1", Action: "credential.rotate"}, About: auth.Subject{Account: a.ID, Credential: c.ID, Secret: 2}},
		{At: w.Now().Add(-time.Second), Act: act, About: auth.Subject{Account: a.ID, Credential: c.ID, Secret: 1}},
		{At: w.Now().Add(-time.Second), Act: act, About: auth.Subject{Account: a.ID}},
	}
	if !slices.IsSortedFunc(got, func(a, b auth.AuditEntry) int { return cmp.Compare(b.Number, a.Number) }) {
		t.Errorf("the newest should come first: got %+v", got)
	}
	for i := range got {
		got[i].Number = 0
	}
	if diff := gocmp.Diff(want, got, same); diff != "" {
		t.Errorf("the trail (-want +got):\n%s", diff)
	}
}
