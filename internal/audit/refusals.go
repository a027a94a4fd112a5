// Package audit keeps who was refused and why, and says it in plain words; and it seals the audit trail. What changed something it
// leaves to the store, where such an act is written in the transaction of the change, and to chain how a trail proves itself.
//
// The invariants: a refusal costs its request next to nothing and never makes it wait, and what callers send, however much
// and however varied, fills neither the memory nor the disk; an act is put into the chain once, whoever else seals.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

const (
	remembered = time.Hour
	inMemory   = 50_000
	mostIDs    = 20 // request ids of one row that are stored; memory knows more

	perMinute = 1000 // rows written
	strangers = 750  // of these, at most so many about nobody we know: noise must not push out customers
	perSource = 100  // rows in a minute about one address; what is over is counted with less detail

	atOnce   = 200  // rows of one write: a transaction that holds up no login
	unsaved  = 5000 // rows kept while the store is away; the oldest, for they show how it began
	mostText = 256  // bytes of what a caller wrote
	mostPath = 512
)

// A Store keeps refusals, all of them or none.
type Store interface {
	WriteRefusals(ctx context.Context, rows []auth.Refusal) error
}

// Config is what [Refusals] are made of.
type Config struct {
	Store Store
	Now   func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil: nobody reads it
	// Memory is how many rows of the last hour are kept in memory; 0 stands for 50,000. A row takes about 700 bytes.
	Memory int
}

// Refusals gathers refusals. It is safe for concurrent use.
type Refusals struct {
	store Store
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex // never held while writing
	size  int        // of both rings
	rows  []*row     // a ring: row n lies at n % size; nil until there is one
	first uint64     // the oldest row that is still here
	next  uint64     // the next row's number
	open  map[key]*row
	due   []*row   // not written yet, the open ones among them
	late  []lateID // a ring too
	lates uint64   // how many late ids there ever were

	minute  int64 // since 1970: which minute the next two are of
	sources map[netip.Prefix]int
	wrote   minuteOf
	over    int64 // refusals that were not written because there were too many

	writing writer
}

// A row is one refusal, or several of one second that are equal.
type row struct {
	auth.Refusal
	number uint64
	key    key
}

// A lateID is the id of a request that was counted in a row which has its ids already.
type lateID struct {
	id     string
	number uint64
}

// A key is what refusals have in common that are counted in one row.
type key struct {
	second   int64
	reason   auth.Reason
	observed bool
	contract auth.Contract
	status   int
	route    string
	method   string
	host     string
	path     string
	subject  auth.Subject
	of       verify.Type // the token's
	source   netip.Addr
	peer     netip.Addr
	limit    string
}

// New returns Refusals. Nothing is written until their [Refusals.Run] is called.
func New(c Config) (*Refusals, error) {
	if c.Store == nil {
		return nil, errors.New("audit: nowhere to write refusals to")
	}
	r := &Refusals{store: c.Store, now: c.Now, log: c.Log, open: make(map[key]*row), sources: make(map[netip.Prefix]int)}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if c.Memory <= 0 {
		c.Memory = inMemory
	}
	r.size = c.Memory
	return r, nil
}

// Unwritten is how many refusals were counted and not written, because there were too many of them.
func (r *Refusals) Unwritten() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// Note keeps a request that was refused, or would have been, were its route not only observed. One that was let in is none
// of its business.
func (r *Refusals) Note(o *auth.Observation) {
	if o.Reason == auth.ReasonNone && o.Observed == auth.ReasonNone {
		return
	}
	k := keyOf(o)
	r.mu.Lock()
	defer r.mu.Unlock()
	if same := r.open[k]; same != nil {
		r.count(same, o)
		return
	}
	folded := false
	if source := sourceOf(k.source); r.crowded(source, k.second/60) {
		// One address with many different requests: a scanner. What it asks for is left out, who it is and why it was
		// refused is not, so that it fills a row a second where it would have filled thousands.
		k.method, k.host, k.path, k.peer, k.source = "", "", "", netip.Addr{}, source.Addr()
		folded = true
		if same := r.open[k]; same != nil {
			r.count(same, o)
			return
		}
	}
	r.count(r.add(k, o, folded), o)
}

func keyOf(o *auth.Observation) key {
	return key{
		second: o.At.Unix(), reason: reasonOf(o), observed: o.Observed != auth.ReasonNone, contract: o.Contract, status: o.Status, route: o.Route,
		method: short(o.Caller.Method, mostText), host: short(o.Caller.Host, mostText), path: short(o.Caller.Path, mostPath),
		subject: o.Subject, of: o.Type, source: o.Caller.Address, peer: o.Caller.Peer, limit: limitOf(o),
	}
}

// reasonOf is what an observed route would have refused it for, or else what it was refused for.
func reasonOf(o *auth.Observation) auth.Reason {
	if o.Observed != auth.ReasonNone {
		return o.Observed
	}
	return o.Reason
}

// limitOf is the limit that was reached. What else the limiter found has nothing to do with the refusal.
func limitOf(o *auth.Observation) string {
	if reasonOf(o) == auth.ReasonRateLimited {
		return o.Limit.Name
	}
	return ""
}

// sourceOf is whoever has the address: of IPv6 anybody has a /64.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address
	}
	return p
}

// crowded counts a row of source and says whether it had too many this minute.
func (r *Refusals) crowded(source netip.Prefix, minute int64) bool {
	if minute > r.minute {
		r.minute = minute
		clear(r.sources)
	}
	if len(r.sources) >= r.size {
		return true // more addresses than rows: nobody needs the detail of any
	}
	r.sources[source]++
	return r.sources[source] > perSource
}

// add makes the row of k.
func (r *Refusals) add(k key, o *auth.Observation, folded bool) *row {
	// The row has copies of its own and does not hold on to the request or the token that these were cut from.
	k.method, k.host, k.path = strings.Clone(k.method), strings.Clone(k.host), strings.Clone(k.path)
	k.subject.Credential = auth.CredentialID(strings.Clone(string(k.subject.Credential)))
	k.subject.Session = auth.SessionID(strings.Clone(string(k.subject.Session)))
	k.of = verify.Type(strings.Clone(string(k.of)))
	n := &row{number: r.next, key: k, Refusal: auth.Refusal{
		At: o.At, Method: shown(k.method, mostText), Host: shown(k.host, mostText), Path: shown(auth.LoggedPath(k.path), mostPath),
		Route: k.route, Contract: k.contract, Status: k.status, Reason: k.reason, Subject: k.subject, Type: k.of,
		Address: o.Caller.Address.WithZone(""), Peer: o.Caller.Peer.WithZone(""),
		Forwarded: shown(o.Caller.Forwarded, mostPath), UserAgent: shown(o.Caller.UserAgent, mostText),
		Limit: k.limit, IssuedAt: o.IssuedAt,
	}}
	switch {
	case k.observed:
		n.Detail = "it was let through, without identity headers: the route is only observed (observe_until)"
	case folded:
		n.Detail = "one of many different requests of this address, which are counted together"
	case o.Err != nil: // what went wrong on our side, or with a proxy of ours
		n.Detail = shown(o.Err.Error(), mostPath)
	}
	if r.rows == nil {
		r.rows = make([]*row, r.size)
	}
	size := uint64(r.size)
	if r.next-r.first == size {
		r.first++
	}
	r.rows[r.next%size] = n
	r.next++
	if len(r.due) >= r.size {
		r.over++ // the store has been away for long, and so many wait that this one is only remembered
		return n
	}
	r.open[k] = n
	r.due = append(r.due, n)
	return n
}

// count counts o in its row.
func (r *Refusals) count(in *row, o *auth.Observation) {
	in.Count++
	id := o.Caller.RequestID
	if id == "" {
		return
	}
	if len(id) > mostText {
		id = shown(id, mostText)
	}
	if len(in.RequestIDs) < mostIDs {
		in.RequestIDs = append(in.RequestIDs, id)
		return
	}
	if r.late == nil {
		r.late = make([]lateID, r.size)
	}
	r.late[r.lates%uint64(r.size)] = lateID{id, in.number}
	r.lates++
}

// short is the beginning of s. It need not end with a whole letter.
func short(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

// shown is a copy of s that can be kept, stored and shown: short, masked, and with U+FFFD for whatever is no printable
// character. A database would refuse NUL and what is no UTF-8, and a terminal would obey the rest.
func shown(s string, most int) string {
	s = auth.Masked(short(s, most))
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return utf8.RuneError
		}
		return c
	}, s)
	return strings.Clone(s)
}
