package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sources are what is asked when somebody scrapes. A nil function is left out. They must answer at once, from memory, and
// may be called from several goroutines.
type Sources struct {
	LogLag              func() time.Duration    // how old what this replica knows of the change log may be
	SealLag             func() time.Duration    // since when an act may lie in the audit trail that is not sealed
	ClockOffset         func() time.Duration    // of the database's clock from this machine's
	SigningKeyExpiry    func() time.Time        // of the key in use: when the next takes over; zero: left out
	CertificateExpiry   func() time.Time        // of the one that `listen` shows
	Connections         func() int64            // that are open on `listen`
	ConnectionsRefused  func() map[string]int64 // that were closed because there were too many, by the setting that says so
	CredentialsExpiring func() int64            // credentials that expire within the next 14 days
	BackupAge           func() float64          // seconds since the last good backup was taken; infinite if none ever was
	LogLinesDropped     func() int64            // of the access log
	RefusalsUnwritten   func() int64            // that were counted and not stored
	Webhooks            func() map[string]int64 // messages, by what became of them
	SharedLimits        func() SharedLimits     // nil: none are shared
	Upstreams           func() []Upstream
	Caches              []Cache
	Queues              []Queue
}

// SharedLimits is how it stands with limits that replicas share.
type SharedLimits struct {
	Away     bool  // Redis does not answer, and the replica counts for itself
	Failures int64 // decisions that had to do without it, though it was not known to be away
}

// An Upstream is how the servers of a route's API stand. No two are of the same route.
type Upstream struct {
	Route   string
	Retries int64           // calls that went on to another server
	Healthy map[string]bool // by the server's URL
}

// A Cache is one of the server's.
type Cache struct {
	Name  string // "credentials", "tokens"
	Stats func() CacheStats
}

// CacheStats is how a cache does. Negative numbers stand for what it does not know, and are left out.
type CacheStats struct {
	Entries int64
	Bound   int64 // the most it may hold
	Hits    int64
	Misses  int64
}

// A Queue is something that waits: the store's writes, for one.
type Queue struct {
	Name   string // "writes"
	Length func() int64
}

// Watch asks the sources from now on, each time somebody scrapes. It is called once.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(&watch{s}) }

// A watch collects what stands somewhere.
type watch struct{ sources Sources }

// described are the metrics that a watch collects. They are made for each scrape: it is cheap and needs no state.
func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe says nothing, which tells the registry that what comes is checked as it comes.
func (w *watch) Describe(chan<- *prometheus.Desc) {}

func (w *watch) Collect(to chan<- prometheus.Metric) {
	s := w.sources
	send := func(kind prometheus.ValueType, value float64, d *prometheus.Desc, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	if s.ClockOffset != nil {
		send(prometheus.GaugeValue, s.ClockOffset().Seconds(), described("gatehouse_clock_offset_seconds",
			"How far the database's clock is ahead of this machine's. The database's is the one that counts."))
	}
	if s.LogLag != nil {
		send(prometheus.GaugeValue, s.LogLag().Seconds(), described("gatehouse_log_lag_seconds",
			"How long ago this replica last knew that it had applied the whole change log."))
	}
	if s.SealLag != nil {
		send(prometheus.GaugeValue, s.SealLag().Seconds(), described("gatehouse_audit_seal_lag_seconds",
			"How long ago this replica last knew that every act of the audit trail was sealed."))
	}
	if s.SigningKeyExpiry != nil {
		if at := s.SigningKeyExpiry(); !at.IsZero() {
			send(prometheus.GaugeValue, float64(at.UnixMilli())/1000, described("gatehouse_signing_key_expiry_timestamp_seconds",
				"When the key that signs now gives way to the next, in Unix time."))
		}
	}
	if s.CertificateExpiry != nil {
		if at := s.CertificateExpiry(); !at.IsZero() {
			send(prometheus.GaugeValue, float64(at.UnixMilli())/1000, described("gatehouse_certificate_expiry_timestamp_seconds",
				"When the certificate that customers are shown expires, in Unix time."))
		}
	}
	if s.Connections != nil {
		send(prometheus.GaugeValue, float64(s.Connections()), described("gatehouse_connections",
			"Open connections of customers."))
	}
	if s.ConnectionsRefused != nil {
		for setting, n := range s.ConnectionsRefused() {
			send(prometheus.CounterValue, float64(n), described("gatehouse_connections_refused_total",
				"Connections that were closed at once because there were too many, by the setting that bounds them.", "setting"), setting)
		}
	}
	if s.CredentialsExpiring != nil {
		send(prometheus.GaugeValue, float64(s.CredentialsExpiring()), described("gatehouse_credentials_expiring",
			"Credentials that expire within the next 14 days."))
	}
	if s.Webhooks != nil {
		for outcome, n := range s.Webhooks() {
			send(prometheus.CounterValue, float64(n), described("gatehouse_webhooks_total",
				"Messages to webhooks: delivered, tries that failed, dropped after days of them.", "outcome"), outcome)
		}
	}
	if s.BackupAge != nil {
		send(prometheus.GaugeValue, s.BackupAge(), described("gatehouse_backup_age_seconds",
			"How long ago the last good backup was taken; infinite if none ever was."))
	}
	if s.LogLinesDropped != nil {
		send(prometheus.CounterValue, float64(s.LogLinesDropped()), described("gatehouse_log_lines_dropped_total",
			"Lines of the log that could not be written."))
	}
	if s.RefusalsUnwritten != nil {
		send(prometheus.CounterValue, float64(s.RefusalsUnwritten()), described("gatehouse_refusals_unwritten_total",
			"Refusals that were counted and not stored, because there were too many."))
	}
	if s.SharedLimits != nil {
		shared, value := s.SharedLimits(), 1.0
		if shared.Away {
			value = 0
		}
		send(prometheus.GaugeValue, value, described("gatehouse_limits_shared",
			"1 while limits are shared through Redis, 0 while it does not answer and this replica counts for itself."))
		send(prometheus.CounterValue, float64(shared.Failures), described("gatehouse_limits_redis_failures_total",
			"Decisions about a limit that waited for Redis in vain and were made without it."))
	}
	if s.Upstreams != nil {
		for _, u := range s.Upstreams() {
			send(prometheus.CounterValue, float64(u.Retries), described("gatehouse_upstream_retries_total",
				"Calls that went on to another upstream of their route, because the first was no use.", "route"), u.Route)
			for url, healthy := range u.Healthy {
				value := 0.0
				if healthy {
					value = 1
				}
				send(prometheus.GaugeValue, value, described("gatehouse_upstream_healthy",
					"1 while an upstream gets calls, 0 while its health checks fail or too many calls in a row have failed.", "route", "upstream"), u.Route, url)
			}
		}
	}
	for _, q := range s.Queues {
		send(prometheus.GaugeValue, float64(q.Length()), described("gatehouse_queue_length",
			"What waits: writes to the database, for one.", "queue"), q.Name)
	}
	for _, c := range s.Caches {
		stats := c.Stats()
		for _, one := range []struct {
			kind       prometheus.ValueType
			value      int64
			name, help string
		}{
			{prometheus.GaugeValue, stats.Entries, "gatehouse_cache_entries", "Entries in a cache."},
			{prometheus.GaugeValue, stats.Bound, "gatehouse_cache_entries_limit", "Entries that a cache may hold."},
			{prometheus.CounterValue, stats.Hits, "gatehouse_cache_hits_total", "Questions that a cache could answer."},
			{prometheus.CounterValue, stats.Misses, "gatehouse_cache_misses_total", "Questions that a cache could not answer."},
		} {
			if one.value >= 0 {
				send(one.kind, float64(one.value), described(one.name, one.help, "cache"), c.Name)
			}
		}
	}
}
