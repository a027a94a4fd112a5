package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/changes"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
	"github.com/gatehouse/gatehouse/verify"
)

// A peer is what of a server knows and waits, on a database that it shares.
type peer struct {
	*store.DB
	facts    *facts.Facts
	follower *changes.Follower
	replicas *changes.Acknowledger
	stop     func()
	lost     bool // its database
}

func newPeer(t testing.TB, c store.Config, name string, staleness time.Duration) *peer {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := new(peer)
	var err error
	p.DB, err = store.Open(t.Context(), c)
	must(err)
	t.Cleanup(func() { _ = p.Close() })
	err = p.Create(t.Context(), store.Birth{Incarnation: "one", SealCheck: []byte("check"), MasterKey: "master"})
	if auth.AsError(err).Kind != auth.Conflict {
		must(err)
	}
	p.facts, err = facts.New(facts.Config{
		Store: p.DB, Cache: 100, Keep: func() time.Duration { return time.Hour }, Now: p.Now, Fresh: func() error { return p.follower.Fresh() },
	})
	must(err)
	p.follower, err = changes.New(changes.Config{
		Log: p.DB, Root: p.facts, Replica: auth.Replica{ID: name, Started: p.Now()}, MaxStaleness: staleness, Now: p.Now,
	})
	must(err)
	p.replicas, err = changes.NewAcknowledger(changes.AcknowledgeConfig{Replicas: p.DB, MaxStaleness: staleness})
	must(err)
	must(p.follower.Start(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.follower.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !p.lost {
			t.Errorf("%s stopped with %v", name, err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// dead says whether a peer refuses a token of a session.
func (p *peer) dead(s auth.Session) (bool, error) {
	standing, err := p.facts.Standing(&verify.Claims{
		Account: int64(s.Account), Credential: string(s.Credential), Session: string(s.ID), Type: verify.B2BAccess, Position: int64(s.Position),
	})
	return standing.Revoked, err
}

// onEachStore runs a story of several servers on the stores that they can share.
func onEachStore(t *testing.T, story func(t *testing.T, c store.Config, rounds int)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		// Other processes than the one that wrote notice within 200 ms, so a few rounds must do.
		path := filepath.Join(t.TempDir(), "gatehouse.db")
		storetest.Migrated(t, path)
		story(t, store.Config{Path: path}, 10)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		story(t, store.Config{URL: storetest.MigratedPostgres(t), Pool: store.Pool{StatementTimeout: time.Minute}}, rounds(t, 200)+10)
	})
}

// Three servers share a database. What was revoked by one is dead at all when that is answered, and who logs in after it lives
// at all.
func TestThreeServersHoldWhatOneRevoked(t *testing.T) {
	onEachStore(t, func(t *testing.T, c store.Config, rounds int) {
		peers := []*peer{newPeer(t, c, "a", time.Minute), newPeer(t, c, "b", time.Minute), newPeer(t, c, "c", time.Minute)}
		a, err := peers[0].CreateAccount(t.Context(), "Customer", "", auth.Act{})
		if err != nil {
			t.Fatal(err)
		}
		digest := []byte("digest")
		if err := peers[0].CreateCredential(t.Context(), auth.Credential{
			ID: "c1", Account: a.ID, Kind: auth.Login, CreatedAt: peers[0].Now(),
			Secrets: []auth.Secret{{Number: 1, Digest: digest, Pepper: "p", CreatedAt: peers[0].Now()}},
		}, auth.Act{}); err != nil {
			t.Fatal(err)
		}
		login := func(p *peer, round int) auth.Session {
			t.Helper()
			until := p.Now().Add(time.Hour)
			s, err := p.StartSession(t.Context(), auth.NewSession{
				ID: auth.SessionID(fmt.Sprint("s", round)), Credential: "c1", SecretDigest: digest, Expires: until, AccessExpires: until,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		stands := func(round int, s auth.Session, want bool) {
			t.Helper()
			for i, p := range peers {
				if dead, err := p.dead(s); err != nil || dead != want {
					t.Fatalf("round %d, server %d: dead is %v, want %v; %v", round, i, dead, want, err)
				}
			}
		}
		var took []time.Duration
		before := login(peers[0], 0)
		for round := 1; round <= rounds; round++ {
			p := peers[round%3]
			stands(round, before, false)
			began := time.Now()
			done, err := p.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{})
			if err != nil {
				t.Fatal(err)
			}
			missing, err := p.replicas.Acknowledge(t.Context(), done.Position, time.Minute, p.follower)
			if err != nil || len(missing) > 0 {
				t.Fatalf("round %d: not applied by %v, %v", round, missing, err)
			}
			took = append(took, time.Since(began))
			stands(round, before, true)
			before = login(peers[(round+1)%3], round)
		}
		slices.Sort(took)
		t.Logf("%d revocations: half within %v, 99 of 100 within %v, all within %v", rounds, took[rounds/2], took[rounds*99/100], took[rounds-1])
	})
}

// A server that reaches the database no more is waited for as long as it may decide, and decides no longer; one that stopped
// orderly is waited for by nobody.
func TestWhoIsCutOffIsWaitedForAndThenDoesNotDecide(t *testing.T) {
	onEachStore(t, func(t *testing.T, c store.Config, _ int) {
		const staleness = 4 * time.Second
		here, cut, stopped := newPeer(t, c, "here", staleness), newPeer(t, c, "cut off", staleness), newPeer(t, c, "stopped", staleness)
		a, err := here.CreateAccount(t.Context(), "Customer", "", auth.Act{})
		if err != nil {
			t.Fatal(err)
		}
		token := auth.Session{Account: a.ID, ID: "s"}
		revoke := func(wait time.Duration) []string {
			t.Helper()
			done, err := here.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{})
			if err != nil {
				t.Fatal(err)
			}
			missing, err := here.replicas.Acknowledge(t.Context(), done.Position, wait, here.follower)
			if err != nil {
				t.Fatal(err)
			}
			return missing
		}
		stopped.stop()
		missing := revoke(time.Minute)
		if missing != nil || stopped.follower.Fresh() == nil {
			t.Fatalf("missing %v; what stopped decides: %v", missing, stopped.follower.Fresh() == nil)
		}
		token.Position = here.follower.Applied()
		cut.lost = true
		if err := cut.Close(); err != nil {
			t.Fatal(err)
		}
		lastHeard := time.Now()
		if missing := revoke(time.Second); !slices.Equal(missing, []string{"cut off"}) {
			t.Fatalf("missing %v, want the one that was cut off", missing)
		}
		if dead, err := cut.dead(token); dead || err != nil && time.Since(lastHeard) < staleness {
			t.Errorf("so early it decides on what it knows: %v, %v", dead, err)
		}
		if missing := revoke(time.Minute); missing != nil || time.Since(lastHeard) < staleness {
			t.Fatalf("missing %v after %v", missing, time.Since(lastHeard))
		}
		if _, err := cut.dead(token); !errors.Is(err, auth.ErrOverloaded) {
			t.Errorf("a revocation was answered, and who was cut off decides: %v", err)
		}
		if dead, err := here.dead(token); !dead || err != nil {
			t.Errorf("here: %v, %v", dead, err)
		}
	})
}

// Two servers in full: what one of them has used up, revoked or made longer the other knows when it is answered.
func TestTwoServersAreOfOneMind(t *testing.T) {
	yaml := withKey(t, shared(storetest.MigratedPostgres(t)))
	here := newWorld(t, yaml)
	there := &world{t: t, offset: new(atomic.Int64), dir: filepath.Join(t.TempDir(), "data"), moved: func() {}, account: here.account}
	there.start(yaml + "tokens: {b2b: {access_lifetime: 100h}}\n")
	if got := here.opened.Rings.Longest(); got != 100*time.Hour {
		t.Errorf("one serves tokens of 100 hours, and the other thinks that they live %v", got)
	}

	c := here.signingClient(generate(t, jose.EdDSA))
	assertion := c.assertion(map[string]any{"aud": here.config().Issuer})
	if a := c.present("/oauth/token", "grant_type=client_credentials", assertion); a.Code != http.StatusOK {
		t.Fatalf("an assertion: %d %s", a.Code, a.Body)
	}
	c.w = there
	if a := c.present("/oauth/token", "grant_type=client_credentials", assertion); a.Code != http.StatusUnauthorized {
		t.Errorf("the same assertion at the other: %d %s", a.Code, a.Body)
	}

	_, username, password := here.issue(auth.Login)
	before, _ := there.login(username, password)
	if !here.works(before.Access) || !there.works(before.Access) {
		t.Fatal("a login of one does not work at both")
	}
	signs, _ := there.opened.Rings.Signers(there.opened.DB.Now())
	if _, err := here.Registry().RevokeSigningKey(t.Context(), operator, signs); err != nil {
		t.Fatal(err)
	}
	if here.works(before.Access) || there.works(before.Access) {
		t.Error("a token of a key that was revoked at one is good")
	}
	after, code := there.login(username, password)
	if code != http.StatusOK || !here.works(after.Access) {
		t.Errorf("the key that took over is not known at both: %d", code)
	}
	if here.logout(after.Access); there.works(after.Access) {
		t.Error("a logout at one holds not at the other")
	}
	if strings.Contains(here.log.String()+there.log.String(), "before every server had applied it") {
		t.Error("somebody was not waited for")
	}

	there.stop()
	rows, _, err := here.opened.DB.Replicas(t.Context())
	if err != nil || len(rows) != 1 || rows[0].ID != here.follower.ID() || there.works(after.Access) || there.follower.Fresh() == nil {
		t.Errorf("after one has stopped there are %v, %v, and it decides: %v", rows, err, there.follower.Fresh() == nil)
	}
}
