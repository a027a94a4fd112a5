// Package feed tells verifiers elsewhere what was revoked: GET /.well-known/gatehouse-revocations, as
// docs/revocation-feed.md has it. It only translates: what is restricted is for facts to say, which keys there are for
// token, and who may ask for whoever wires it.
//
// The invariants: who has an answer of position P, and applies it to what the feed told before, refuses everything that
// this server refuses at P for having been revoked; an answer never claims to be younger or further on than what it was made
// of; however many wait, and however many revocations there are, an answer costs a few pages of memory.
package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// Path is the address of the feed.
const Path = "/.well-known/gatehouse-revocations"

const (
	// longestWait is how long an answer is held back at most for something to say.
	longestWait = 30 * time.Second

	// catchUp is how long a server that is behind the one who asks tries to come up to him: he was at another replica before.
	catchUp = 2 * time.Second

	// mostRecent is from how many changes ago one can go on without a full answer.
	mostRecent = 1 << 14

	// mostFull is how many full answers go out at once.
	mostFull = 8
)

// Config says what is told.
type Config struct {
	Facts  *facts.Facts
	Rings  *token.Rings
	Issuer string
	// Age is how old the facts are.
	Age     func() time.Duration
	Waiting int              // how many requests may wait at once; 0 stands for 1000
	Now     func() time.Time // nil means time.Now
}

// A Feed answers from memory and is safe for concurrent use. As a holder of what the change log says it comes after facts
// and rings: what it hears of they have applied.
type Feed struct {
	config Config
	now    func() time.Time

	waiting atomic.Int64
	full    chan struct{} // a place for each full answer that goes out
	stopped chan struct{}
	stop    sync.Once

	mu          sync.Mutex
	incarnation string
	at          auth.Position
	recent      []auth.Change // up to at, without gaps; one can go on from the number before the first
	moved       chan struct{} // closed and replaced whenever there is something to tell

	sharing sync.Mutex
	shared  shared
}

// shared is the last answer that tells changes. Those who waited together get the same one, signed once.
type shared struct {
	incarnation string
	after, at   auth.Position
	made        time.Time // when it was begun
	pages       [][]byte
}

// New returns a Feed that has nothing to tell before [Feed.Load].
func New(c Config) (*Feed, error) {
	if c.Facts == nil || c.Rings == nil || c.Issuer == "" || c.Age == nil {
		return nil, errors.New("feed: facts, rings, issuer and age are all needed")
	}
	if c.Waiting == 0 {
		c.Waiting = 1000
	}
	f := &Feed{
		config: c, now: c.Now, full: make(chan struct{}, mostFull), stopped: make(chan struct{}), moved: make(chan struct{}),
	}
	if f.now == nil {
		f.now = time.Now
	}
	return f, nil
}

// Load begins anew at the position that the facts are of: from before it nobody can go on.
func (f *Feed) Load(context.Context) error {
	incarnation, at := f.config.Facts.At()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.incarnation, f.at, f.recent = incarnation, at, nil
	f.wake()
	return nil
}

// Apply takes changes that the facts and the rings have applied.
func (f *Feed) Apply(_ context.Context, changes []auth.Change) error {
	if len(changes) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = changes[len(changes)-1].Number
	f.recent = append(f.recent, changes...)
	if len(f.recent) > 2*mostRecent { // not one by one, or each would move all of them
		f.recent = append([]auth.Change(nil), f.recent[len(f.recent)-mostRecent:]...)
	}
	f.wake()
	return nil
}

// wake is called with mu held.
func (f *Feed) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// Stop lets everybody who waits have an answer now, and nobody wait any more: the server ends.
func (f *Feed) Stop() { f.stop.Do(func() { close(f.stopped) }) }

// Waiting is how many requests wait for something to happen.
func (f *Feed) Waiting() int64 { return f.waiting.Load() }

// Address is the address of the feed, open to everybody: whoever wires it puts the asking for [auth.ScopeRevocations] in
// front.
func (f *Feed) Address() web.Address {
	return web.Address{Path: Path, Methods: map[string]web.Handler{http.MethodGet: f.serve}}
}

// serve serves GET /.well-known/gatehouse-revocations.
func (f *Feed) serve(w http.ResponseWriter, r *web.Request) error {
	arrived := time.Now()
	q, err := parseQuery(r.RawQuery)
	if err != nil {
		return err
	}
	if err := f.config.Facts.Fresh(); err != nil {
		return err
	}
	n, err := f.wait(r.Context(), q)
	if err != nil {
		return err
	}
	if err := f.config.Facts.Fresh(); err != nil { // what was known may have grown too old to tell
		return err
	}
	if n.standing == lost {
		err = f.tellAll(w, n)
	} else {
		err = f.tell(w, q.after, n, arrived)
	}
	switch {
	case errors.Is(err, errGone):
		return nil // nobody is there to be told
	case errors.Is(err, token.ErrNoPublicKey):
		return web.Reply(w, http.StatusNotImplemented, noFeed)
	}
	return err
}

// errGone says that the one who asked does not take the answer.
var errGone = errors.New("the answer cannot be sent")

// noFeed is the answer where tokens are signed with shared secrets: nobody elsewhere could check them, or a page of this.
var noFeed = []byte(`{"error":"invalid_request","error_description":"Tokens are signed with HS256: only this server can check them, and there is no feed"}`)

// How the feed stands to what somebody knows.
type standing int

const (
	lost   standing = iota // it is of another incarnation, too old, or nothing
	behind                 // it is ahead of this server
	still                  // nothing happened since
	moved                  // something did
)

// news are what there is to tell.
type news struct {
	standing    standing
	incarnation string
	at          auth.Position
	changes     []auth.Change // since what is known, up to at
	// age is how old what is told was when it was looked at. It is asked for first, or a change that comes between would be
	// missing from what claims to have it.
	age    time.Duration
	looked time.Time
	more   <-chan struct{} // closed when there is more
}

// look says what happened since.
func (f *Feed) look(q query) news {
	n := news{age: f.config.Age(), looked: time.Now()}
	f.mu.Lock()
	defer f.mu.Unlock()
	n.incarnation, n.at, n.more = f.incarnation, f.at, f.moved
	first := f.at - auth.Position(len(f.recent))
	switch {
	case q.incarnation != f.incarnation || q.after < first:
		n.standing = lost
	case q.after > f.at:
		n.standing = behind
	case q.after == f.at:
		n.standing = still
	default:
		n.standing, n.changes = moved, slices.Clip(f.recent[q.after-first:])
	}
	return n
}

// wait returns what there is to tell, as soon as that is something, or its time is over, or the server ends.
func (f *Feed) wait(ctx context.Context, q query) (news, error) {
	var end <-chan time.Time
	over := false
	for {
		n := f.look(q)
		within := q.wait
		if n.standing == behind {
			within = max(within, catchUp)
		}
		switch {
		case n.standing == lost, n.standing == moved, n.standing == still && (over || within == 0):
			return n, nil
		case over:
			return n, overloaded("this server has not applied yet what the one who asks has seen elsewhere")
		}
		if end == nil {
			if f.waiting.Add(1) > int64(f.config.Waiting) {
				f.waiting.Add(-1)
				return n, overloaded("too many wait for the revocation feed already")
			}
			defer f.waiting.Add(-1)
			timer := time.NewTimer(within)
			defer timer.Stop()
			end = timer.C
		}
		select {
		case <-n.more:
		case <-end:
			over = true
		case <-f.stopped:
			over = true
		case <-ctx.Done():
			over = true // nobody listens; what is told then costs little
		}
	}
}

func overloaded(why string) error {
	e := auth.ErrOverloaded.From(errors.New(why))
	e.RetryAfter = time.Second
	return e
}

// tell answers with changes.
func (f *Feed) tell(w http.ResponseWriter, after auth.Position, n news, arrived time.Time) error {
	all, err := f.changes(after, n, arrived)
	if err != nil {
		return err
	}
	length := 0
	for _, page := range all {
		length += len(page)
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(length)}
	send := f.sender(w)
	for _, page := range all {
		if err := send(page); err != nil {
			return err
		}
	}
	return nil
}

// changes makes the pages that tell changes, or takes those made for another who waited for the same: made after this
// request had arrived, they are no older than it may believe.
func (f *Feed) changes(after auth.Position, n news, arrived time.Time) ([][]byte, error) {
	if len(n.changes) > 0 {
		f.sharing.Lock()
		defer f.sharing.Unlock()
		if s := &f.shared; s.incarnation == n.incarnation && s.after == after && s.at == n.at && !s.made.Before(arrived) {
			return s.pages, nil
		}
	}
	made := time.Now()
	var all [][]byte
	p := f.pages(n, false, func(page []byte) error {
		all = append(all, page)
		return nil
	})
	incarnation, of := f.config.Facts.RestrictionsOf(n.changes)
	if incarnation != n.incarnation {
		return nil, errLoading
	}
	err := p.add(&of)
	if err == nil {
		err = p.close(true)
	}
	if err == nil && len(n.changes) > 0 {
		f.shared = shared{incarnation: n.incarnation, after: after, at: n.at, made: made, pages: all}
	}
	return all, err
}

// errLoading is what there is to say while the facts are of another incarnation than the feed has heard of.
var errLoading = overloaded("everything is being loaded anew")

// tellAll answers with everything, page by page as they are made.
func (f *Feed) tellAll(w http.ResponseWriter, n news) error {
	select {
	case f.full <- struct{}{}:
		defer func() { <-f.full }()
	default:
		return overloaded("too many full answers of the revocation feed go out already")
	}
	incarnation, at, all := f.config.Facts.Restrictions(portion)
	if incarnation != n.incarnation {
		return errLoading
	}
	// The facts can be ahead of the rings, and of the feed; while they are loaded anew also behind.
	n.at = min(n.at, at)
	p := f.pages(n, true, f.sender(w))
	for r := range all {
		if err := p.add(r); err != nil {
			return err
		}
	}
	return p.close(true)
}

// portion is how many facts are looked at before somebody else may change them.
const portion = 1024

// pages begins an answer.
func (f *Feed) pages(n news, full bool, send func([]byte) error) *pages {
	now := f.now()
	h := head{
		Issuer: f.config.Issuer, IssuedAt: now.Unix(), Version: version, Answer: secret.Mint(16), Full: full,
		Incarnation: n.incarnation, Position: int64(n.at), Age: (n.age + time.Since(n.looked)).Milliseconds() + 1,
		RevokedKeys: names(f.config.Rings.Revoked()),
	}
	return newPages(h, func(payload []byte) ([]byte, error) { return f.config.Rings.Sign(verify.RevocationsType, payload, now) }, send)
}

// mediaType is that of an answer: one page a line.
var mediaType = []string{"application/" + verify.RevocationsType}

// sender sends pages, and the head of the answer before the first.
func (f *Feed) sender(w http.ResponseWriter) func([]byte) error {
	begun := false
	return func(page []byte) error {
		if !begun {
			begun = true
			h := w.Header()
			h["Content-Type"] = mediaType
			h["X-Content-Type-Options"] = []string{"nosniff"}
			h["Cache-Control"] = []string{"no-store"}
			w.WriteHeader(http.StatusOK)
		}
		if _, err := w.Write(page); err != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		return nil
	}
}
