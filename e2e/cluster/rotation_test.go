package cluster

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// A rotating cluster is two replicas, and what came of its keys so far.
type rotating struct {
	*cluster
	random *rand.Rand
	key    string // API key
	pair   pair   // of a session that lives
	keys   map[string]api.SigningKey
	tokens []string      // of every key that has signed
	takes  time.Duration // what a command takes that nobody kills
	counts map[string]int
}

// Whoever makes the next key, by a command or by the schedule, or revokes one, may be killed at any moment, and the server that it
// asked with it. After each kill both replicas know the same keys, of which one signs; no key that was there is lost, none was made
// twice, what was acknowledged is there, tokens from before are good unless their key was revoked, and no token was signed by a key
// that was not in the key set.
func TestKillsDuringARotation(t *testing.T) {
	rounds, seed := size(9, 200), uint64(time.Now().UnixNano()&0xffffff)
	t.Logf("%d rounds, seed %d", rounds, seed)
	r := &rotating{
		cluster: open(t, setting{
			Fewer: 1, Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})},
			YAML: "signing_keys: {rotate_every: 1h, publish_ahead: 1m}\nrevocation: {max_staleness: 3s, wait: 200ms}\n" +
				"tokens: {access_token: {lifetime: 30d}, b2b: {refresh_lifetime: 300d}}\n", // or old keys would go
		}),
		random: rand.New(rand.NewPCG(seed, 0)), counts: make(map[string]int),
	}
	r.key = r.newCredential(r.newAccount("Keys"), "api-key").Key
	r.pair = r.mustLogin(r.replicas[0].url, r.newUser("User"))
	r.signsAs(r.known(0, 0, 0))
	began := time.Now()
	r.run(nil, "signing-key", "rotate", "--json")
	r.takes = time.Since(began)
	r.signsAs(r.known(1, 1, 0))
	for i := range rounds {
		[]func(){r.rotate, r.revoke, r.scheduled}[i%3]()
		if t.Failed() {
			t.Fatalf("after round %d of seed %d", i+1, seed)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		t.Logf("%5d %s", r.counts[what], what)
	}
}

// while runs a command beside replica A, kills the command, the replica or both at a moment of chance, and lets others call replica
// B with tokens meanwhile. It starts the replica again, and says whether the command was heard to succeed.
func (r *rotating) while(tokens []string, args ...string) (acknowledged bool) {
	r.t.Helper()
	a, b := r.replicas[0], r.replicas[1]
	var w crowd
	w.join(func() error {
		for _, token := range tokens {
			if answer := r.call(b.url, token); answer.Status != 200 {
				return fmt.Errorf("a token from before, at the replica that lives: %s", answer)
			}
		}
		return nil
	})
	cmd := a.command(args...)
	must(r.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	time.Sleep(r.takes/4 + time.Duration(r.random.Int64N(int64(r.takes)))) // when is the point of it
	which := r.random.IntN(3)
	if which != 0 {
		a.Kill()
	}
	if which != 1 {
		_ = cmd.Process.Kill()
	}
	acknowledged = <-ended == nil
	if which != 0 {
		must(r.t, begin(a))
	}
	must(r.t, w.end())
	return acknowledged
}

// begin starts a replica, as who watches over it does: one that did not reach the database in time ends, and is started again.
func begin(replica *replica) error {
	for n := 1; ; n++ {
		err := replica.start()
		if err == nil || n == 5 {
			return err
		}
		replica.Kill()
	}
}

// count counts what became of a command.
func (r *rotating) count(what string, done, acknowledged bool) {
	switch {
	case acknowledged:
		what += ": done, and said so"
	case done:
		what += ": done, and nobody was told"
	default:
		what += ": never done"
	}
	r.counts[what]++
}

// rotate makes the next key by a command.
func (r *rotating) rotate() {
	least := 0
	if r.while(r.tokens, "signing-key", "rotate") {
		least = 1
	}
	keys := r.known(least, 1, 0)
	r.count("rotate", len(keys) > len(r.keys), least == 1)
	r.signsAs(keys)
}

// revoke revokes the key that signs, or another.
func (r *rotating) revoke() {
	r.t.Helper()
	var good []string
	for id, k := range r.keys {
		if k.Ring == "signing" && k.State != "revoked" {
			good = append(good, id)
		}
	}
	slices.Sort(good)
	id := r.signing(r.keys)
	if r.random.IntN(2) == 0 {
		id = good[r.random.IntN(len(good))]
	}
	others := slices.DeleteFunc(slices.Clone(r.tokens), func(token string) bool { return kid(token) == id })
	acknowledged := r.while(others, "signing-key", "revoke", id)
	keys := r.known(0, 1, 0)
	revoked := keys[id].State == "revoked"
	r.count("revoke", revoked, acknowledged)
	if acknowledged && !revoked {
		r.t.Errorf("key %s was revoked, and is %+v", id, keys[id])
	}
	if revoked {
		for _, token := range r.tokens {
			for _, replica := range r.replicas {
				if answer := r.call(replica.url, token); kid(token) == id && answer.Status != 401 {
					r.t.Errorf("%s: a token of a revoked key: %s", replica.name, answer)
				}
			}
		}
		r.tokens = others
	}
	r.signsAs(keys)
}

// scheduled lets an hour pass while nobody serves, and both replicas begin at once, of which one is killed as it begins.
func (r *rotating) scheduled() {
	r.t.Helper()
	a, b := r.replicas[0], r.replicas[1]
	a.Kill()
	b.Kill()
	var moved string
	const hour = 61 * 60 * 1000
	must(r.t, r.postgres[0].Query(&moved, r.database, fmt.Sprintf(`WITH moved AS (UPDATE keys SET created_at = created_at - %d, active_at = active_at - %[1]d
		WHERE ring IN ('signing', 'refresh') RETURNING 1) SELECT count(*) FROM moved`, hour)))
	begun, err := program.Serve(a.command("serve"), a.admin)
	must(r.t, err)
	a.Server = begun
	other := make(chan error, 1)
	go func() { other <- begin(b) }()
	time.Sleep(time.Duration(r.random.IntN(250)) * time.Millisecond) // when is the point of it
	a.Kill()
	must(r.t, begin(a), <-other)
	r.counts["schedule: an hour on, and killed at the start"]++
	r.signsAs(r.known(1, 1, 1))
}

// known returns the keys that both replicas know, once they know the same: all of before, and of each ring so many more.
func (r *rotating) known(least, most, refresh int) map[string]api.SigningKey {
	r.t.Helper()
	var found map[string]api.SigningKey
	eventually(r.t, soon(2*time.Second), "both replicas know the same keys", func() error {
		var errs []error
		found, errs = nil, nil
		for _, replica := range r.replicas {
			keys, err := keysOf(replica)
			if err == nil {
				err = r.published(replica, keys)
			}
			if found == nil {
				found = keys
			}
			if err == nil && !maps.EqualFunc(found, keys, func(a, b api.SigningKey) bool { return a.State == b.State && a.ActiveAt.Equal(b.ActiveAt) }) {
				err = fmt.Errorf("%s knows %v, the other %v", replica.name, keys, found)
			}
			errs = append(errs, err)
		}
		if r.keys == nil {
			return errors.Join(errs...)
		}
		fresh := make(map[string]int)
		for id, k := range found {
			if _, ok := r.keys[id]; !ok {
				fresh[k.Ring]++
			}
		}
		for id := range r.keys {
			if _, ok := found[id]; !ok {
				errs = append(errs, fmt.Errorf("key %s is lost", id))
			}
		}
		if n := fresh["signing"]; n < least || n > most || fresh["refresh"] != refresh {
			errs = append(errs, fmt.Errorf("%v keys were made, want %d to %d of signing and %d of refresh", fresh, least, most, refresh))
		}
		return errors.Join(errs...)
	})
	r.signing(found)
	return found
}

// keysOf asks a running replica.
func keysOf(replica *replica) (map[string]api.SigningKey, error) {
	var list []api.SigningKey
	if err := program.Run(replica.command("signing-key", "list", "--json"), &list); err != nil {
		return nil, err
	}
	keys := make(map[string]api.SigningKey)
	for _, k := range list {
		keys[k.ID] = k
	}
	if len(keys) != len(list) {
		return nil, fmt.Errorf("%s lists a key twice: %v", replica.name, list)
	}
	return keys, nil
}

// published says whether the key set of a replica has the keys that sign, will sign or have signed, and no other.
func (r *rotating) published(replica *replica, keys map[string]api.SigningKey) error {
	set, err := r.keySet(replica)
	if err != nil {
		return err
	}
	var want []string
	for id, k := range keys {
		if k.Ring == "signing" && k.State != "revoked" {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	if !slices.Equal(set, want) {
		return fmt.Errorf("%s publishes %v, want %v", replica.name, set, want)
	}
	return nil
}

// keySet is what a replica publishes: the names of the keys, sorted.
func (r *rotating) keySet(replica *replica) ([]string, error) {
	a := ask(r.client, "GET", replica.url+"/.well-known/jwks.json", "")
	var set struct {
		Keys []struct {
			KeyID string `json:"kid"`
		}
	}
	if err := json.Unmarshal(a.Body, &set); err != nil || a.Status != 200 {
		return nil, fmt.Errorf("%s: the key set: %s", replica.name, a)
	}
	var names []string
	for _, k := range set.Keys {
		names = append(names, k.KeyID)
	}
	slices.Sort(names)
	return names, nil
}

// signing is the one key that signs access tokens; of refresh tokens there is one, too.
func (r *rotating) signing(keys map[string]api.SigningKey) string {
	r.t.Helper()
	signs := make(map[string][]string)
	for id, k := range keys {
		if k.State == "signing" {
			signs[k.Ring] = append(signs[k.Ring], id)
		}
	}
	if len(signs["signing"]) != 1 || len(signs["refresh"]) != 1 {
		r.t.Fatalf("%v sign, want one of each ring", signs)
	}
	return signs["signing"][0]
}

// signsAs takes keys for those that there are by now, and has each replica refresh, and mint a token, which is signed by the key
// that both say signs and publish; and all tokens are good at both.
func (r *rotating) signsAs(keys map[string]api.SigningKey) {
	r.t.Helper()
	r.keys = keys
	want := r.signing(keys)
	for _, replica := range r.replicas {
		set, err := r.keySet(replica)
		must(r.t, err)
		token := r.mustExchange(replica.url, r.key)
		if got := kid(token); got != want || !slices.Contains(set, got) {
			r.t.Errorf("%s signs with %s, which is to be %s, of the published %v", replica.name, got, want, set)
		}
		r.tokens = append(r.tokens, token)
		if r.pair, err = r.refresh(replica.url, r.pair.Refresh, "").pair(); err != nil {
			r.t.Fatalf("%s: a refresh token from before: %v", replica.name, err)
		}
	}
	r.tokens = r.tokens[max(0, len(r.tokens)-40):]
	for _, replica := range r.replicas {
		for _, token := range r.tokens {
			if a := r.call(replica.url, token); a.Status != 200 {
				r.t.Errorf("%s: a token of key %s: %s", replica.name, kid(token), a)
			}
			r.counts["tokens from before that were good"]++
		}
	}
}

// kid names the key that signed a token, "" if that is none.
func kid(token string) string {
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var h struct {
		KeyID string `json:"kid"`
	}
	if err != nil || json.Unmarshal(text, &h) != nil {
		return ""
	}
	return h.KeyID
}
