package audit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

var (
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	office = netip.MustParseAddr("203.0.113.7")
	proxy  = netip.MustParseAddr("10.0.0.5")

	addresses = cmpopts.EquateComparable(netip.Addr{})
)

// A shelf is a store that keeps what it is given.
type shelf struct {
	mu   sync.Mutex
	down error
	rows []auth.Refusal
	most int
}

func (s *shelf) WriteRefusals(_ context.Context, rows []auth.Refusal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	s.most = max(s.most, len(rows))
	s.rows = append(s.rows, rows...)
	return nil
}

func (s *shelf) count() (rows int, refusals int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		refusals += r.Count
	}
	return len(s.rows), refusals
}

// A world is refusals with a clock that is moved by hand.
type world struct {
	*Refusals
	shelf *shelf
	at    time.Time
	asked int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{shelf: &shelf{}, at: noon}
	r, err := New(Config{Store: w.shelf, Now: func() time.Time { return w.at }})
	if err != nil {
		t.Fatal(err)
	}
	w.Refusals = r
	return w
}

// refused is a call that is refused now, with a request id of its own.
func (w *world) refused(change func(*auth.Observation)) *auth.Observation {
	w.asked++
	o := &auth.Observation{
		Caller: auth.Caller{
			Address: office, Peer: proxy, Forwarded: "203.0.113.7", UserAgent: "curl/8.5",
			RequestID: fmt.Sprintf("reqid_%011d", w.asked), Method: "GET", Host: "api.example.com", Path: "/api/v1/products/7",
		},
		At: w.at, Duration: time.Millisecond, Did: auth.DidVerify, Contract: auth.B2B, Route: "/api/v1/", Status: 403,
		Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Session: "s1"}, Type: verify.B2BAccess,
		Reason: auth.ReasonAddressNotAllowed, Limit: auth.Limit{Name: "requests_per_account", Quota: 10, Remaining: 9},
	}
	if change != nil {
		change(o)
	}
	return o
}

func (w *world) write(t testing.TB) {
	t.Helper()
	if err := w.Refusals.write(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

func TestEqualRefusalsOfASecondAreOneRow(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.Note(w.refused(nil))
	}
	w.Note(w.refused(func(o *auth.Observation) { o.Reason = auth.ReasonNone })) // let in
	w.Note(w.refused(func(o *auth.Observation) { o.Caller.Address = proxy }))   // not equal
	w.write(t)
	if rows, _ := w.shelf.count(); rows != 0 {
		t.Errorf("%d rows were written within their second", rows)
	}
	w.at = w.at.Add(time.Second)
	w.Note(w.refused(nil)) // the next second
	w.write(t)

	if rows, n := w.shelf.count(); rows != 2 || n != 31 {
		t.Fatalf("%d rows of %d refusals, want 2 of 31", rows, n)
	}
	want := auth.Refusal{
		At: noon, Count: 30, Method: "GET", Host: "api.example.com", Path: "/api/v1/products/7", Route: "/api/v1/",
		Contract: auth.B2B, Status: 403, Reason: auth.ReasonAddressNotAllowed,
		Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Session: "s1"}, Type: verify.B2BAccess,
		Address: office, Peer: proxy, Forwarded: "203.0.113.7", UserAgent: "curl/8.5",
	}
	for i := range mostIDs {
		want.RequestIDs = append(want.RequestIDs, fmt.Sprintf("reqid_%011d", i+1))
	}
	if diff := cmp.Diff(want, w.shelf.rows[0], addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A customer calls with the id of his request, within the hour: it is found, whichever of many equal ones it was.
func TestFind(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.Note(w.refused(nil))
	}
	for _, id := range []string{"reqid_00000000001", "reqid_00000000020", "reqid_00000000021", "reqid_00000000030"} {
		got, ok := w.Find(id)
		if !ok || got.Count != 30 || got.Reason != auth.ReasonAddressNotAllowed {
			t.Errorf("%s: %v, %+v", id, ok, got)
		}
		if !strings.Contains(fmt.Sprint(got.RequestIDs), id) {
			t.Errorf("%s is not among the ids of its row: %v", id, got.RequestIDs)
		}
	}
	for _, id := range []string{"", "reqid_00000000031"} {
		if got, ok := w.Find(id); ok {
			t.Errorf("%q was found: %+v", id, got)
		}
	}
	w.at = w.at.Add(remembered + time.Second)
	if _, ok := w.Find("reqid_00000000001"); ok {
		t.Error("found after more than an hour")
	}
	if _, ok := w.Find("reqid_00000000030"); ok {
		t.Error("found after more than an hour")
	}
	w.write(t)
	if w.first != w.next || w.rows[0] != nil {
		t.Error("what is older than an hour is still held")
	}
}

func TestFindWhatIsPushedOut(t *testing.T) {
	w := newWorld(t)
	r, err := New(Config{Store: w.shelf, Now: func() time.Time { return w.at }, Memory: 10})
	if err != nil {
		t.Fatal(err)
	}
	w.Refusals = r
	for range 25 { // the first row, five of whose ids come late
		w.Note(w.refused(nil))
	}
	for i := range 12 {
		w.Note(w.refused(func(o *auth.Observation) { o.Caller.Path = fmt.Sprint("/", i) }))
	}
	if _, ok := w.Find("reqid_00000000025"); ok {
		t.Error("found a row that was pushed out")
	}
	if _, ok := w.Find("reqid_00000000037"); !ok {
		t.Error("the last is not found")
	}
	if got := len(w.Recent(auth.RefusalFilter{})); got != 10 {
		t.Errorf("%d in memory, want 10", got)
	}
	if got := w.Unwritten(); got != 3 { // ten rows wait, and three more came
		t.Errorf("%d unwritten, want 3", got)
	}
}

func TestRecent(t *testing.T) {
	w := newWorld(t)
	for i := range 200 {
		w.Note(w.refused(func(o *auth.Observation) {
			o.Subject.Account += auth.AccountID(i % 2)
			if i%4 == 0 {
				o.Caller.Address = proxy
			}
		}))
		w.at = w.at.Add(time.Second)
	}
	for _, c := range []struct {
		name string
		f    auth.RefusalFilter
		want int
		last string
	}{
		{"the last hundred", auth.RefusalFilter{}, 100, "reqid_00000000200"},
		{"three", auth.RefusalFilter{Most: 3}, 3, "reqid_00000000200"},
		{"of an account", auth.RefusalFilter{Account: 100001, Most: 1000}, 100, "reqid_00000000199"},
		{"of an address", auth.RefusalFilter{Address: proxy, Most: 1000}, 50, "reqid_00000000197"},
		{"of a credential", auth.RefusalFilter{Credential: "aB3dE5gH7jK9", Most: 1000}, 200, "reqid_00000000200"},
		{"of another", auth.RefusalFilter{Credential: "else"}, 0, ""},
		{"of the last ten seconds", auth.RefusalFilter{Since: w.at.Add(-10 * time.Second)}, 10, "reqid_00000000200"},
		{"by id", auth.RefusalFilter{RequestID: "reqid_00000000007"}, 1, "reqid_00000000007"},
		{"by id, of another account", auth.RefusalFilter{RequestID: "reqid_00000000007", Account: 1}, 0, ""},
	} {
		got := w.Recent(c.f)
		if len(got) != c.want || c.want > 0 && got[0].RequestIDs[0] != c.last {
			t.Errorf("%s: got %d, the latest %v; want %d, %s", c.name, len(got), got[:min(1, len(got))], c.want, c.last)
		}
	}
	w.at = w.at.Add(remembered - 100*time.Second)
	if got := w.Recent(auth.RefusalFilter{Most: 1000}); len(got) != 100 {
		t.Errorf("%d of the last hour, want 100", len(got))
	}
}

// A scanner asks for everything. It neither fills the store nor pushes a customer's refusal out of it.
func TestAScannerDoesNotDrownACustomer(t *testing.T) {
	w := newWorld(t)
	scan := func(from int) {
		for i := range 5000 {
			w.Note(w.refused(func(o *auth.Observation) {
				o.Caller.Path, o.Caller.UserAgent = fmt.Sprintf("/%d/%d.php", from, i), "scanner"
				o.Caller.Address = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(from), byte(from >> 8), 0, 0, 0, 0, 0, 0, 0, 0, byte(i >> 8), byte(i)})
				o.Reason, o.Status, o.Route, o.Subject, o.Contract, o.Type = auth.ReasonNoRoute, 404, "", auth.Subject{}, "", ""
			}))
		}
	}
	for from := range 20 {
		scan(from)
	}
	w.Note(w.refused(nil))
	w.at = w.at.Add(time.Second)
	w.write(t)
	rows, n := w.shelf.count()
	if rows != strangers+1 {
		t.Errorf("%d rows were written, want %d of the scanner and the customer's", rows, strangers)
	}
	if got := n + w.Unwritten(); got != 20*5000+1 {
		t.Errorf("%d written and %d not, want %d together", n, w.Unwritten(), 20*5000+1)
	}
	if held := w.next - w.first; held > 20*(perSource+1)+1 {
		t.Errorf("%d rows in memory: a /64 may have %d a minute and one that holds the rest", held, perSource)
	}
	if last := w.shelf.rows[len(w.shelf.rows)-1]; last.Subject.Account != 100001 {
		t.Errorf("the customer's is missing; the last is %+v", last)
	}
	all := w.Recent(auth.RefusalFilter{Most: 20 * (perSource + 2)})
	folded := all[slices.IndexFunc(all, func(r auth.Refusal) bool { return r.Detail != "" })]
	if folded.Count != 5000-perSource || folded.Path != "" || folded.Detail == "" {
		t.Errorf("the scanner's last row is %+v", folded)
	}

	w.at = w.at.Add(time.Minute)
	for i := range 3 * perMinute { // many customers at once: they have the minute to themselves
		w.Note(w.refused(func(o *auth.Observation) {
			o.Subject.Account += auth.AccountID(i)
			o.Caller.Address = netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
		}))
	}
	w.at = w.at.Add(time.Second)
	w.write(t)
	if more, _ := w.shelf.count(); more != rows+perMinute {
		t.Errorf("%d rows in a minute, want %d", more-rows, perMinute)
	}
	if w.shelf.most > atOnce {
		t.Errorf("%d rows in one write", w.shelf.most)
	}
}

func TestTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	w.shelf.down = errors.New("disk I/O error")
	for range 3 {
		w.Note(w.refused(nil))
		w.at = w.at.Add(time.Second)
		if err := w.Refusals.write(t.Context(), false); err == nil {
			t.Error("written to a store that is away")
		}
	}
	w.shelf.down = nil
	w.write(t)
	w.write(t)
	if rows, n := w.shelf.count(); rows != 3 || n != 3 {
		t.Errorf("%d rows of %d refusals, want 3 of 3", rows, n)
	}

	w.shelf.down = errors.New("disk I/O error")
	for range 8 { // minutes
		for i := range perMinute {
			w.Note(w.refused(func(o *auth.Observation) {
				o.Caller.Address = netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
			}))
		}
		w.at = w.at.Add(time.Minute)
		_ = w.Refusals.write(t.Context(), false)
	}
	w.shelf.down = nil
	w.write(t)
	rows, _ := w.shelf.count()
	if rows != 3+unsaved || w.Unwritten() != 8*perMinute-unsaved {
		t.Errorf("%d rows kept and %d refusals given up, want %d and %d", rows-3, w.Unwritten(), unsaved, 8*perMinute-unsaved)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		r, err := New(Config{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{Refusals: r, shelf: s, at: time.Now()}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		w.Note(w.refused(nil))
		time.Sleep(2 * every)
		synctest.Wait()
		if rows, _ := s.count(); rows != 1 {
			t.Errorf("%d rows, want 1", rows)
		}
		w.at = time.Now()
		w.Note(w.refused(nil))
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if rows, _ := s.count(); rows != 2 {
			t.Errorf("at the end %d rows, want 2", rows)
		}
	})
}

func TestHostileInput(t *testing.T) {
	w := newWorld(t)
	key := auth.FormatKey("gk", auth.Live, "aB3dE5gH7jK9", "0123456789ABCDEFGHIJKLMNOPQRSTUV")
	w.Note(w.refused(func(o *auth.Observation) {
		o.Caller.Path = "/a\x00\xff\x1b[2J\n" + key + "?token=s3cr3t"
		o.Caller.Host = "\u202ehost\u2028"
		o.Caller.UserAgent = strings.Repeat("ü", 10_000)
		o.Caller.Forwarded = "Bearer " + key
		o.Caller.Address = netip.MustParseAddr("fe80::1%\x1b[2J")
		o.Reason, o.Err = auth.ReasonUpstream, errors.New("dial "+key+"\n")
	}))
	got := w.Recent(auth.RefusalFilter{})[0]
	for _, c := range []struct{ got, want string }{
		{got.Path, "/a\ufffd\ufffd\ufffd[2J\ufffdgk_live_aB3dE5gH7jK9***"},
		{got.Host, "\ufffdhost\ufffd"},
		{got.UserAgent, strings.Repeat("ü", mostText/2)},
		{got.Forwarded, "Bearer gk_live_aB3dE5gH7jK9***"},
		{got.Detail, "dial gk_live_aB3dE5gH7jK9***\ufffd"},
		{got.Address.String(), "fe80::1"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	w.Note(&auth.Observation{Reason: auth.ReasonMalformed}) // nothing known at all
	if _, err := New(Config{}); err == nil {
		t.Error("refusals without a store")
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	o := w.refused(nil)
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 300 {
				one := *o
				one.Caller.RequestID = fmt.Sprintf("reqid_%d_%d", g, i)
				one.Caller.Path = fmt.Sprint("/", i%3)
				one.At = one.At.Add(time.Duration(i%2) * time.Second)
				w.Note(&one)
				if i%50 == 0 {
					_ = w.Refusals.write(context.Background(), true)
				}
				if _, ok := w.Find(one.Caller.RequestID); !ok {
					t.Errorf("%s is not found", one.Caller.RequestID)
				}
				w.Recent(auth.RefusalFilter{Account: 100001})
			}
		})
	}
	wg.Wait()
	if err := w.Refusals.write(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, n := w.shelf.count(); n != 1800 {
		t.Errorf("%d refusals, want 1800", n)
	}
}

func BenchmarkNote(b *testing.B) {
	b.Run("equal", func(b *testing.B) {
		w := newWorld(b)
		o := w.refused(nil)
		b.ReportAllocs()
		for b.Loop() {
			w.Note(o)
		}
	})
	b.Run("let in", func(b *testing.B) {
		w := newWorld(b)
		o := w.refused(func(o *auth.Observation) { o.Reason = auth.ReasonNone })
		b.ReportAllocs()
		for b.Loop() {
			w.Note(o)
		}
	})
	b.Run("each another", func(b *testing.B) {
		w := newWorld(b)
		o := w.refused(nil)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			o.Subject.Account++
			o.Caller.Address = netip.AddrFrom4([4]byte{100, byte(n >> 16), byte(n >> 8), byte(n)})
			o.At = o.At.Add(time.Millisecond)
			w.Note(o)
			if n%1000 == 0 {
				_ = w.Refusals.write(b.Context(), true)
				w.shelf.rows = w.shelf.rows[:0]
			}
		}
	})
}

func BenchmarkFindNothing(b *testing.B) {
	w := newWorld(b)
	for i := range inMemory {
		w.Note(w.refused(func(o *auth.Observation) { o.Subject.Account += auth.AccountID(i); o.Caller.Address = netip.Addr{} }))
	}
	for b.Loop() {
		w.Find("reqid_zzzzzzzzzzz")
	}
}

// The server's memory and the database know of the same refusals, the one a little earlier than the other.
func TestEachRefusalIsToldOnce(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 11, 22, 9, 0, second, 0, time.UTC) }
	stored := []auth.Refusal{
		{ID: 2, At: at(2), RequestIDs: []string{"c", "d"}, Count: 7},
		{ID: 1, At: at(1), RequestIDs: []string{"a"}, Count: 1},
	}
	memory := []auth.Refusal{
		{At: at(3), RequestIDs: []string{"e"}, Count: 1},         // not written yet
		{At: at(2), RequestIDs: []string{"d"}, Count: 1},         // one of those counted
		{At: at(1), RequestIDs: []string{"a", "b"}, Count: 2000}, // counted on since
	}
	var got []string
	for _, r := range Merge(memory, stored, auth.RefusalFilter{}) {
		got = append(got, fmt.Sprintf("%s ×%d", strings.Join(r.RequestIDs, ","), r.Count))
	}
	if want := []string{"e ×1", "c,d ×7", "a,b ×2000"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Merge(memory, stored, auth.RefusalFilter{Most: 2}); len(got) != 2 || got[0].RequestIDs[0] != "e" {
		t.Errorf("the newest two: got %v", got)
	}
	next := Merge(memory, stored, auth.RefusalFilter{Most: 1, After: memory[0].Place()})
	if len(next) != 1 || next[0].Count != 7 {
		t.Errorf("behind the newest: got %v", next)
	}
}

// Requests of long ago are noted late, and still stand where they belong, page for page.
func TestRecentComesInPages(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 40 {
		id := fmt.Sprintf("reqid_%02d", i)
		want = append(want, id)
		w.Note(w.refused(func(o *auth.Observation) {
			o.Caller.RequestID, o.Caller.Path = id, "/"+id
			o.At = w.at.Add(-time.Duration(i/4) * time.Second)
		}))
	}
	var got []string
	f := auth.RefusalFilter{Most: 3}
	for {
		page := w.Recent(f)
		for _, r := range page {
			got = append(got, r.RequestIDs[0])
		}
		if len(page) < f.Most {
			break
		}
		f.After = page[len(page)-1].Place()
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
