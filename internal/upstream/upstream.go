// Package upstream brings calls to the APIs behind the gateway. An API may run on several servers that can each take every
// call: it picks one, keeps away from those that fail, and goes on to another where the first was no use. What a call is,
// and what becomes of its answer, it leaves to gateway.
//
// The invariant: nothing is sent a second time that a server may have acted on. What was sent nowhere may go anywhere; what
// was sent and not answered goes on only if it can change nothing (GET, HEAD, OPTIONS without a body), and never after a
// wait. Answers pass untouched, whatever their status.
package upstream

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A Server is one of the servers of an API.
type Server struct {
	Scheme, Host string // "http" or "https", and the host with its port
	Path         string // put before the path of every call, escaped, without a slash at its end
}

// String is the server's URL.
func (s Server) String() string { return s.Scheme + "://" + s.Host + s.Path }

// Timeouts bound how long a server is waited for. There is none on a body under way: it may be a stream.
type Timeouts struct {
	Connect time.Duration // until there is a connection, and again until it is encrypted
	Answer  time.Duration // from the end of the request to the head of the answer; 0: as long as it likes
}

// TLS is how servers with the scheme https are known.
type TLS struct {
	Roots      *x509.CertPool // who may have signed their certificates; nil: whom the system trusts
	ServerName string         // the name in their certificates, which they are asked for; "": the host of each
}

// Config says what a [Set] needs.
type Config struct {
	// Transport carries the calls; timeouts and TLS are then its own affair. nil: there is one for each server.
	Transport http.RoundTripper
	Log       *slog.Logger     // nil: nowhere
	Now       func() time.Time // nil: time.Now
}

// A Set is all servers of a gateway: the connections to them, and what is known of them. It is filled before it is used, and
// is then safe for concurrent use.
type Set struct {
	given      http.RoundTripper
	log        *slog.Logger
	now        func() time.Time
	transports map[way]http.RoundTripper
	checks     map[question]*check
	pools      []*Pool
}

// A way is what calls must have in common to share connections.
type way struct {
	scheme, host string
	timeouts     Timeouts
	tls          TLS
}

// New returns a set with nothing in it.
func New(c Config) *Set {
	s := &Set{given: c.Transport, log: c.Log, now: c.Now, transports: make(map[way]http.RoundTripper), checks: make(map[question]*check)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Options say what a [Pool] is made of.
type Options struct {
	Route    string   // whose servers they are, for metrics and the log
	Servers  []Server // at least one, and none twice
	Timeouts Timeouts
	TLS      TLS
	Breaking Breaking
	Health   Health
}

// Add makes a pool.
func (s *Set) Add(o Options) *Pool {
	p := &Pool{route: o.Route, set: s}
	for _, server := range o.Servers {
		path, _ := url.PathUnescape(server.Path) // it passed the path check
		transport := s.transport(server, o)
		p.members = append(p.members, &member{
			server: server, name: server.String(), path: path, transport: transport,
			check: s.check(server, o, transport), breaker: breaker{Breaking: o.Breaking, now: s.now},
		})
	}
	s.pools = append(s.pools, p)
	return p
}

// transport is what carries the calls of a pool to one of its servers.
func (s *Set) transport(server Server, o Options) http.RoundTripper {
	if s.given != nil {
		return s.given
	}
	key := way{server.Scheme, server.Host, o.Timeouts, o.TLS}
	if s.transports[key] == nil {
		s.transports[key] = NewTransport(o.Timeouts, o.TLS)
	}
	return s.transports[key]
}

// Close closes the connections that wait for a next call, if they are our own. Calls under way go on.
func (s *Set) Close() {
	for _, t := range s.transports {
		closeIdle(t)
	}
}

func closeIdle(t http.RoundTripper) {
	if c, ok := t.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// A Standing is how the servers of a route stand.
type Standing struct {
	Route   string
	Retries int64           // calls that went on to another server
	Healthy map[string]bool // by the server's URL: whether it is well, and its breaker closed
}

// Standings returns those of all routes, in the order they were added. Routes of one name are one: a server is then healthy
// if it is for all of them.
func (s *Set) Standings() []Standing {
	var all []Standing
	for _, p := range s.pools {
		i := slices.IndexFunc(all, func(other Standing) bool { return other.Route == p.route })
		if i < 0 {
			i, all = len(all), append(all, Standing{Route: p.route, Healthy: make(map[string]bool)})
		}
		all[i].Retries += p.retries.Load()
		for _, m := range p.members {
			healthy := m.well() && m.breaker.until.Load() == 0
			if before, ok := all[i].Healthy[m.name]; ok {
				healthy = healthy && before
			}
			all[i].Healthy[m.name] = healthy
		}
	}
	return all
}
