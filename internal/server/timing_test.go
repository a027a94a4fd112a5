package server

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// The bounds of the campaign: Welch's t of any two manners, and how far their medians lie apart.
const (
	mostT   = 4.5
	mostGap = 0.02
)

// A manner is one way to fail. It makes a request of some that fail in this way; slower is what it does
// beside, if it is slower on purpose.
type manner struct {
	name   string
	make   []func() *http.Request
	slower func()
}

// Whatever is wrong with a credential, or with who signs in, it takes the same time to say so: unknown or known, wrong, old, dead.
//
// GATEHOUSE_SAMPLES is how many samples are taken of each manner; then the figures must keep the bounds. By default there are few, and
// all that is asked is that no answer comes before its time, and that a manner is found that is slower by far: on a busy machine
// nobody can promise more.
func TestNoCallerCanTellByTimeWhatIsWrong(t *testing.T) {
	samples, campaign := 60, os.Getenv("GATEHOUSE_SAMPLES") != ""
	if campaign {
		n, err := strconv.Atoi(os.Getenv("GATEHOUSE_SAMPLES"))
		if err != nil || n < 1000 {
			t.Fatalf("GATEHOUSE_SAMPLES=%s: want a number, of 1000 at least", os.Getenv("GATEHOUSE_SAMPLES"))
		}
		samples = n
	}
	w := &world{t: t, hashing: people.Cost{Memory: 64, Time: 1, Threads: 1}} // what a hash costs hides what else differs
	w.begin(unlimited)
	for _, kind := range auth.Kinds {
		t.Run(string(kind), func(t *testing.T) { w.judge(t, w.failing(kind), samples, 16, campaign) })
	}
	t.Run("person", func(t *testing.T) { w.judge(t, w.failingPersons(), samples, 4, campaign) }) // they work: more would wait for each other
}

// each is how many credentials or persons there are of a manner: no one's place in memory or in a table may decide.
const each = 8

// failing makes the manners of credentials of a kind.
func (w *world) failing(kind auth.Kind) []manner {
	w.t.Helper()
	present := map[auth.Kind]func(identifier, secret string) *http.Request{
		auth.APIKey: func(key, _ string) *http.Request {
			return plain("GET", "/api/authentication", "", "X-LIQUID-API-KEY", key)
		},
		auth.Basic: func(user, password string) *http.Request {
			r := plain("GET", "/order-authentication", "")
			r.SetBasicAuth(user, password)
			return r
		},
		auth.Login: func(user, password string) *http.Request {
			return plain("POST", "/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password), "Content-Type", "application/json")
		},
		auth.OAuth: func(id, secret string) *http.Request {
			r := plain("POST", "/oauth/token", "grant_type=client_credentials", "Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(id, secret)
			return r
		},
	}[kind]
	// as presents a credential with another secret than its own.
	as := func(id auth.CredentialID, other string) func() *http.Request {
		if kind == auth.APIKey {
			return func() *http.Request { return present(auth.FormatKey("gk", auth.Live, id, other), "") }
		}
		return func() *http.Request { return present(auth.FormatUser(auth.Live, id), other) }
	}
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	ctx, g := w.t.Context(), w.Registry()
	rotate := func(c auth.Credential, oldEnds time.Time) {
		_, err := g.RotateCredential(ctx, operator, c.ID, oldEnds, false)
		must(err)
	}
	var manners []manner
	for _, s := range []struct {
		name string
		own  bool // it comes with its own secret, which let it in until do
		used bool // it is in memory
		do   func(c auth.Credential)
	}{
		{"wrong secret", false, false, func(auth.Credential) {}},
		{"wrong secret, in use", false, true, func(auth.Credential) {}},
		{"wrong secret, rotating", false, false, func(c auth.Credential) { rotate(c, w.opened.DB.Now().Add(time.Hour)) }},
		{"former secret", true, true, func(c auth.Credential) { rotate(c, w.opened.DB.Now()) }},
		{"revoked", true, true, func(c auth.Credential) { _, err := g.RevokeCredential(ctx, operator, c.ID); must(err) }},
		{"expired", true, true, func(c auth.Credential) {
			now := w.opened.DB.Now()
			_, err := g.UpdateCredential(ctx, operator, c.ID, auth.CredentialUpdate{ExpiresAt: &now})
			must(err)
		}},
		{"suspended", true, true, func(c auth.Credential) { _, err := g.SuspendAccount(ctx, operator, c.Account, true); must(err) }},
		{"deleted", true, true, func(c auth.Credential) { _, err := g.DeleteAccount(ctx, operator, c.Account); must(err) }},
	} {
		made := manner{name: s.name}
		for range each {
			a, err := g.CreateAccount(ctx, operator, s.name, "")
			must(err)
			issued, err := g.CreateCredential(ctx, operator, registry.NewCredential{Account: a.ID, Kind: kind})
			must(err)
			identifier, own := issued.Reveal()
			if s.used {
				if got := w.serve(present(identifier, own)); got.Code >= 300 {
					w.t.Fatalf("%s, before: %d %s", s.name, got.Code, got.Body)
				}
			}
			s.do(issued.Credential)
			if s.own {
				made.make = append(made.make, func() *http.Request { return present(identifier, own) })
			} else {
				made.make = append(made.make, as(issued.Credential.ID, secret.NewSecret()))
			}
		}
		manners = append(manners, made)
	}
	unknown := manner{name: "unknown"}
	for range each {
		unknown.make = append(unknown.make, as(secret.NewCredentialID(), secret.NewSecret()))
	}
	return append(manners, unknown)
}

// failingPersons makes the manners of members who sign in.
func (w *world) failingPersons() []manner {
	w.t.Helper()
	const password = "correct horse battery"
	ctx, db := w.t.Context(), w.opened.DB
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	signIn := func(email, password string) func() *http.Request {
		form := url.Values{"email": {email}, "password": {password}}.Encode()
		return func() *http.Request {
			return plain("POST", "/dashboard/sign-in", form, "Content-Type", "application/x-www-form-urlencoded")
		}
	}
	var manners []manner
	n := 0
	for _, s := range []struct {
		name     string
		joins    bool
		password string
		do       func(p auth.Person)
	}{
		{"wrong password", true, "a wrong password", func(auth.Person) {}},
		{"no password", false, password, func(auth.Person) {}},
		{"suspended", true, password, func(p auth.Person) {
			_, err := w.Registry().SuspendAccount(ctx, operator, p.Account, true)
			must(err)
		}},
		{"removed", true, password, func(p auth.Person) { must(db.RemovePerson(ctx, p.Account, p.ID, true, auth.Act{})) }},
	} {
		made := manner{name: s.name}
		for range each {
			a, err := w.Registry().CreateAccount(ctx, operator, s.name, "")
			must(err)
			n++
			p := auth.Person{ID: secret.NewPersonID(), Account: a.ID, Email: fmt.Sprintf("person.%03d@example.com", n), Name: "Jane", Role: auth.RoleOwner}
			code := auth.FormatCode(secret.NewSecret())
			must(db.InvitePerson(ctx, p, auth.Invitation{
				Person: p.ID, Digest: w.opened.Rings.LookupDigest(auth.LookupLink, code), ExpiresAt: db.Now().Add(time.Hour),
			}, auth.Act{}))
			if s.joins {
				_, err := w.people.Join(ctx, code, people.Joining{Password: password}, auth.Caller{})
				must(err)
			}
			s.do(p)
			made.make = append(made.make, signIn(p.Email, s.password))
		}
		manners = append(manners, made)
	}
	unknown := manner{name: "unknown"}
	for range each {
		n++
		unknown.make = append(unknown.make, signIn(fmt.Sprintf("person.%03d@example.com", n), password))
	}
	return append(manners, unknown)
}

func plain(method, target, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, io.NopCloser(strings.NewReader(body)))
	r.ContentLength = int64(len(body))
	if body == "" {
		r = httptest.NewRequest(method, target, nil)
	}
	r.RemoteAddr = from
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// leaks is how much slower the manner is that is slower on purpose, in a campaign.
const leaks = 200 * time.Microsecond

// judge measures the manners against each other. Beside them it measures the last one made slower on purpose, which must be found:
// where that is not seen, nothing is.
func (w *world) judge(t *testing.T, manners []manner, samples, askers int, campaign bool) {
	t.Helper()
	last := len(manners) - 1
	leak := manner{name: "slower on purpose", make: manners[last].make, slower: func() { spin(leaks) }}
	if !campaign {
		leak.slower = func() { // by far
			for range 2 {
				w.public.Handler.ServeHTTP(&sink{h: http.Header{}}, leak.make[rand.IntN(each)]())
			}
		}
	}
	took := w.measure(t, append(manners, leak), samples, askers)
	for i, m := range manners {
		if least := time.Duration(slices.Min(took[i])); least < secret.Grain {
			t.Errorf("%s: answered after %v, which shows how long it took to find out", m.name, least)
		}
	}
	took = cut(took)
	figures := func(i int, name string) {
		mean, variance := moments(took[i])
		t.Logf("%-24s median %9.2f µs, mean %9.2f ± %.2f µs", name, median(took[i])/1e3, mean/1e3, math.Sqrt(variance/float64(len(took[i])))/1e3)
	}
	type pair struct {
		t, gap  float64
		exceeds bool
	}
	compare := func(i, j int) pair {
		p := pair{t: math.Abs(welch(took[i], took[j])), gap: math.Abs(median(took[i])/median(took[j]) - 1)}
		p.exceeds = p.t >= mostT || p.gap > mostGap
		return p
	}
	worst, widest := 0.0, 0.0
	for i, m := range manners {
		figures(i, m.name)
		for j := range i {
			p := compare(i, j)
			worst, widest = max(worst, p.t), max(widest, p.gap)
			if campaign && p.exceeds {
				t.Errorf("told apart by time: %s and %s, t = %.2f, medians %.2f %% apart", m.name, manners[j].name, p.t, 100*p.gap)
			}
		}
	}
	figures(last+1, leak.name)
	p := compare(last+1, last)
	t.Logf("%d samples of each: t at most %.2f, medians at most %.2f %% apart; slower on purpose: t = %.2f, %.2f %%", samples, worst, 100*widest, p.t, 100*p.gap)
	if !p.exceeds {
		t.Errorf("what is slower on purpose was not found: t = %.2f, medians %.2f %% apart", p.t, 100*p.gap)
	}
}

// measure takes samples of each manner, in nanoseconds, in an order of chance: what comes over the machine comes over all. So many ask
// at the same time: they wait most of it.
func (w *world) measure(t *testing.T, manners []manner, samples, askers int) [][]float64 {
	t.Helper()
	order := make([]int, 0, len(manners)*samples)
	for i := range manners {
		order = append(order, slices.Repeat([]int{i}, samples)...)
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	all := make([]float64, len(order))
	var next, status atomic.Int64
	var asking sync.WaitGroup
	for range askers {
		asking.Go(func() {
			s := &sink{h: http.Header{}}
			for n := next.Add(1) - 1; n < int64(len(order)) && !t.Failed(); n = next.Add(1) - 1 {
				if n%8 == 0 {
					w.move(time.Hour) // or the limits of attempts to sign in are used up
					w.log.Forget()
				}
				m := manners[order[n]]
				r := m.make[rand.IntN(len(m.make))]()
				clear(s.h)
				began := time.Now()
				w.public.Handler.ServeHTTP(s, r)
				if m.slower != nil {
					m.slower()
				}
				all[n] = float64(time.Since(began))
				status.CompareAndSwap(0, int64(s.code))
				if first := int(status.Load()); s.code != first || s.code < 400 || s.code == http.StatusTooManyRequests {
					t.Errorf("%s: answered %d, the first %d", m.name, s.code, first)
				}
			}
		})
	}
	asking.Wait()
	if t.Failed() {
		t.FailNow()
	}
	took := make([][]float64, len(manners))
	for n, i := range order {
		took[i] = append(took[i], all[n])
	}
	return took
}

// spin is busy for so long.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// cut takes away, of all manners, what took longer than 95 % of all samples together: there the machine did something else.
func cut(took [][]float64) [][]float64 {
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	longest := all[len(all)*95/100]
	kept := make([][]float64, len(took))
	for i, samples := range took {
		kept[i] = slices.DeleteFunc(slices.Clone(samples), func(d float64) bool { return d > longest })
	}
	return kept
}

// welch is Welch's t of two samples: how far their means lie apart, in standard errors of that.
func welch(a, b []float64) float64 {
	meanA, varA := moments(a)
	meanB, varB := moments(b)
	return (meanA - meanB) / math.Sqrt(varA/float64(len(a))+varB/float64(len(b)))
}

func moments(samples []float64) (mean, variance float64) {
	for _, x := range samples {
		mean += x
	}
	mean /= float64(len(samples))
	for _, x := range samples {
		variance += (x - mean) * (x - mean)
	}
	return mean, variance / float64(len(samples)-1)
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[len(sorted)/2]
}
