package upstream

import (
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// A Pool is the servers of one route's API.
type Pool struct {
	route   string
	set     *Set
	members []*member
	next    atomic.Uint32 // who is looked at first: of equals each takes its turn
	retries atomic.Int64
}

// A member is a server as one route sees it.
type member struct {
	server    Server
	name      string
	path      string // of the server, unescaped
	transport http.RoundTripper
	calls     atomic.Int64 // under way
	breaker   breaker
	check     *check // nil: nobody asks whether it is well
}

func (m *member) well() bool { return m.check == nil || !m.check.unwell.Load() }

// Unavailable is why a call was sent nowhere: every server of its API has failed lately, and has its rest.
type Unavailable struct {
	Route      string
	RetryAfter time.Duration // when the first of them gets a call again
}

func (e *Unavailable) Error() string {
	return "no server of the API of " + e.Route + " is asked now: each has failed too often in a row"
}

// pick returns a server that the trip has not been to and whose breaker lets a call in: one that is well before one that is
// not, then one with fewer calls under way. One that is not well is better than none: it may be only the address of its
// checks that is broken. The call counts as under way from here on; trial is the breaker's. If no breaker lets it in, the
// error is an [*Unavailable].
func (p *Pool) pick(t *Trip) (m *member, trial int64, err error) {
	first := 0
	if len(p.members) > 1 {
		first = int(p.next.Add(1) % uint32(len(p.members)))
	}
	for {
		var best *member
		rest := time.Duration(math.MaxInt64)
		for i := range p.members {
			m := p.members[(first+i)%len(p.members)]
			if left := m.breaker.rest(); left > 0 {
				rest = min(rest, left)
			} else if !t.been(m) && m.before(best) {
				best = m
			}
		}
		if best == nil {
			return nil, 0, &Unavailable{p.route, rest}
		}
		if trial, in := best.breaker.enter(); in {
			best.calls.Add(1)
			return best, trial, nil
		} // another call was first to try it
	}
}

// before says whether a call is better off at m than at other, which may be nil.
func (m *member) before(other *member) bool {
	if other == nil {
		return true
	}
	if well := m.well(); well != other.well() {
		return well
	}
	return m.calls.Load() < other.calls.Load()
}

func (p *Pool) answered(m *member) {
	if m.breaker.answered() {
		p.set.log.Info("an upstream answers again and gets calls", "route", p.route, "upstream", m.name)
	}
}

func (p *Pool) failed(m *member, trial int64, err error) {
	if m.breaker.failed(trial) {
		p.set.log.Warn("an upstream gets no calls for a while: too many in a row failed", "route", p.route, "upstream", m.name,
			"failures", m.breaker.Failures, "open_for", m.breaker.OpenFor.String(), "error", err)
	}
}

// direct points u, which has the path below the server's own, at the server.
func (m *member) direct(u *url.URL, path, raw string) {
	u.Scheme, u.Host, u.Path, u.RawPath = m.server.Scheme, m.server.Host, path, raw
	if m.server.Path != "" {
		u.Path, u.RawPath = m.path+path, m.server.Path+raw
	}
}
