package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var (
	ten    = time.Date(2026, 11, 22, 10, 59, 58, 0, time.UTC)
	office = netip.MustParseAddr("203.0.113.7")
	home   = netip.MustParseAddr("2001:db8::7")
)

// The rows of a crowd lie all over the store. What is written at one time lies in one part of it, in its order.
func TestWhatIsWrittenTogetherLiesTogether(t *testing.T) {
	l := &listing{ledger: newLedger()}
	u := newCounter(t, l)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		id := make([]byte, auth.IDLength)
		for i := range id {
			id[i] = auth.Alphabet[random.IntN(len(auth.Alphabet))]
		}
		o := did(auth.DidExchange, 0, 201, "")
		o.Subject.Credential = auth.CredentialID(id)
		u.Note(o)
	}
	var last auth.CredentialID
	for written := 0; written < 10_000; written = len(l.rows) {
		l.order = nil
		if err := u.write(t.Context(), 500); err != nil {
			t.Fatal(err)
		}
		if n := len(l.order); n < 200 || n > 600 {
			t.Fatalf("%d credentials were written at once", n)
		}
		if !slices.IsSorted(l.order) || l.order[0] < last {
			t.Fatalf("after %s comes %s", last, l.order)
		}
		last = l.order[len(l.order)-1]
	}
}

// A listing is a ledger that remembers in which order it was told of the last uses.
type listing struct {
	*ledger
	order []auth.CredentialID
}

func (l *listing) WriteUsage(ctx context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error {
	for _, u := range uses {
		l.order = append(l.order, u.Credential)
	}
	return l.ledger.WriteUsage(ctx, rows, uses)
}

// A ledger is a store that adds up, as the real one does.
type ledger struct {
	mu     sync.Mutex
	down   error
	writes int
	rows   map[auth.UsageRow]int64 // by the row without its count
	uses   map[string]auth.SecretUse
	seen   []auth.Sighting
	most   int
}

func (l *ledger) WriteSightings(_ context.Context, seen []auth.Sighting) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down == nil {
		l.seen = append(l.seen, seen...)
	}
	return l.down
}

func newLedger() *ledger {
	return &ledger{rows: make(map[auth.UsageRow]int64), uses: make(map[string]auth.SecretUse)}
}

func (l *ledger) WriteUsage(_ context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	l.most = max(l.most, len(rows), len(uses))
	if l.down != nil {
		return l.down
	}
	for _, r := range rows {
		n := r.Count
		r.Count = 0
		l.rows[r] += n
	}
	for _, u := range uses {
		key := fmt.Sprint(u.Credential, u.Secret)
		sum := l.uses[key]
		u.Count += sum.Count
		if u.At.Before(sum.At) {
			sum.Count = u.Count
			u = sum
		}
		l.uses[key] = u
	}
	return nil
}

func (l *ledger) all() []auth.UsageRow {
	var all []auth.UsageRow
	for r, n := range l.rows {
		r.Count = n
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b auth.UsageRow) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), a.Hour.Compare(b.Hour), cmp.Compare(a.What, b.What))
	})
	return all
}

func newCounter(t testing.TB, l Store) *Counter {
	t.Helper()
	u, err := New(Config{Store: l})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// did is a request of the credential "key", at ten and so much.
func did(what string, after time.Duration, status int, reason auth.Reason) *auth.Observation {
	o := &auth.Observation{
		Caller: auth.Caller{Address: office, UserAgent: "liquid-sdk/1.7.0"}, At: ten.Add(after), Did: what, Status: status, Reason: reason,
		Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9"},
	}
	if what == auth.DidExchange && reason == auth.ReasonNone {
		o.Subject.Secret = 1
	}
	return o
}

func TestACustomersMorning(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	u.Note(did(auth.DidExchange, 0, 201, ""))
	u.Note(did(auth.DidVerify, time.Second, 200, ""))
	u.Note(did(auth.DidVerify, time.Second, 500, "")) // the API's own error: the call was let in
	u.Note(did(auth.DidVerify, time.Second, 403, auth.ReasonInsufficientScope))
	u.Note(did(auth.DidExchange, time.Second, 500, "")) // went wrong on our side
	if err := u.write(t.Context(), math.MaxInt); err != nil {
		t.Fatal(err)
	}
	u.Note(did(auth.DidVerify, 3*time.Second, 200, "")) // past eleven

	newer := did(auth.DidExchange, 4*time.Second, 201, "")
	newer.Caller.Address, newer.Caller.UserAgent, newer.Subject.Secret = home, "curl/8.5", 2
	u.Note(newer)
	u.Note(did(auth.DidExchange, 5*time.Second, 201, ""))
	stranger := did(auth.DidExchange, 5*time.Second, 400, auth.ReasonUnknown)
	stranger.Subject = auth.Subject{}
	u.Note(stranger)
	for range 2 { // the second has nothing to write
		if err := u.write(t.Context(), math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}

	row := func(hour int, what string, n int64) auth.UsageRow {
		return auth.UsageRow{
			Account: 100001, Credential: "aB3dE5gH7jK9", Hour: time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC), What: what, Count: n,
		}
	}
	want := []auth.UsageRow{
		row(10, "exchange", 1), row(10, "refused:insufficient_scope", 1), row(10, "verify", 2),
		row(11, "exchange", 2), row(11, "verify", 1),
	}
	if diff := gocmp.Diff(want, l.all()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	wantUses := map[string]auth.SecretUse{
		"aB3dE5gH7jK91": {Credential: "aB3dE5gH7jK9", Secret: 1, Use: auth.Use{At: ten.Add(5 * time.Second), Address: office, UserAgent: "liquid-sdk/1.7.0", Count: 2}},
		"aB3dE5gH7jK92": {Credential: "aB3dE5gH7jK9", Secret: 2, Use: auth.Use{At: ten.Add(4 * time.Second), Address: home, UserAgent: "curl/8.5", Count: 1}},
	}
	if diff := gocmp.Diff(wantUses, l.uses, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	if l.writes != 2 {
		t.Errorf("%d writes, want 2: nothing to write is not written", l.writes)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		u := newCounter(t, l)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- u.Run(ctx) }()
		u.Note(did(auth.DidExchange, 0, 201, ""))
		time.Sleep(every)
		synctest.Wait()
		if got := len(l.all()); got != 1 {
			t.Errorf("after a second %d rows were written, want 1", got)
		}
		u.Note(did(auth.DidLogin, 0, 200, ""))
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := len(l.all()); got != 2 {
			t.Errorf("at the end %d rows were written, want 2", got)
		}
	})
}

// The store is away for a while. Nothing is lost and nothing is counted twice, whatever the order of writes and failures.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		u, err := New(Config{Store: l})
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[auth.UsageRow]int64)
		var used int64
		var last time.Time
		t.Repeat(map[string]func(*rapid.T){
			"note": func(t *rapid.T) {
				after := time.Duration(rapid.IntRange(0, 7200).Draw(t, "after")) * time.Second
				o := did(rapid.SampledFrom([]string{auth.DidExchange, auth.DidVerify}).Draw(t, "did"), after, 200, "")
				o.Subject.Credential = rapid.SampledFrom([]auth.CredentialID{"a", "b"}).Draw(t, "credential")
				if rapid.Bool().Draw(t, "refused") {
					o.Reason = rapid.SampledFrom(auth.Reasons).Draw(t, "reason")
				}
				u.Note(o)
				what := o.Did
				if o.Reason != "" {
					what = "refused:" + string(o.Reason)
				} else if o.Did == auth.DidExchange && o.Subject.Credential == "a" {
					used++
					if o.At.After(last) {
						last = o.At
					}
				}
				want[auth.UsageRow{Account: 100001, Credential: o.Subject.Credential, Hour: o.At.Truncate(time.Hour), What: what}]++
			},
			"write":      func(*rapid.T) { _ = u.write(context.Background(), math.MaxInt) },
			"store down": func(*rapid.T) { l.down = errors.New("disk I/O error") },
			"store up":   func(*rapid.T) { l.down = nil },
		})
		l.down = nil
		if err := u.write(context.Background(), math.MaxInt); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, l.rows); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if got := l.uses["a1"]; got.Count != used || !got.At.Equal(last) {
			t.Fatalf("secret 1 of a: used %d times, last at %v; want %d, %v", got.Count, got.At, used, last)
		}
	})
}

func TestBigWritesAreCut(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	for i := range 3 * atOnce {
		o := did(auth.DidExchange, 0, 201, "")
		o.Subject.Credential = auth.CredentialID(fmt.Sprintf("%c%c%010d", auth.Alphabet[i%62], auth.Alphabet[i/62%62], i))
		u.Note(o)
	}
	if err := u.write(t.Context(), math.MaxInt); err != nil {
		t.Fatal(err)
	}
	if l.most > atOnce || len(l.rows) != 3*atOnce || len(l.uses) != 3*atOnce {
		t.Errorf("%d rows at once, %d rows and %d uses in all", l.most, len(l.rows), len(l.uses))
	}
}

// slow is a store that has not come to reading when its caller stops waiting.
type slow struct {
	rows []auth.UsageRow
	uses []auth.SecretUse
}

func (s *slow) WriteUsage(_ context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error {
	s.rows, s.uses = rows, uses
	return context.DeadlineExceeded
}

func (s *slow) WriteSightings(context.Context, []auth.Sighting) error {
	return context.DeadlineExceeded
}

func TestWhatAStoreStillReadsStaysAsItIs(t *testing.T) {
	s := &slow{}
	u := newCounter(t, s)
	u.Note(did(auth.DidExchange, 0, 201, ""))
	if err := u.write(t.Context(), math.MaxInt); err == nil {
		t.Fatal("it was written")
	}
	rows, uses := s.rows, s.uses
	wantRows, wantUses := slices.Clone(rows), slices.Clone(uses)
	u.Note(did(auth.DidExchange, 0, 201, ""))
	if err := u.write(t.Context(), math.MaxInt); err == nil {
		t.Fatal("it was written")
	}
	if !slices.Equal(rows, wantRows) || !slices.Equal(uses, wantUses) || len(rows) != 1 || len(uses) != 1 {
		t.Errorf("the store now reads %v and %v, and was given %v and %v", rows, uses, wantRows, wantUses)
	}
}

func TestQuietCredentialsAreForgotten(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	u.Note(did(auth.DidExchange, 0, 201, ""))
	held := func() (n int) {
		for i := range u.shards {
			n += len(u.shards[i].entries)
		}
		return n
	}
	for range restless + 1 {
		if got := held(); got != 1 {
			t.Fatalf("%d entries, want 1", got)
		}
		if err := u.write(t.Context(), math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}
	if got := held(); got != 0 {
		t.Errorf("after a quiet minute %d entries, want 0", got)
	}
}

// A hundred thousand credentials a second must not turn the server into one that writes usage: what waits is written at a
// pace, forgotten once it is, and all of it is there in the end.
func TestACrowdIsWrittenAtAPace(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	const crowdOf = 2 * crowd
	for i := range crowdOf {
		o := did(auth.DidExchange, 0, 201, "")
		o.Subject.Credential = auth.CredentialID(fmt.Sprintf("%c%c%010d", auth.Alphabet[i%62], auth.Alphabet[i/62%62], i))
		u.Note(o)
	}
	u.tick(t.Context())
	if n := len(l.rows) + len(l.uses); n < pace || n > crowdOf {
		t.Errorf("the first second wrote %d rows of %d", n, 2*crowdOf)
	}
	for range 200 {
		u.tick(t.Context())
	}
	if len(l.rows) != crowdOf || len(l.uses) != crowdOf {
		t.Errorf("in the end %d rows and %d uses, want %d of each", len(l.rows), len(l.uses), crowdOf)
	}
	if n := u.entries.Load(); n > crowd {
		t.Errorf("%d entries are kept of a crowd that was written", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				u.Note(did(auth.DidExchange, 0, 201, ""))
				if i%100 == 0 {
					_ = u.write(context.Background(), math.MaxInt)
				}
			}
		})
	}
	wg.Wait()
	if err := u.write(t.Context(), math.MaxInt); err != nil {
		t.Fatal(err)
	}
	if got := l.all(); len(got) != 1 || got[0].Count != 4000 {
		t.Errorf("got %v, want one row of 4000", got)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	if got, want := len(auth.Reasons), kinds-acts; got != want {
		t.Fatalf("there are %d reasons, and room for %d", got, want)
	}
	for kind := range kinds {
		if got := kindNamed(kindName(kind)); got != kind {
			t.Errorf("%d is called %q, which is %d", kind, kindName(kind), got)
		}
	}
}

func TestNoteAllocatesNothing(t *testing.T) {
	u := newCounter(t, newLedger())
	for _, o := range []*auth.Observation{did(auth.DidExchange, 0, 201, ""), did(auth.DidVerify, 0, 403, auth.ReasonTokenWrongType)} {
		u.Note(o)
		if got := testing.AllocsPerRun(100, func() { u.Note(o) }); got != 0 {
			t.Errorf("%s: %v allocations", o.Did, got)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	for _, c := range []struct {
		name string
		o    *auth.Observation
	}{
		{"exchange", did(auth.DidExchange, 0, 201, "")},
		{"refused", did(auth.DidVerify, 0, 502, auth.ReasonUpstream)}, // the last of all reasons
	} {
		b.Run(c.name, func(b *testing.B) {
			u := newCounter(b, newLedger())
			b.ReportAllocs()
			for b.Loop() {
				u.Note(c.o)
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		u := newCounter(b, newLedger())
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			o := did(auth.DidExchange, 0, 201, "")
			for pb.Next() {
				u.Note(o)
			}
		})
	})
}

// Where a credential came in from is written once it is new, then every few minutes and when it has been quiet; every time is counted,
// and nobody fills the memory with addresses.
func TestWhereCredentialsCameFrom(t *testing.T) {
	l := newLedger()
	u := newCounter(t, l)
	now := ten.Add(-30 * time.Minute) // all of it within one hour
	u.now = func() time.Time { return now }
	note := func(from netip.Addr, reason auth.Reason) {
		o := did(auth.DidVerify, now.Sub(ten), 200, reason)
		o.Caller.Address = from
		u.Note(o)
	}
	write := func(want ...string) {
		t.Helper()
		l.seen = nil
		if err := u.write(t.Context(), pace); err != nil && l.down == nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range l.seen {
			if s.Account != 100001 || s.Credential != "aB3dE5gH7jK9" {
				t.Errorf("of %+v", s)
			}
			got = append(got, fmt.Sprintf("%s %d %s", s.From, s.Count, s.At.Format("05")))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	note(office, "")
	note(home, "")
	note(netip.MustParseAddr("::ffff:203.0.113.7"), "")
	note(netip.MustParseAddr("192.0.2.1"), auth.ReasonExpired)
	note(netip.Addr{}, "")
	write("203.0.113.7/32 2 58", "2001:db8::/64 1 58")
	now = now.Add(time.Second)
	note(office, "")
	write()
	now = now.Add(time.Minute - time.Second)
	note(office, "")
	l.down = errors.New("disk I/O error")
	now = now.Add(seenEvery)
	write()
	l.down = nil
	write("203.0.113.7/32 2 58")

	note(home, "")
	write("2001:db8::/64 1 58")
	note(home, "") // and then it is quiet
	for range restless - 1 {
		write()
	}
	for l.seen = nil; u.entries.Load() > 0; {
		if err := u.write(t.Context(), pace); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.seen) != 1 || l.seen[0].Count != 1 {
		t.Errorf("the last is lost: %v", l.seen)
	}

	for i := range 4 * mostFrom {
		note(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), "")
	}
	l.seen = nil
	if err := u.write(t.Context(), math.MaxInt); err != nil || len(l.seen) != mostFrom {
		t.Errorf("%d addresses, %v", len(l.seen), err)
	}
}
