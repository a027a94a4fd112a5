package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/accesslog"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/changes"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/feed"
	"github.com/gatehouse/gatehouse/internal/gate"
	"github.com/gatehouse/gatehouse/internal/gateway"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/metrics"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/internal/usage"
	"github.com/gatehouse/gatehouse/internal/webhook"
)

// Options are what a server is given beside its configuration.
type Options struct {
	Log      io.Writer // access log and program's log; nil: standard error
	Announce io.Writer // where a first start says what a person should know; nil: nowhere
	// Terminal is where somebody sits who may read what nobody else may, as the link for the first operator; nil: nowhere.
	Terminal io.Writer
	Now      func() time.Time // the time of everything; nil: the process's clock
	Version  string           // of the program
	// Sandbox says how credentials misbehave on purpose, and that published ones are served; nil: this is no sandbox.
	Sandbox map[auth.CredentialID]gate.Quirk
	// Listener and AdminListener are open at `listen` and `admin_listen` already, and become the server's; nil: it opens them.
	Listener, AdminListener net.Listener
	// Load reads the configuration anew, for [Server.Reload]. nil: it cannot be, and the file is not watched.
	Load func() (*config.Config, error)

	headTime, stall time.Duration        // of the listener, for tests that have less time; 0: its own
	clock           func() time.Duration // by which what is known grows old, for tests that move it; nil: its own
	hashing         people.Cost          // of passwords, for tests that try many; zero: as ever
}

// A Server is the whole, ready to [Server.Run].
type Server struct {
	current       atomic.Pointer[setup]
	level         slog.LevelVar
	reloading     sync.Mutex // held while a setup is replaced, and for what follows
	lifetimesTold auth.Position
	// background is the context of what runs beside requests; nil before [Server.Run].
	background context.Context

	running sync.WaitGroup // all that runs beside requests
	failed  chan error     // why one of them ended by itself: the first

	opened   *Opened
	options  Options
	log      *slog.Logger
	access   *accesslog.Log
	metrics  *metrics.Metrics
	facts    *facts.Facts
	follower *changes.Follower
	feed     *feed.Feed
	limiter  *limit.Limiter
	redis    *limit.Redis // of limiter; nil: limits are in memory alone
	upgraded gateway.Upgraded
	proofs   *proof.Used // of DPoP; they outlive a configuration: what was used up before a reload is used up after it
	usage    *usage.Counter
	refusals *audit.Refusals
	sealer   *audit.Sealer
	people   *people.People
	told     webhook.Stats // what became of webhooks
	control  *control      // nil with PostgreSQL, where no data directory says which server is meant
	replica  string        // among the replicas
	backedUp atomic.Int64  // when the last good backup was taken, Unix milliseconds, when that was last looked at; 0: none

	durability, doubt string // see [store.DB.Durability]

	expiring atomic.Int64 // credentials that expire soon, when they were last counted

	untrusted struct {
		seen atomic.Int64
		told atomic.Int64 // when it was last logged, Unix seconds
	}

	public, admin         *http.Server
	listener, adminListen *listen.Listener
	certificates          *listen.Certificates // of listener; nil: clear text
	adminCertificates     *listen.Certificates // likewise
	ready                 chan struct{}
	draining              atomic.Bool
}

// New opens the database, loads what must be known before anything is answered, and listens. It answers nothing before
// [Server.Run].
func New(ctx context.Context, c *config.Config, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.Announce == nil {
		o.Announce = io.Discard
	}
	s := &Server{options: o, ready: make(chan struct{}), failed: make(chan error, 1)}
	if err := s.build(ctx, c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) build(ctx context.Context, c *config.Config) error {
	var err error
	if s.access, err = accesslog.New(accesslog.Config{To: s.options.Log, Level: &s.level, Format: accesslog.Format(c.Log.Format)}); err != nil {
		return err
	}
	s.log = s.access.Logger()
	if s.opened, err = Open(ctx, c, OpenOptions{Create: true, Serving: true, Sandbox: s.options.Sandbox != nil, Now: s.options.Now, Log: s.log}); err != nil {
		return err
	}
	if err := s.buildCore(ctx, c); err != nil {
		return err
	}
	first, err := s.newSetup(c)
	if err != nil {
		return err
	}
	s.install(first)
	return s.listen(ctx)
}

// buildCore makes what outlives a configuration.
func (s *Server) buildCore(ctx context.Context, c *config.Config) error {
	db, rings := s.opened.DB, s.opened.Rings
	s.metrics = metrics.New(s.options.Version)
	if err := s.shareLimits(ctx, c); err != nil {
		return err
	}
	s.proofs = proof.NewUsed(mostProofs, db.Now)
	var err error
	s.facts, err = facts.New(facts.Config{
		Store: db, Cache: c.Cache.Credentials, Keep: s.opened.remembered, Now: db.Now,
		Fresh: func() error { return s.follower.Fresh() },
	})
	if err != nil {
		return err
	}
	s.feed, err = feed.New(feed.Config{
		Facts: s.facts, Rings: rings, Issuer: c.Issuer, Age: func() time.Duration { return s.follower.Age() }, Now: db.Now,
	})
	if err != nil {
		return err
	}
	s.replica = replicaID()
	s.follower, err = changes.New(changes.Config{
		Log: db, Root: s.facts, Others: []changes.Holder{ringsHolder{rings}, s.feed}, // which tells what both have applied
		Replica: auth.Replica{ID: s.replica, Started: db.Now(), Version: s.options.Version, Listens: c.Listen},
		Alone:   s.opened.alone(), Clock: s.options.clock,
		MaxStaleness: c.Revocation.MaxStaleness, Logger: s.log, Now: db.Now, Propagated: s.metrics.Propagated,
	})
	if err != nil {
		return err
	}
	s.opened.acknowledge = s.acknowledge
	if s.opened.alone() { // the rows are of earlier runs
		if err := db.ClearReplicas(ctx); err != nil {
			return err
		}
	}
	if err := s.follower.Start(ctx); err != nil {
		return err
	}
	s.tellLifetimes(ctx, c)
	if s.usage, err = usage.New(usage.Config{Store: db, Now: db.Now, Log: s.log}); err != nil {
		return err
	}
	if s.refusals, err = audit.New(audit.Config{Store: db, Now: db.Now, Log: s.log}); err != nil {
		return err
	}
	keys := token.NewAuditKeys(db, s.opened.Masters, db.Now)
	if s.sealer, err = audit.NewSealer(audit.SealerConfig{Store: db, Key: keys.Key, Now: db.Now, Log: s.log}); err != nil {
		return err
	}
	if s.people, err = s.newPeople(c); err != nil {
		return err
	}
	if err := s.readCertificates(c); err != nil {
		return err
	}
	s.opened.recent = func(_ context.Context, f auth.RefusalFilter) []auth.Refusal { return s.refusals.Recent(f) }
	s.watch(c)
	if s.durability, s.doubt, err = db.Durability(ctx); err != nil {
		return err
	}
	if s.opened.alone() {
		s.control, err = newControl(c.DataDir, s.refusals)
	}
	return err
}

// replicaID names this server among others: by the machine, for people, and by chance.
func replicaID() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unnamed"
	}
	return host + "-" + secret.Mint(8)
}

// mostProofs is how many proofs of DPoP are, which come with each call and are over in two minutes.
const mostProofs = 1_000_000

// newGate makes the core, which decides by what c says.
func (s *Server) newGate(c *config.Config, former *gate.Gate) (*gate.Gate, error) {
	return gate.New(gate.Config{
		Store: s.opened.DB, Facts: s.facts, Rings: s.opened.Rings, Log: s.follower, Limiter: s.limiter,
		Acknowledge: func(ctx context.Context, to auth.Position) { s.acknowledge(ctx, to) },
		Issuers:     issuers(c), Audiences: audiences(c), Former: former, Lifetimes: accessLifetimes(c),
		Refresh: c.Tokens.B2B.RefreshLifetime, MaxRenewal: c.Tokens.AccessToken.MaxRenewal,
		ReuseLeeway: c.Tokens.B2B.ReuseLeeway, MaxSessionAge: c.Tokens.B2B.MaxSessionAge, OnReuse: c.Tokens.B2B.OnReuse,
		Limits: gate.Limits{
			ExchangePerAddress:    c.Limits.ExchangePerAddress.AsRate(),
			ExchangePerCredential: c.Limits.ExchangePerCredential.AsRate(),
			FailuresPerAddress:    c.Limits.FailuresPerAddress.AsRate(),
			FailuresPerIdentifier: c.Limits.FailuresPerIdentifier.AsRate(),
			RequestsPerAccount:    c.Limits.RequestsPerAccount.AsRate(),
		},
		Used: usedOnce{s.opened.DB}, Proofs: s.proofs, Quirks: s.options.Sandbox, Seen: c.Cache.Tokens, Now: s.opened.DB.Now,
	})
}

// tellLifetimes returns when every other server that may decide knows that tokens of this one will live longer. Before that none
// may be minted: who thinks that they are dead forgets what was revoked.
func (s *Server) tellLifetimes(ctx context.Context, c *config.Config) {
	if to := s.opened.Rings.Raised(); to > s.lifetimesTold {
		wait := c.Revocation.MaxStaleness + 2*time.Second // then nobody decides who does not know
		if missing, err := s.opened.replicas.Acknowledge(ctx, to, wait, s.follower); len(missing) > 0 || err != nil {
			s.log.Warn("tokens live longer from now on, and not every server has said that it knows", "position", to, "replicas", missing, "error", err)
		}
		s.lifetimesTold = to
	}
}

// ringsHolder lets the rings, and how long tokens live, follow the change log.
type ringsHolder struct {
	rings interface{ Consult(context.Context) error }
}

func (h ringsHolder) Load(ctx context.Context) error { return h.rings.Consult(ctx) }

func (h ringsHolder) Apply(ctx context.Context, entries []auth.Change) error {
	for _, e := range entries {
		if e.Of == auth.ChangedKeys {
			return h.rings.Consult(ctx)
		}
	}
	return nil
}

// Addr is the address customers reach, with the port that was given.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// AdminAddr is the address for operators.
func (s *Server) AdminAddr() string { return s.adminListen.Addr().String() }

// Opened is the database and what is built on it.
func (s *Server) Opened() *Opened { return s.opened }

// Registry does what operators do, on this server. What it changes this server has applied when it answers.
func (s *Server) Registry() *registry.Registry { return s.opened.Registry }

// Ready is closed when the server answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Gate is the core as it is configured now, for whoever embeds the server.
func (s *Server) Gate() *gate.Gate { return s.current.Load().gate }

// Run answers until ctx ends, then lets what is under way end, at most for the configured grace, and stops in order:
// nothing that was acknowledged is lost.
func (s *Server) Run(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	for _, p := range []part{
		{"access log", s.access.Run},
		{"change log", s.follower.Run},
		{"signing keys", s.opened.Rings.Run},
		{"facts", s.facts.Run},
		{"limits", s.limiter.Run},
		{"usage", s.usage.Run},
		{"refusals", s.refusals.Run},
		{"audit trail", s.sealer.Run},
		{"housekeeping", s.keepHouse},
		{"backups", s.keepBackups},
		{"configuration", s.watchConfig},
	} {
		s.start(background, p)
	}
	if s.control != nil {
		s.start(background, part{"control", s.control.Run})
	}
	if s.certificates != nil {
		s.start(background, part{"certificates", s.certificates.Run})
	}
	s.reloading.Lock()
	s.background = background
	s.begin(s.current.Load())
	s.reloading.Unlock()

	s.announce()
	s.inviteFirst(ctx)
	serve := func(server *http.Server, l net.Listener) {
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("serve %s: %w", l.Addr(), err))
		}
	}
	go serve(s.public, s.listener)
	go serve(s.admin, s.adminListen)
	close(s.ready)

	var err error
	select {
	case <-ctx.Done():
	case err = <-s.failed:
		s.log.Error("the server stops: one of its parts failed", "error", err)
	}
	longest := s.config().ShutdownGrace
	s.log.Info("stopping", "grace", longest.String())
	s.draining.Store(true)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), longest)
	defer cancel()
	if stopped := s.public.Shutdown(grace); stopped != nil {
		s.log.Warn("some requests had not ended when the grace was over; their connections are cut", "grace", longest.String())
		_ = s.public.Close()
	}
	s.upgraded.Close()
	_ = s.admin.Shutdown(grace) // whoever reads metrics comes again
	s.reloading.Lock()
	s.background = nil // nothing begins any more
	s.reloading.Unlock()
	stopBackground()
	s.running.Wait()
	return errors.Join(err, s.close())
}

// start lets a part run until ctx ends.
func (s *Server) start(ctx context.Context, p part) {
	s.running.Go(func() {
		if err := p.run(ctx); err != nil {
			s.fail(fmt.Errorf("%s: %w", p.name, err))
		}
	})
}

// fail has the server stop, for this reason unless there is one already.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// close gives everything back, however far [New] came.
func (s *Server) close() error {
	var err error
	for _, server := range []*http.Server{s.public, s.admin} {
		if server != nil {
			err = errors.Join(err, server.Close())
		}
	}
	for _, l := range []*listen.Listener{s.listener, s.adminListen} {
		if l != nil {
			_ = l.Close() // closed already, where the server ran
		}
	}
	if u := s.current.Load(); u != nil && u.gateway != nil {
		u.gateway.Close()
	}
	if s.limiter != nil {
		err = errors.Join(err, s.limiter.Close())
	}
	if s.opened != nil {
		err = errors.Join(err, s.opened.Close())
	}
	if s.access != nil {
		err = errors.Join(err, s.access.Close())
	}
	return err
}

// keepHouseEvery is how often what is over is removed.
const keepHouseEvery = 10 * time.Minute

// keepHouse removes what its time has passed, in small batches, and counts what operators want to be warned of.
func (s *Server) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(keepHouseEvery)
	defer tick.Stop()
	for {
		if err := s.cleanOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("housekeeping failed; it is tried again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
