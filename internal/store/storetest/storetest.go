// Package storetest is what the store promises, told as stories: whatever keeps our rows must pass [Run]. How the rows are
// kept, and what happens to a commit when the disk fails, is the affair of that store's own tests.
//
// The invariant: every guard of a method has a race here, 16 against one another, that exactly one wins.
package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// Open returns an empty, migrated database that tells the time by now and is closed when the test ends.
type Open func(t *testing.T, now func() time.Time) *store.DB

// Run tells every story, each with a database of its own.
func Run(t *testing.T, open Open) {
	for _, story := range []struct {
		name string
		tell func(*testing.T, *World)
	}{
		{"born once", bornOnce},
		{"seal anew", sealAnew},
		{"accounts", accounts},
		{"find accounts", findAccounts},
		{"pages of credentials", pagesOfCredentials},
		{"pages of sessions", pagesOfSessions},
		{"pages of refusals", pagesOfRefusals},
		{"where credentials came from", whereCredentialsCameFrom},
		{"replace an allowlist", replaceAllowlist},
		{"webhooks", webhooks},
		{"credentials to tell of", credentialsToTell},
		{"account numbers are never used again", accountNumbers},
		{"suspend and resume", suspendAndResume},
		{"delete an account", deleteAccount},
		{"allowlist", allowlist},
		{"credentials", credentials},
		{"credentials that expire", expiring},
		{"holder", holder},
		{"rotate a secret", rotateSecret},
		{"undo a rotation", undoRotation},
		{"a client with keys", clientKeys},
		{"narrow a credential", narrowCredential},
		{"a login", login},
		{"a login that comes too late", lateLogin},
		{"refresh", refresh},
		{"what ends a refresh", refreshEnds},
		{"look at a session", peek},
		{"refresh once more under the same key", replay},
		{"a refresh from a bad address", badAddress},
		{"a reuse is told and remembered", reuse},
		{"the next pair has less", nextPairHasLess},
		{"refreshes as a model has them", refreshModel},
		{"revoke a session", revokeSession},
		{"logout", logout},
		{"list sessions", listSessions},
		{"the change log", changeLog},
		{"exceptions", exceptions},
		{"keys", keys},
		{"lifetimes", lifetimes},
		{"replicas", replicas},
		{"what counts once", usedOnce},
		{"what is asked again under a key", repeats},
		{"what changers believe", terms},
		{"usage", usage},
		{"refusals", refusals},
		{"prune", prune},
		{"the audit trail", auditTrail},
		{"people", people},
		{"invitations", invitations},
		{"the first operator", firstOperator},
		{"sessions of dashboards", dashboardSessions},
		{"second factors", secondFactors},
		{"passkeys", passkeys},
		{"OpenIDs", openIDs},
		{"the last owner", lastOwner},
		{"operator tokens", operatorTokens},
		{"prune people", prunePeople},
		{"the audit trail's chain", auditChain},
		{"a long audit trail", auditPages},
		{"an old audit trail", auditCut},
		{"the audit trail by pages", auditQueries},
		{"keys of the audit trail", auditKeys},
		{"race: create", raceCreate},
		{"race: references", raceReferences},
		{"race: one generation", raceGeneration},
		{"race: one generation, one key", raceReplay},
		{"race: refresh and logout", raceRefreshLogout},
		{"race: login and logout", raceLoginLogout},
		{"race: rotate a secret", raceRotateSecret},
		{"race: end a rotation", raceEndRotation},
		{"race: revoke", raceRevoke},
		{"race: the last of an allowlist", raceLastEntry},
		{"race: rotate a ring", raceKeys},
		{"race: use once", raceUseOnce},
		{"race: join", raceJoin},
		{"race: the last owner", raceLastOwner},
		{"race: prove", raceProof},
		{"race: the last way to sign in", raceWays},
		{"race: one key", raceRepeat},
		{"race: one belief", raceTerms},
		{"race: seal", raceSeal},
		{"race: answers of their own", raceAnswers},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			w := &World{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
			w.DB = open(t, w.Now)
			if story.name != "born once" && story.name != "race: create" {
				w.create(t)
			}
			story.tell(t, w)
		})
	}
}

// A World is a database and the time in it.
type World struct {
	*store.DB
	mu  sync.Mutex
	now time.Time
	ids int
}

// Now is the time in this world; it moves by [World.wait] alone.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *World) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// id returns a new name.
func (w *World) id(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("%s%d", kind, w.ids)
}

var birth = store.Birth{Incarnation: "incarnation", SealCheck: []byte("check"), MasterKey: "master 1"}

func (w *World) create(t *testing.T) {
	t.Helper()
	no(t, w.Create(t.Context(), birth))
}

var act = auth.Act{
	Actor: "command line (user root)", Action: "test", RequestID: "reqid_1", Address: netip.MustParseAddr("192.0.2.1"), Detail: "by hand",
}

func (w *World) account(t *testing.T) auth.Account {
	t.Helper()
	a, err := w.CreateAccount(t.Context(), "Acme", "", act)
	no(t, err)
	return a
}

func digest(secret string) []byte { return []byte("digest of " + secret) }

// credential makes a login of the account with the secret "first".
func (w *World) credential(t *testing.T, account auth.AccountID, change ...func(*auth.Credential)) auth.Credential {
	t.Helper()
	c := auth.Credential{
		ID: auth.CredentialID(w.id("credential")), Account: account, Kind: auth.Login, Name: "Warehouse", Scope: "orders:read orders:write",
		CreatedAt: w.Now(), Secrets: []auth.Secret{{Number: 1, Digest: digest("first"), Pepper: "pepper 1", CreatedAt: w.Now()}},
	}
	for _, f := range change {
		f(&c)
	}
	no(t, w.CreateCredential(t.Context(), c, act))
	return c
}

const (
	accessLife  = time.Hour
	refreshLife = 7 * 24 * time.Hour
	leeway      = 10 * time.Second
)

func (w *World) newSession(credential auth.CredentialID) auth.NewSession {
	now := w.Now()
	return auth.NewSession{
		ID: auth.SessionID(w.id("session")), Credential: credential, SecretDigest: digest("first"), Expires: now.Add(refreshLife),
		AccessExpires: now.Add(accessLife), AccessKey: "signing 1", RefreshKey: "refresh 1",
		Address: netip.MustParseAddr("2001:db8::7"), UserAgent: "warehouse/2.1",
	}
}

// login starts a session.
func (w *World) login(t *testing.T, credential auth.CredentialID) auth.Session {
	t.Helper()
	s, err := w.StartSession(t.Context(), w.newSession(credential))
	no(t, err)
	return s
}

// spend is what a refresh with a generation asks, under the idempotency key, if there is one.
func (w *World) spend(generation int64, key string) auth.Spend {
	now := w.Now()
	s := auth.Spend{
		Generation: generation, Until: now.Add(refreshLife), AccessUntil: now.Add(accessLife), Leeway: leeway, OnReuse: auth.RevokeSession,
		AccessKey: "signing 2", RefreshKey: "refresh 2", RevokedUntil: now.Add(24 * time.Hour), Act: act,
	}
	if key != "" {
		s.IdempotencyDigest = digest(key)
	}
	return s
}

// refresh presents a generation and says how that ended.
func (w *World) refresh(t *testing.T, id auth.SessionID, generation int64, key string) (auth.Session, error) {
	t.Helper()
	s, _, err := w.RotateSession(t.Context(), id, w.spend(generation, key))
	return s, err
}

// head is where the change log stands.
func (w *World) head(t *testing.T) auth.Position {
	t.Helper()
	_, head, _, err := w.Changes(t.Context(), 0)
	no(t, err)
	return head
}

// last is the youngest entry of the change log.
func (w *World) last(t *testing.T) auth.Change {
	t.Helper()
	_, _, changes, err := w.Changes(t.Context(), 0)
	no(t, err)
	if len(changes) == 0 {
		t.Fatal("the change log is empty")
	}
	return changes[len(changes)-1]
}

func (w *World) trail(t *testing.T) []auth.AuditEntry {
	t.Helper()
	entries, err := w.Audit(t.Context(), auth.AuditQuery{Most: 10_000})
	no(t, err)
	return entries
}

// no fails the test at an error.
func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got %v, want no error", err)
	}
}

func is(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// because fails the test unless err is of a sentinel and has this reason for the operator.
func because(t *testing.T, what string, got error, want *auth.Error, reason auth.Reason) {
	t.Helper()
	is(t, what, got, want)
	if r := auth.AsError(got).Reason; r != reason {
		t.Errorf("%s: got reason %q, want %q", what, r, reason)
	}
}

// revoked returns the position of a revocation that must have done something.
func revoked(t *testing.T, r auth.Revoked, err error) auth.Position {
	t.Helper()
	no(t, err)
	if r.Already || r.Position == 0 {
		t.Fatalf("got %+v, want a new entry", r)
	}
	return r.Position
}

// already fails the test unless a revocation found nothing to do.
func already(t *testing.T, r auth.Revoked, err error) {
	t.Helper()
	no(t, err)
	if !r.Already {
		t.Fatalf("got %+v, want that there was nothing to do", r)
	}
}

// racers run at once; it returns their errors.
func race(n int, run func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = run(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// oneWins fails the test unless exactly one of the racers had no error and each of the others lost.
func oneWins(t *testing.T, errs []error, lost *auth.Error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, lost):
			t.Errorf("a loser got %v, want %v", err, lost)
		}
	}
	if won != 1 {
		t.Errorf("got %d winners, want 1", won)
	}
}
