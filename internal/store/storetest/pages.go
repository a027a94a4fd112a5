package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// pages reads a list as somebody does who shows two rows a page, and asks for one more to see whether there is another.
func pages[Row any](t *testing.T, read func(after *Row, most int) ([]Row, error)) []Row {
	t.Helper()
	const shown = 2
	var all []Row
	var last *Row
	for {
		rows, err := read(last, shown+1)
		no(t, err)
		all = append(all, rows[:min(len(rows), shown)]...)
		if len(rows) <= shown {
			return all
		}
		last = &rows[shown-1]
	}
}

func findAccounts(t *testing.T, w *World) {
	ctx := t.Context()
	create := func(name, ref string) auth.AccountID {
		a, err := w.CreateAccount(ctx, name, ref, act)
		no(t, err)
		return a.ID
	}
	acme, smith, ole := create("Acme Ltd", "C-4711"), create("Smith & Sons, Acme trading", ""), create("Øle Æbler", "c-12")
	like, gone := create("100%_'; DROP TABLE accounts; --", `"*`), create("Acme of old", "C-4712")
	_, err := w.SuspendAccount(ctx, smith, false, act)
	no(t, err)
	_, err = w.DeleteAccount(ctx, gone, act)
	no(t, err)
	entry := auth.AllowEntry{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Note: "office", CreatedAt: w.Now()}
	_, err = w.AllowIP(ctx, smith, []auth.AllowEntry{entry}, act)
	no(t, err)

	finds := func(search, status string, want ...auth.AccountID) {
		t.Helper()
		got := pages(t, func(after *auth.Account, most int) ([]auth.Account, error) {
			q := auth.AccountQuery{Search: search, Status: status, Most: most}
			if after != nil {
				q.After = after.ID
			}
			return w.Accounts(ctx, q)
		})
		var ids []auth.AccountID
		for _, a := range got {
			ids = append(ids, a.ID)
			if a.ID == smith && !slices.Equal(a.Allowlist, []auth.AllowEntry{entry}) {
				t.Errorf("%q: the allowlist is %v", search, a.Allowlist)
			}
		}
		if diff := gocmp.Diff(want, ids, same); diff != "" {
			t.Errorf("%q, %q (-want +got):\n%s", search, status, diff)
		}
	}
	finds("", "", acme, smith, ole, like)
	finds("", "suspended", smith)
	finds("", "active", acme, ole, like)
	finds("acm", "", acme, smith)
	finds("ACME", "active", acme)
	finds("trading smi", "", smith)
	finds("acme nobody", "")
	finds("cme", "") // not the beginning of a word
	finds("øl", "", ole)
	finds("C-4711", "", acme)
	finds("c-", "", acme, ole)
	finds("4711", "", acme)
	finds(acme.String(), "", acme)
	finds("10000", "", acme, smith, ole, like)
	finds("100", "", acme, smith, ole, like)
	finds("ref:C-", "", acme)
	finds("ref:c-12", "", ole)
	finds("ref:%", "")
	finds("%", "", acme, smith, ole, like) // no word in it
	finds("drop table", "", like)
	finds("old", "")

	other := "X-9"
	_, err = w.RenameAccount(ctx, acme, "Umbra", &other, act)
	no(t, err)
	finds("acme", "", smith)
	finds("umbra x", "", acme)
	_, err = w.RenameAccount(ctx, acme, "Penumbra", nil, act)
	no(t, err)
	finds("x-9 penumbra", "", acme)
	no(t, w.IndexAccounts(ctx)) // there is nothing to do, and it ends
	finds("x-9 penumbra", "", acme)
}

func pagesOfCredentials(t *testing.T, w *World) {
	ctx := t.Context()
	a, b := w.account(t).ID, w.account(t).ID
	create := func(account auth.AccountID, kind auth.Kind, name string) auth.CredentialID {
		c := auth.Credential{
			ID: auth.CredentialID(w.id("c")), Account: account, Kind: kind, Name: name, CreatedAt: w.Now(), ExpiresAt: w.Now().Add(time.Hour),
			Secrets: []auth.Secret{{Number: 1, Digest: digest("x"), Pepper: "p", CreatedAt: w.Now()}},
		}
		no(t, w.CreateCredential(ctx, c, act))
		return c.ID
	}
	key, login := create(a, auth.APIKey, "Warehouse 50% off"), create(a, auth.Login, "till_7")
	others := create(b, auth.APIKey, "warehouse")
	w.wait(30 * time.Minute)
	same1, same2 := create(a, auth.APIKey, ""), create(a, auth.APIKey, "")
	_, err := w.RevokeCredential(ctx, same2, act)
	no(t, err)
	lists := func(what string, q auth.CredentialQuery, want ...auth.CredentialID) {
		t.Helper()
		got := pages(t, func(after *auth.Credential, most int) ([]auth.Credential, error) {
			q.Most = most
			if after != nil {
				place, err := auth.ParseCredentialPlace(after.Place().String())
				no(t, err)
				q.After = place
			}
			return w.Credentials(ctx, q)
		})
		var ids []auth.CredentialID
		for _, c := range got {
			ids = append(ids, c.ID)
		}
		if diff := gocmp.Diff(want, ids, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	lists("all", auth.CredentialQuery{}, key, login, same1, same2, others)
	lists("of an account", auth.CredentialQuery{Account: a}, key, login, same1, same2)
	lists("of a kind", auth.CredentialQuery{Account: a, Kind: auth.APIKey}, key, same1, same2)
	lists("of a kind anywhere", auth.CredentialQuery{Kind: auth.APIKey}, key, same1, same2, others)
	lists("live", auth.CredentialQuery{Account: a, Live: true}, key, login, same1)
	lists("by name", auth.CredentialQuery{Account: a, Search: "WAREhouse"}, key)
	lists("by a sign that LIKE knows", auth.CredentialQuery{Account: a, Search: "%"}, key)
	lists("by another", auth.CredentialQuery{Account: a, Search: "_"}, login)
	lists("by id", auth.CredentialQuery{Account: a, Search: string(login)}, login)
	lists("by id anywhere", auth.CredentialQuery{Search: string(others)}, others)
	lists("by name anywhere", auth.CredentialQuery{Search: "warehouse"})
	w.wait(30 * time.Minute)
	lists("live, later", auth.CredentialQuery{Account: a, Live: true}, same1)
}

func pagesOfSessions(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	one, two := w.credential(t, a.ID), w.credential(t, a.ID)
	var started []auth.SessionID
	for range 3 {
		started = append(started, w.login(t, one.ID).ID, w.login(t, two.ID).ID) // two at a time
		w.wait(time.Second)
	}
	elsewhere := w.login(t, w.credential(t, w.account(t).ID).ID).ID
	lists := func(what string, q auth.SessionQuery, want ...auth.SessionID) {
		t.Helper()
		got := pages(t, func(after *auth.Session, most int) ([]auth.Session, error) {
			q.Most = most
			if after != nil {
				place, err := auth.ParseSessionPlace(after.Place().String())
				no(t, err)
				q.After = place
			}
			return w.Sessions(ctx, q)
		})
		var ids []auth.SessionID
		for i, s := range got {
			ids = append(ids, s.ID)
			if i > 0 && s.StartedAt.After(got[i-1].StartedAt) {
				t.Errorf("%s: %s began after %s", what, s.ID, got[i-1].ID)
			}
		}
		slices.Sort(ids)
		slices.Sort(want)
		if diff := gocmp.Diff(want, ids, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	lists("of the account", auth.SessionQuery{Account: a.ID}, slices.Clone(started)...)
	lists("of a credential", auth.SessionQuery{Credential: two.ID}, started[1], started[3], started[5])
	lists("of a credential of another account", auth.SessionQuery{Account: a.ID + 1, Credential: two.ID})
	_, err := w.RevokeSession(ctx, started[3], a.ID, w.Now().Add(time.Hour), "command", act)
	no(t, err)
	lists("live ones of a credential", auth.SessionQuery{Account: a.ID, Credential: two.ID, LiveOnly: true}, started[1], started[5])
	lists("of everybody", auth.SessionQuery{}, append(slices.Clone(started), elsewhere)...)
}

func pagesOfRefusals(t *testing.T, w *World) {
	ctx := t.Context()
	var rows []auth.Refusal
	var want []string
	for i := range 12 {
		at := w.Now().Add(-time.Duration(i/5) * time.Minute) // five at a time, more than a page holds
		id := fmt.Sprintf("reqid_%02d", i)
		rows = append(rows, auth.Refusal{At: at, RequestIDs: []string{"reqid_x" + strconv.Itoa(i), id}, Count: 2, Subject: auth.Subject{Account: 100001}})
		want = append(want, id)
	}
	w.wait(time.Hour)
	rows = append(rows, auth.Refusal{At: w.Now(), RequestIDs: []string{"reqid_other"}, Count: 1, Subject: auth.Subject{Account: 100002}})
	no(t, w.WriteRefusals(ctx, rows))
	lists := func(what string, f auth.RefusalFilter, want []string) {
		t.Helper()
		got := pages(t, func(after *auth.Refusal, most int) ([]auth.Refusal, error) {
			f.Most = most
			if after != nil {
				place, err := auth.ParseRefusalPlace(after.Place().String())
				no(t, err)
				f.After = place
			}
			return w.Refusals(ctx, f)
		})
		var ids []string
		for _, r := range got {
			ids = append(ids, r.RequestIDs[0])
		}
		if diff := gocmp.Diff(want, ids, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	lists("all", auth.RefusalFilter{}, append([]string{"reqid_other"}, want...))
	lists("of an account", auth.RefusalFilter{Account: 100001}, want)
	lists("since", auth.RefusalFilter{Account: 100001, Since: w.Now().Add(-time.Hour - time.Minute)}, want[:10])

	for _, count := range []struct {
		account auth.AccountID
		since   time.Duration
		most    int
		want    int64
		all     bool
	}{{0, 2 * time.Hour, 13, 25, true}, {0, 2 * time.Hour, 12, 25, false}, {0, 2 * time.Hour, 2, 5, false}, {100001, 2 * time.Hour, 12, 24, true}, {0, time.Minute, 5, 1, true}, {100001, 0, 5, 0, true}} {
		got, all, err := w.RefusalReasons(ctx, count.account, w.Now().Add(-count.since), count.most)
		no(t, err)
		if all != count.all || got[""] != count.want {
			t.Errorf("%+v: got %v, all %v", count, got, all)
		}
	}
}

func whereCredentialsCameFrom(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t).ID
	now := w.Now()
	saw := func(from string, ago time.Duration, count int64) auth.Sighting {
		return auth.Sighting{Account: a, Credential: "c1", From: netip.MustParsePrefix(from), At: now.Add(-ago), Count: count}
	}
	no(t, w.WriteSightings(ctx, nil))
	no(t, w.WriteSightings(ctx, []auth.Sighting{saw("192.0.2.1/32", time.Hour, 2), saw("2001:db8::/64", time.Minute, 1)}))
	no(t, w.WriteSightings(ctx, []auth.Sighting{saw("192.0.2.1/32", 2*time.Hour, 3), saw("198.51.100.7/32", 48*time.Hour, 1)}))
	sees := func(since time.Duration, want ...auth.Sighting) {
		t.Helper()
		got, err := w.Seen(ctx, a, now.Add(-since))
		no(t, err)
		if diff := gocmp.Diff(want, got, same); diff != "" {
			t.Errorf("seen since %v (-want +got):\n%s", since, diff)
		}
	}
	sees(24*time.Hour, saw("2001:db8::/64", time.Minute, 1), saw("192.0.2.1/32", time.Hour, 5))
	no(t, w.Prune(ctx, store.PruneBefore{Seen: now.Add(-24 * time.Hour)}))
	sees(72*time.Hour, saw("2001:db8::/64", time.Minute, 1), saw("192.0.2.1/32", time.Hour, 5))

	var many []auth.Sighting
	for i := range 2100 { // an account has so much room and no more
		many = append(many, saw(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()+"/32", time.Hour, 1))
	}
	no(t, w.WriteSightings(ctx, many))
	no(t, w.WriteSightings(ctx, []auth.Sighting{saw("192.0.2.1/32", 0, 1)})) // one that is there is counted on
	got, err := w.Seen(ctx, a, now.Add(-time.Hour))
	no(t, err)
	if len(got) != 2000 || got[0].Count != 6 {
		t.Errorf("%d are remembered, the latest %+v", len(got), got[0])
	}
	no(t, w.Prune(ctx, store.PruneBefore{Seen: now.Add(-time.Second)})) // all but that one
	w.wait(time.Minute)
	for from := range slices.Chunk(many, 300) { // little by little, and each twice: what is there already takes no place
		for range 2 {
			no(t, w.WriteSightings(ctx, from))
		}
	}
	got, err = w.Seen(ctx, a, now.Add(-time.Hour))
	no(t, err)
	if len(got) != 2000 || got[1].Count != 2 || got[1999].Count != 2 {
		t.Errorf("%d are remembered once there was room again, the second %+v", len(got), got[1])
	}
	var each []auth.Sighting // of an account of its own
	for i := range 120 {
		s := saw("192.0.2.1/32", 0, 1)
		s.Account = auth.AccountID(900_000 + i)
		each = append(each, s)
	}
	for range 2 {
		no(t, w.WriteSightings(ctx, each))
	}
	for _, s := range each {
		if got, err := w.Seen(ctx, s.Account, time.UnixMilli(0)); err != nil || len(got) != 1 || got[0].Count != 2 {
			t.Errorf("of account %d %v, %v", s.Account, got, err)
		}
	}
	_, err = w.DeleteAccount(ctx, a, act)
	no(t, err)
	if got, err := w.Seen(ctx, a, time.UnixMilli(0)); err != nil || len(got) > 0 {
		t.Errorf("of a deleted account %v, %v", got, err)
	}
}

func replaceAllowlist(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t).ID
	entry := func(cidr, note string) auth.AllowEntry {
		return auth.AllowEntry{Prefix: netip.MustParsePrefix(cidr), Note: note, CreatedAt: w.Now()}
	}
	first := []auth.AllowEntry{entry("192.0.2.0/24", "office"), entry("198.51.100.7/32", "")}
	add, remove := act, act
	add.Action, remove.Action = "account.allow-ip", "account.remove-ip"
	r, err := w.ReplaceAllowlist(ctx, a, first, auth.AllowlistTag(nil), auth.Terms{}, []auth.Act{add})
	revoked(t, r, err)
	w.wait(time.Minute)
	then := []auth.AllowEntry{first[0], entry("2001:db8::/32", "all")}
	then[0].Note = "head office"
	tag := auth.AllowlistTag(first)
	r, err = w.ReplaceAllowlist(ctx, a, then, tag, auth.Terms{}, []auth.Act{add, remove})
	p := revoked(t, r, err)
	if got := w.last(t); got.Number != p || got.Account != a {
		t.Errorf("the log has %+v", got)
	}
	got, err := w.Account(ctx, a)
	no(t, err)
	if diff := gocmp.Diff(then, got.Allowlist, same); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
	trail, err := w.Audit(ctx, auth.AuditQuery{Account: a, Most: 2})
	no(t, err)
	if trail[0].Act.Action != remove.Action || trail[1].Act.Action != add.Action || trail[1].About.Account != a {
		t.Errorf("the audit trail has %+v", trail)
	}
	_, err = w.ReplaceAllowlist(ctx, a, first, tag, auth.Terms{}, []auth.Act{add})
	is(t, "a list that another one was before", err, auth.ErrChanged)
	r, err = w.ReplaceAllowlist(ctx, a, then, auth.AllowlistTag(then), auth.Terms{}, nil)
	already(t, r, err)
	r, err = w.ReplaceAllowlist(ctx, a, nil, auth.AllowlistTag(then), auth.Terms{}, []auth.Act{remove})
	revoked(t, r, err)
	_, err = w.ReplaceAllowlist(ctx, 999, nil, "", auth.Terms{}, []auth.Act{remove})
	is(t, "an account that is not there", err, auth.ErrNotFound)
}

func webhooks(t *testing.T, w *World) {
	ctx := t.Context()
	claims := func(replica string, want bool) {
		t.Helper()
		if got, err := w.ClaimWebhooks(ctx, replica, time.Minute); err != nil || got != want {
			t.Errorf("%s claims: %v, %v; want %v", replica, got, err, want)
		}
	}
	claims("one", true)
	claims("two", false)
	claims("one", true)
	w.wait(time.Minute)
	claims("two", true)

	acts, behind, err := w.WebhookActs(ctx, 10)
	no(t, err)
	if len(acts) > 0 || behind != 0 {
		t.Errorf("nothing was sealed: %v behind %d", acts, behind)
	}
	message := func(endpoint, id string) auth.WebhookMessage {
		return auth.WebhookMessage{Endpoint: endpoint, ID: id, Type: "x", At: w.Now(), Body: "{}", NextAt: w.Now()}
	}
	no(t, w.QueueWebhooks(ctx, 0, 7, []auth.WebhookMessage{message("e", "1"), message("f", "1"), message("e", "2")}))
	no(t, w.QueueWebhooks(ctx, 0, 7, []auth.WebhookMessage{message("e", "twice")})) // somebody else was there before
	until := w.Now().Add(time.Hour)
	for range 2 {
		no(t, w.QueueWebhooksOnce(ctx, "once", until, []auth.WebhookMessage{message("e", "3")}))
	}
	if _, behind, err = w.WebhookActs(ctx, 10); err != nil || behind != 7 {
		t.Errorf("behind %d, %v", behind, err)
	}
	next := func(endpoint, want string, tries int) auth.WebhookMessage {
		t.Helper()
		m, err := w.NextWebhook(ctx, endpoint)
		if want == "" {
			is(t, "an empty queue", err, auth.ErrNotFound)
			return m
		}
		no(t, err)
		if m.ID != want || m.Tries != tries {
			t.Errorf("the next is %+v, want %s", m, want)
		}
		return m
	}
	first := next("e", "1", 0)
	no(t, w.WebhookFailed(ctx, first.Number, w.Now().Add(time.Minute)))
	if got := next("e", "1", 1); !got.NextAt.Equal(w.Now().Add(time.Minute)) {
		t.Errorf("the next try is at %v", got.NextAt)
	}
	no(t, w.WebhookDelivered(ctx, first.Number))
	next("e", "2", 0)
	next("f", "1", 0)
	dropped, waiting, err := w.TrimWebhooks(ctx, w.Now().Add(-time.Hour), 1, []string{"e"})
	no(t, err)
	if dropped != 1 || waiting != 1 {
		t.Errorf("%d were dropped and %d wait", dropped, waiting)
	}
	next("e", "3", 0)
	next("f", "", 0)
	w.wait(2 * time.Hour)
	dropped, waiting, err = w.TrimWebhooks(ctx, w.Now().Add(-time.Hour), 1, []string{"e"})
	no(t, err)
	if dropped != 1 || waiting != 0 {
		t.Errorf("%d were dropped for their age and %d wait", dropped, waiting)
	}
	no(t, w.QueueWebhooksOnce(ctx, "once", until, []auth.WebhookMessage{message("e", "4")})) // it was forgotten
	next("e", "4", 0)
}

func credentialsToTell(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	soon, later := w.credential(t, a.ID), w.credential(t, a.ID)
	at, much := w.Now().Add(24*time.Hour), w.Now().Add(30*24*time.Hour)
	for id, end := range map[auth.CredentialID]*time.Time{soon.ID: &at, later.ID: &much} {
		_, err := w.UpdateCredential(ctx, id, auth.CredentialUpdate{ExpiresAt: end}, act)
		no(t, err)
		_, _, err = w.RotateSecret(ctx, id, digest("new "+string(id)), "p", *end, false, act)
		no(t, err)
	}
	tell := func(what string, ask func(context.Context, string, time.Duration) ([]auth.Credential, error), want ...auth.CredentialID) {
		t.Helper()
		found, err := ask(ctx, what, 7*24*time.Hour)
		no(t, err)
		var ids []auth.CredentialID
		for _, c := range found {
			ids = append(ids, c.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: got %v, want %v", what, ids, want)
		}
	}
	// An old secret that nobody uses is told of to nobody, and stands before none that somebody does.
	tell("old", w.OldSecretsToTell)
	use := func(secret int, at time.Time) {
		t.Helper()
		no(t, w.WriteUsage(ctx, nil, []auth.SecretUse{{Credential: soon.ID, Secret: secret, Use: auth.Use{At: at, Count: 1}}}))
	}
	use(2, w.Now())
	use(1, w.Now().Add(-time.Minute)) // before there was another
	tell("old", w.OldSecretsToTell)
	use(1, w.Now())
	for what, ask := range map[string]func(context.Context, string, time.Duration) ([]auth.Credential, error){
		"ends": w.CredentialsToTell, "old": w.OldSecretsToTell,
	} {
		tell(what, ask, soon.ID)
		no(t, w.QueueWebhooksOnce(ctx, fmt.Sprintf("%s %s %d", what, soon.ID, at.UnixMilli()), at, nil))
		tell(what, ask)
	}
	w.wait(29 * 24 * time.Hour)
	tell("ends", w.CredentialsToTell, later.ID)
	_, err := w.RevokeCredential(ctx, later.ID, act)
	no(t, err)
	tell("ends", w.CredentialsToTell)
}
