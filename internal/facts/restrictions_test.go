package facts

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// whole gathers what Restrictions hands out in portions.
func whole(t *testing.T, f *Facts, size int) Restrictions {
	t.Helper()
	_, _, all := f.Restrictions(size)
	var w Restrictions
	for p := range all {
		if n := len(p.Accounts) + len(p.Credentials) + len(p.Sessions); n > size {
			t.Errorf("a portion of %d, asked for at most %d", n, size)
		}
		w.Accounts = append(w.Accounts, p.Accounts...)
		w.Credentials = append(w.Credentials, p.Credentials...)
		w.Sessions = append(w.Sessions, p.Sessions...)
	}
	return w
}

func TestRestrictionsAreWhatKillsTokensAndNothingElse(t *testing.T) {
	s := newStore()
	dead := auth.Account{ID: 100002, RestrictedAt: start}
	dead.DeadBelow[2] = 4
	long := auth.Account{ID: 100003, RestrictedAt: start.Add(-25 * time.Hour)}
	long.DeadBelow[2] = 2
	s.accounts = map[auth.AccountID]auth.Account{
		100001: {ID: 100001, SuspendedAt: start}, 100002: dead, 100003: long, 100004: {ID: 100004, Ref: "C-4711"},
	}
	s.credentials["key2"] = auth.Credential{ID: "key2", RevokedAt: start, RestrictedAt: start}
	s.credentials["key3"] = auth.Credential{ID: "key3", NarrowedAt: start, RestrictedAt: start, Scope: "a gatehouse:revoke"}
	s.sessions = []auth.RevokedSession{{ID: "sid1", Until: start.Add(time.Hour)}, {ID: "sid2", Until: start.Add(-time.Second)}}
	f := newFacts(t, s)
	if incarnation, at := f.At(); incarnation != "one" || at != 5 {
		t.Errorf("the facts are of %s %d", incarnation, at)
	}
	for _, size := range []int{1, 2, 100} {
		w := whole(t, f, size)
		slices.SortFunc(w.Accounts, func(a, b RestrictedAccount) int { return int(a.ID - b.ID) })
		if len(w.Accounts) != 2 || !w.Accounts[0].Suspended || w.Accounts[1].DeadBelow[2] != 4 || !w.Accounts[1].Until.Equal(start.Add(24*time.Hour)) {
			t.Errorf("in portions of %d, accounts %+v", size, w.Accounts)
		}
		slices.SortFunc(w.Credentials, func(a, b RestrictedCredential) int { return int(a.ID[3]) - int(b.ID[3]) })
		if len(w.Credentials) != 2 || !w.Credentials[0].Revoked || !w.Credentials[1].Narrowed || w.Credentials[1].Scope != "a" {
			t.Errorf("in portions of %d, credentials %+v", size, w.Credentials)
		}
		if len(w.Sessions) != 1 || w.Sessions[0].ID != "sid1" {
			t.Errorf("in portions of %d, sessions %+v", size, w.Sessions)
		}
	}
	_, _, all := f.Restrictions(1)
	for range all {
		break // and the lock is free again:
	}
	func() {
		defer func() { _ = recover() }()
		for range all {
			panic("the caller's bug")
		}
	}()
	f.Sweep()
}

func TestRestrictionsOfChangesAreAsTheyAreNow(t *testing.T) {
	s := newStore()
	s.accounts[100001] = auth.Account{ID: 100001, SuspendedAt: start}
	f := newFacts(t, s)
	s.accounts[100001] = auth.Account{ID: 100001} // resumed
	s.credentials["key1"] = auth.Credential{ID: "key1", DeadBelow: 7, RestrictedAt: start}
	changes := []auth.Change{
		{Number: 6, Of: auth.ChangedAccount, Account: 100001},
		{Number: 7, Of: auth.ChangedCredential, Credential: "key1"},
		{Number: 8, Of: auth.ChangedAccount, Account: 100001},
		{Number: 9, Of: auth.ChangedSession, Session: "sid1", Until: start.Add(time.Hour)},
		{Number: 10, Of: auth.ChangedKeys},
		{Number: 11, Of: auth.ChangedCredential, Credential: "no such"},
	}
	if err := f.Apply(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	incarnation, of := f.RestrictionsOf(changes)
	if incarnation != "one" || len(of.Accounts) != 1 || of.Accounts[0] != (RestrictedAccount{ID: 100001}) {
		t.Errorf("the account that was resumed: %s %+v", incarnation, of.Accounts)
	}
	if len(of.Credentials) != 2 || of.Credentials[0].DeadBelow != 7 || of.Credentials[1] != (RestrictedCredential{ID: "no such"}) {
		t.Errorf("credentials: %+v", of.Credentials)
	}
	if len(of.Sessions) != 1 || of.Sessions[0].ID != "sid1" {
		t.Errorf("sessions: %+v", of.Sessions)
	}
	if _, at := f.At(); at != 11 {
		t.Errorf("the facts are of %d, want 11", at)
	}
}

// What stood there when it began and stands there at the end is handed out, whatever comes and goes between.
func TestRestrictionsWhileFactsChange(t *testing.T) {
	s := newStore()
	for i := range 5000 {
		s.sessions = append(s.sessions, auth.RevokedSession{ID: auth.SessionID(strconv.Itoa(i)), Until: start.Add(time.Hour)})
	}
	f := newFacts(t, s)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 6; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := f.Apply(t.Context(), []auth.Change{{
				Number: auth.Position(i), Of: auth.ChangedSession, Session: auth.SessionID(fmt.Sprint("new", i)), Until: start.Add(-time.Minute),
			}})
			if err != nil {
				t.Error(err)
			}
			if i%100 == 0 {
				f.Sweep()
			}
		}
	})
	for range 20 {
		if w := whole(t, f, 64); len(w.Sessions) != 5000 {
			t.Errorf("%d sessions, want 5000", len(w.Sessions))
		}
	}
	close(stop)
	writer.Wait()
}

func BenchmarkRestrictions(b *testing.B) {
	s := newStore()
	for i := range 100_000 {
		s.sessions = append(s.sessions, auth.RevokedSession{ID: auth.SessionID(fmt.Sprintf("session%016d", i)), Until: start.Add(time.Hour)})
	}
	f := newFacts(b, s)
	b.ReportAllocs()
	for b.Loop() {
		_, _, all := f.Restrictions(1024)
		for range all {
		}
	}
}
