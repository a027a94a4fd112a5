package upstream

import (
	"net/http"
	"net/url"
	"sync/atomic"
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
}

// pick returns the server with the fewest calls under way, of those that the trip has not been to; nil: there is none. The
// call counts as under way from here on.
func (p *Pool) pick(t *Trip) *member {
	first := 0
	if len(p.members) > 1 {
		first = int(p.next.Add(1) % uint32(len(p.members)))
	}
	var best *member
	for i := range p.members {
		m := p.members[(first+i)%len(p.members)]
		if !t.been(m) && (best == nil || m.calls.Load() < best.calls.Load()) {
			best = m
		}
	}
	if best != nil {
		best.calls.Add(1)
	}
	return best
}

// direct points u, which has the path below the server's own, at the server.
func (m *member) direct(u *url.URL, path, raw string) {
	u.Scheme, u.Host, u.Path, u.RawPath = m.server.Scheme, m.server.Host, path, raw
	if m.server.Path != "" {
		u.Path, u.RawPath = m.path+path, m.server.Path+raw
	}
}
