package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// mostRoutes bounds the label. Routes come from the configuration alone; this is for the day that a mistake of ours lets a
// path in.
const mostRoutes = 1000

// noRoute is the label of what matched no route and none of our own addresses, and of what is one too many.
const noRoute = "none"

// classes are of statuses, by their first digit; 0 stands for a connection that broke before an answer.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// routes are the histograms by route. The map is never written to, but replaced by a larger one: finding a route's costs
// no lock and no allocation.
type routes struct {
	durations, upstreams *prometheus.HistogramVec

	known atomic.Pointer[map[string]*route]
	grow  sync.Mutex
}

type route struct {
	label     string
	durations [len(classes)]lazy
	upstream  lazy
}

// A lazy is a histogram that appears once it has something to show: most routes never answer with most classes.
type lazy struct {
	observer atomic.Pointer[prometheus.Observer]
}

func (l *lazy) observe(d time.Duration, vec *prometheus.HistogramVec, labels func() []string) {
	o := l.observer.Load()
	if o == nil {
		made := vec.WithLabelValues(labels()...) // the same for everybody who comes here at once
		o = &made
		l.observer.Store(o)
	}
	(*o).Observe(d.Seconds())
}

func (m *Metrics) newRequests() {
	buckets := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	r := &m.routes
	r.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatehouse_request_duration_seconds",
		Help:    "How long requests took, by route or own address, and class of status.",
		Buckets: buckets,
	}, []string{"route", "class"})
	r.upstreams = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatehouse_upstream_duration_seconds",
		Help:    "How much of that the API behind the gateway took, by route.",
		Buckets: buckets,
	}, []string{"route"})
	known := map[string]*route{noRoute: {label: noRoute}}
	r.known.Store(&known)
	m.registry.MustRegister(r.durations, r.upstreams)
}

func (r *routes) note(o *auth.Observation) {
	on := r.route(o.Route)
	class := o.Status / 100
	if class < 0 || class >= len(classes) {
		class = 0
	}
	on.durations[class].observe(o.Duration, r.durations, func() []string { return []string{on.label, classes[class]} })
	if o.Upstream > 0 {
		on.upstream.observe(o.Upstream, r.upstreams, func() []string { return []string{on.label} })
	}
}

func (r *routes) route(path string) *route {
	known := *r.known.Load()
	if path == "" {
		path = noRoute
	}
	if on := known[path]; on != nil {
		return on
	}
	if len(known) >= mostRoutes {
		return known[noRoute]
	}
	r.grow.Lock()
	defer r.grow.Unlock()
	known = *r.known.Load()
	if on := known[path]; on != nil {
		return on
	}
	if len(known) >= mostRoutes {
		return known[noRoute]
	}
	more := maps.Clone(known)
	more[path] = &route{label: path}
	r.known.Store(&more)
	return more[path]
}
