// Package metrics counts what the server does, for Prometheus. It leaves to others to know what happened: requests come as
// an [auth.Observation] each, and what stands somewhere (a queue's length, a key's age) is asked for when it is scraped.
//
// The invariant: no account, address or anything else that callers choose is ever a label, so the number of series is
// bounded by the configuration.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Metrics is one registry with all our metrics. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	exchanges     [contracts][outcomes]prometheus.Counter
	refusals      [contracts]map[auth.Reason]prometheus.Counter
	observed      [contracts]map[auth.Reason]prometheus.Counter
	refreshes     [refreshOutcomes]prometheus.Counter
	verifications [outcomes]prometheus.Counter
	renewals      map[string]prometheus.Counter
	routes        routes

	propagation prometheus.Histogram
	redis       prometheus.Histogram
	unconfirmed prometheus.Counter
	unbacked    prometheus.Counter
	untrusted   prometheus.Counter
	reloaded    prometheus.Gauge
	reloadedAt  prometheus.Gauge
}

// New returns metrics of a server of this version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.newCore()
	m.newRequests()

	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_build_info",
		Help: "Always 1. Its labels say which version runs, and which Go it was built with.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version, runtime.Version()).Set(1)
	m.propagation = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatehouse_revocation_propagation_seconds",
		Help:    "How long after its commit this replica had applied a change, revocations among them.",
		Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	})
	m.redis = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "gatehouse_limits_redis_seconds",
		Help:    "How long Redis took for a decision about limits, where they are shared and it answered.",
		Buckets: []float64{0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05},
	})
	m.unbacked = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_backups_failed_total",
		Help: "Scheduled backups that this replica began and could not finish.",
	})
	m.unconfirmed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_revocations_unconfirmed_total",
		Help: "Revocations that were committed and answered before every replica had applied them.",
	})
	m.untrusted = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_forwarded_untrusted_total",
		Help: "Requests with a forwarding header from a peer that is not in trusted_proxies.",
	})
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_config_last_reload_successful",
		Help: "1 if the configuration is as it was last read, 0 if what was last read is no good and the former one stays.",
	})
	m.reloadedAt = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_config_last_reload_success_timestamp_seconds",
		Help: "When a good configuration was last read.",
	})
	m.registry.MustRegister(info, m.propagation, m.redis, m.unconfirmed, m.unbacked, m.untrusted, m.reloaded, m.reloadedAt)
	m.Reloaded(nil)
	return m
}

// Propagated notes that a change was applied here so long after its commit.
func (m *Metrics) Propagated(after time.Duration) { m.propagation.Observe(after.Seconds()) }

// RedisAnswered notes that Redis decided about limits, and how long that took.
func (m *Metrics) RedisAnswered(after time.Duration) { m.redis.Observe(after.Seconds()) }

// BackupFailed notes that a scheduled backup failed.
func (m *Metrics) BackupFailed() { m.unbacked.Inc() }

// Unconfirmed notes that a revocation was answered without every replica having applied it.
func (m *Metrics) Unconfirmed() { m.unconfirmed.Inc() }

// ForwardedUntrusted notes a forwarding header of a peer that is not believed.
func (m *Metrics) ForwardedUntrusted() { m.untrusted.Inc() }

// Reloaded notes that the configuration was read, and whether it was good.
func (m *Metrics) Reloaded(err error) {
	if err != nil {
		m.reloaded.Set(0)
		return
	}
	m.reloaded.Set(1)
	m.reloadedAt.SetToCurrentTime()
}

// Handler answers with all metrics. Where one of them cannot be had the others are still answered.
func (m *Metrics) Handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	}))
}
