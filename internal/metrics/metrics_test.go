package metrics

import (
	"fmt"
	"math"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// scrape returns what Prometheus would see of the metrics whose names begin with one of those given, without the zeros.
func scrape(t *testing.T, m *Metrics, names ...string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("HTTP %d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasSuffix(line, " 0") {
			continue
		}
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(line, name) }) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func call(route string, status int, reason auth.Reason) *auth.Observation {
	return &auth.Observation{
		Caller:   auth.Caller{Address: netip.MustParseAddr("203.0.113.7"), Path: route + "7"},
		Duration: 3 * time.Millisecond, Upstream: 2 * time.Millisecond, Did: auth.DidVerify, Contract: auth.B2B, Route: route,
		Status: status, Reason: reason, Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9"},
	}
}

func act(did string, contract auth.Contract, status int, reason auth.Reason) *auth.Observation {
	return &auth.Observation{Did: did, Contract: contract, Route: "/" + did, Status: status, Reason: reason}
}

func TestWhatTheActsCameTo(t *testing.T) {
	m := New("1.2.3")
	replay := act(auth.DidRefresh, auth.B2B, 200, "")
	replay.Replayed = true
	public := call("/status", 200, "")
	public.Subject = auth.Subject{}
	for _, o := range []*auth.Observation{
		act(auth.DidExchange, auth.Liquid, 201, ""),
		act(auth.DidExchange, auth.Liquid, 400, auth.ReasonUnknown),
		act(auth.DidExchange, auth.Orders, 429, auth.ReasonRateLimited),
		act(auth.DidExchange, auth.Orders, 503, auth.ReasonOverloaded),
		act(auth.DidLogin, auth.B2B, 200, ""),
		act(auth.DidLogin, auth.B2B, 500, ""),
		act(auth.DidRefresh, auth.B2B, 200, ""),
		replay,
		act(auth.DidRefresh, auth.B2B, 401, auth.ReasonRefreshRaced),
		act(auth.DidRefresh, auth.B2B, 401, auth.ReasonRefreshReused),
		act(auth.DidRefresh, auth.B2B, 401, auth.ReasonTokenExpired),
		act(auth.DidRefresh, auth.B2B, 503, auth.ReasonOverloaded),
		call("/api/v1/", 200, ""),
		call("/api/v1/", 500, ""), // the API's own
		call("/api/v1/", 502, auth.ReasonUpstream),
		call("/api/v1/", 401, auth.ReasonTokenExpired),
		call("/api/v1/", 503, auth.ReasonOverloaded),
		public,
		act(auth.DidOther, "", 404, auth.ReasonNoRoute),
	} {
		m.Note(o)
	}
	m.Renewed(RenewalOK)
	m.Renewed(RenewalUnavailable)
	m.Renewed("nonsense")

	want := []string{
		`gatehouse_exchanges_total{contract="b2b",outcome="error"} 1`,
		`gatehouse_exchanges_total{contract="b2b",outcome="ok"} 1`,
		`gatehouse_exchanges_total{contract="liquid",outcome="ok"} 1`,
		`gatehouse_exchanges_total{contract="liquid",outcome="refused"} 1`,
		`gatehouse_exchanges_total{contract="orders",outcome="error"} 1`,
		`gatehouse_exchanges_total{contract="orders",outcome="refused"} 1`,
		`gatehouse_refreshes_total{outcome="error"} 1`,
		`gatehouse_refreshes_total{outcome="ok"} 1`,
		`gatehouse_refreshes_total{outcome="raced"} 1`,
		`gatehouse_refreshes_total{outcome="refused"} 1`,
		`gatehouse_refreshes_total{outcome="replayed"} 1`,
		`gatehouse_refreshes_total{outcome="reused"} 1`,
		`gatehouse_refusals_total{contract="b2b",reason="overloaded"} 2`,
		`gatehouse_refusals_total{contract="b2b",reason="refresh_raced"} 1`,
		`gatehouse_refusals_total{contract="b2b",reason="refresh_reused"} 1`,
		`gatehouse_refusals_total{contract="b2b",reason="token_expired"} 2`,
		`gatehouse_refusals_total{contract="b2b",reason="upstream"} 1`,
		`gatehouse_refusals_total{contract="liquid",reason="unknown"} 1`,
		`gatehouse_refusals_total{contract="none",reason="no_route"} 1`,
		`gatehouse_refusals_total{contract="orders",reason="overloaded"} 1`,
		`gatehouse_refusals_total{contract="orders",reason="rate_limited"} 1`,
		`gatehouse_renewals_total{outcome="ok"} 1`,
		`gatehouse_renewals_total{outcome="unavailable"} 1`,
		`gatehouse_verifications_total{outcome="error"} 1`,
		`gatehouse_verifications_total{outcome="ok"} 3`,
		`gatehouse_verifications_total{outcome="refused"} 1`,
	}
	got := scrape(t, m, "gatehouse_exchanges", "gatehouse_ref", "gatehouse_ren", "gatehouse_ver")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What has not happened yet is a zero and not a hole: an alert on a rate needs the first one too.
func TestCountersBeginAtZero(t *testing.T) {
	w := httptest.NewRecorder()
	New("1.2.3").Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`gatehouse_exchanges_total{contract="oauth",outcome="refused"} 0`,
		`gatehouse_refusals_total{contract="liquid",reason="address_not_allowed"} 0`,
		`gatehouse_refreshes_total{outcome="reused"} 0`,
		`gatehouse_revocations_unconfirmed_total 0`,
		`gatehouse_backups_failed_total 0`,
		`gatehouse_forwarded_untrusted_total 0`,
		`gatehouse_revocation_propagation_seconds_count 0`,
		`gatehouse_build_info{goversion="go`,
		`go_goroutines `,
		`process_start_time_seconds `,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	if got, want := strings.Count(w.Body.String(), "\ngatehouse_refusals_total{"), contracts*len(auth.Reasons); got != want {
		t.Errorf("%d series of refusals, want %d", got, want)
	}
}

func TestDurations(t *testing.T) {
	m := New("1.2.3")
	m.Note(call("/api/v1/", 200, ""))
	m.Note(call("/api/v1/", 204, ""))
	m.Note(call("/api/v1/", 404, ""))
	m.Note(act(auth.DidOther, "", 404, auth.ReasonNoRoute))
	m.Note(&auth.Observation{Did: auth.DidOther, Status: 404})      // no route, no upstream
	m.Note(&auth.Observation{Route: "/authentication", Status: -5}) // what cannot be
	m.Note(&auth.Observation{Route: "/authentication", Status: 0})
	want := []string{
		`gatehouse_request_duration_seconds_count{class="2xx",route="/api/v1/"} 2`,
		`gatehouse_request_duration_seconds_count{class="4xx",route="/api/v1/"} 1`,
		`gatehouse_request_duration_seconds_count{class="4xx",route="/other"} 1`,
		`gatehouse_request_duration_seconds_count{class="4xx",route="none"} 1`,
		`gatehouse_request_duration_seconds_count{class="none",route="/authentication"} 2`,
		`gatehouse_upstream_duration_seconds_count{route="/api/v1/"} 3`,
		`gatehouse_upstream_duration_seconds_sum{route="/api/v1/"} 0.006`,
	}
	got := scrape(t, m, "gatehouse_request_duration_seconds_count", "gatehouse_upstream_duration_seconds_count", "gatehouse_upstream_duration_seconds_sum")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Should a path ever come in as a route, the series are bounded all the same.
func TestRoutesAreBounded(t *testing.T) {
	m := New("1.2.3")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range mostRoutes {
				m.Note(call(fmt.Sprintf("/%d/%d/", g, i), 200, ""))
			}
		})
	}
	wg.Wait()
	got := scrape(t, m, "gatehouse_request_duration_seconds_count")
	if len(got) > mostRoutes {
		t.Errorf("%d series", len(got))
	}
	if want := fmt.Sprintf(`route="none"} %d`, 4*mostRoutes-(mostRoutes-1)); !strings.HasSuffix(got[len(got)-1], want) {
		t.Errorf("got %s, want %s", got[len(got)-1], want)
	}
}

func TestNothingOfTheCallersIsALabel(t *testing.T) {
	m := New("1.2.3")
	m.Note(call("/api/v1/", 403, auth.ReasonAddressNotAllowed))
	m.Note(act(auth.DidExchange, "no contract", 400, "no reason"))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, canary := range []string{"100001", "aB3dE5gH7jK9", "203.0.113.7", "/api/v1/7", "no contract", "no reason"} {
		if strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s is in the metrics", canary)
		}
	}
}

func TestSources(t *testing.T) {
	m := New("1.2.3")
	m.Watch(Sources{
		ClockOffset:         func() time.Duration { return -1500 * time.Millisecond },
		LogLag:              func() time.Duration { return 250 * time.Millisecond },
		SigningKeyExpiry:    func() time.Time { return time.Unix(1795000000, 0) },
		CredentialsExpiring: func() int64 { return 3 },
		BackupAge:           func() float64 { return math.Inf(1) },
		LogLinesDropped:     func() int64 { return 1 },
		RefusalsUnwritten:   func() int64 { return 2 },
		Queues:              []Queue{{"writes", func() int64 { return 7 }}},
		Caches: []Cache{
			{"credentials", func() CacheStats { return CacheStats{Entries: 10, Bound: 100000, Hits: 90, Misses: 9} }},
			{"tokens", func() CacheStats { return CacheStats{Entries: 5, Bound: 100000, Hits: -1, Misses: -1} }},
		},
	})
	m.Propagated(30 * time.Millisecond)
	m.Unconfirmed()
	m.BackupFailed()
	m.ForwardedUntrusted()
	want := []string{
		`gatehouse_backup_age_seconds +Inf`,
		`gatehouse_backups_failed_total 1`,
		`gatehouse_cache_entries_limit{cache="credentials"} 100000`,
		`gatehouse_cache_entries_limit{cache="tokens"} 100000`,
		`gatehouse_cache_entries{cache="credentials"} 10`,
		`gatehouse_cache_entries{cache="tokens"} 5`,
		`gatehouse_cache_hits_total{cache="credentials"} 90`,
		`gatehouse_cache_misses_total{cache="credentials"} 9`,
		`gatehouse_clock_offset_seconds -1.5`,
		`gatehouse_credentials_expiring 3`,
		`gatehouse_forwarded_untrusted_total 1`,
		`gatehouse_log_lag_seconds 0.25`,
		`gatehouse_log_lines_dropped_total 1`,
		`gatehouse_queue_length{queue="writes"} 7`,
		`gatehouse_refusals_unwritten_total 2`,
		`gatehouse_revocation_propagation_seconds_sum 0.03`,
		`gatehouse_revocations_unconfirmed_total 1`,
		`gatehouse_signing_key_expiry_timestamp_seconds 1.795e+09`,
	}
	got := scrape(t, m, "gatehouse_backup", "gatehouse_cache", "gatehouse_clock", "gatehouse_cred", "gatehouse_forw", "gatehouse_log", "gatehouse_queue", "gatehouse_refusals_unwritten",
		"gatehouse_revocation_propagation_seconds_sum", "gatehouse_revocations", "gatehouse_signing")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNothingToAsk(t *testing.T) {
	m := New("1.2.3")
	m.Watch(Sources{SigningKeyExpiry: func() time.Time { return time.Time{} }})
	if got := scrape(t, m, "gatehouse_signing", "gatehouse_cache", "gatehouse_log"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestNoteAllocatesNothing(t *testing.T) {
	m := New("1.2.3")
	for _, o := range []*auth.Observation{
		act(auth.DidExchange, auth.Liquid, 201, ""), call("/api/v1/", 200, ""), call("/api/v1/", 401, auth.ReasonTokenExpired),
		act(auth.DidOther, "", 404, auth.ReasonNoRoute),
	} {
		m.Note(o)
		if got := testing.AllocsPerRun(100, func() { m.Note(o) }); got != 0 {
			t.Errorf("%s: %v allocations", o.Did, got)
		}
	}
}

func BenchmarkNote(b *testing.B) {
	for _, c := range []struct {
		name string
		o    *auth.Observation
	}{
		{"exchange", act(auth.DidExchange, auth.Liquid, 201, "")},
		{"call", call("/api/v1/", 200, "")},
		{"refused", call("/api/v1/", 401, auth.ReasonTokenExpired)},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := New("1.2.3")
			b.ReportAllocs()
			for b.Loop() {
				m.Note(c.o)
			}
		})
	}
}
