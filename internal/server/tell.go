package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/metrics"
	"github.com/gatehouse/gatehouse/internal/store"
)

// alive says whether the process can do anything at all.
func (s *Server) alive() error { return nil }

// readiness says why no request should be sent here now; nil when all is well.
func (s *Server) readiness() error {
	if s.draining.Load() {
		return errors.New("the server is stopping")
	}
	if err := s.follower.Fresh(); err != nil {
		return errors.New("what was revoked is not known well enough: the log says why")
	}
	if err := s.opened.DB.Broken(); err != nil {
		return errors.New("the database cannot be written: the log says why")
	}
	return nil
}

// announce says what a person at the terminal should know, and logs what the machine should keep. No secret is in either.
func (s *Server) announce() {
	c, proxies := s.config(), s.current.Load().proxies
	s.log.Info("serving", "listen", s.Addr(), "admin_listen", s.AdminAddr(), "issuer", c.Issuer, "environment", c.Environment,
		"database", s.opened.DB.Path(), "schema", s.opened.To, "version", s.options.Version, "durability", s.durability,
		"revocation", s.promise(), "replica", s.follower.ID())
	if s.doubt != "" {
		s.log.Warn(s.doubt)
	}
	if c.Database.Set() && store.URLUnproven(c.Database.Reveal()) {
		s.log.Warn("nobody proves that it is your database that answers: unless the network to it is yours alone, add sslmode=verify-full and sslrootcert=FILE to the URL of database")
	}
	switch {
	case s.opened.From == 0 || s.opened.From == s.opened.To:
	case s.opened.alone():
		s.log.Info("the database was migrated; a copy from before lies in the folder backups beside it", "from", s.opened.From, "to", s.opened.To)
	default:
		s.log.Info("the database was migrated", "from", s.opened.From, "to", s.opened.To)
	}
	if host, _, err := net.SplitHostPort(s.Addr()); err == nil && s.certificates == nil && !net.ParseIP(host).IsLoopback() && proxies.Len() == 0 {
		s.log.Warn("this server is reachable from other machines without TLS, so credentials travel in clear text: set tls.cert_file and tls.key_file, or tls.acme, or put a proxy with TLS in front and name it in trusted_proxies")
	}
	if proxies.Everyone() {
		s.log.Warn("trusted_proxies holds every address of a family: any caller can say where he comes from, and allowlists are worth nothing")
	}
	if !s.opened.Born {
		return
	}
	scheme := func(certificates *listen.Certificates) string {
		if certificates != nil {
			return "https"
		}
		return "http"
	}
	key := "given by the configuration"
	if !c.MasterKey.Set() {
		key = MasterKeyPath(c.DataDir)
	}
	fmt.Fprintf(s.options.Announce, `A new database was made.
  data        %s
  master key  %s
              Keep a copy of the key elsewhere: without it no backup of the data can be used.
  listening   %s://%s for customers, %s://%s for operators
  next        gatehouse account create --name "First customer"
              gatehouse credential create --account 100001 --kind api-key
`, s.opened.DB.Path(), key, scheme(s.certificates), s.Addr(), scheme(s.adminCertificates), s.AdminAddr())
}

// promise says in one sentence how long what was revoked can still be accepted.
func (s *Server) promise() string {
	r := s.config().Revocation
	if r.Wait > r.MaxStaleness {
		return fmt.Sprintf("no revocation is answered before it holds everywhere; verification stops %v into an outage of the database", r.MaxStaleness)
	}
	return fmt.Sprintf("a revocation holds at once wherever the database can be reached, and no later than %v where not", r.MaxStaleness)
}

// cleanOnce removes what its time has passed, and puts in order what a former version left.
func (s *Server) cleanOnce(ctx context.Context) error {
	if offset := s.opened.DB.ClockOffset(); offset.Abs() > farOff {
		s.log.Warn("this machine's clock is not the database's, which is the one that counts: times in this log are off; set both with NTP", "offset", offset)
	}
	now := s.opened.DB.Now()
	expiring, err := s.opened.DB.CountExpiring(ctx, now, now.Add(expiringWithin))
	if err != nil {
		return err
	}
	s.expiring.Store(expiring)
	if err := s.opened.DB.IndexAccounts(ctx); err != nil {
		return err
	}
	c, keep := s.config(), s.opened.remembered()
	var replicas time.Time
	if !s.opened.alone() { // one that is alone does not tell that it is there
		replicas = now.Add(-replicaMemory)
	}
	old := now.Add(-c.Audit.Retention)
	if err := s.sealer.Prune(ctx, old); err != nil {
		return err
	}
	return s.opened.DB.Prune(ctx, store.PruneBefore{
		Replicas: replicas, Audit: old, Refusals: now.Add(-c.Refusals.Retention), Seen: now.Add(-seenMemory),
		Usage: old, Sessions: now.Add(-sessionMemory - keep), Changes: now.Add(-keep - 24*time.Hour),
	})
}

// farOff is how far this machine's clock may be from the database's before somebody should know.
const farOff = time.Second

// replicaMemory is how long a replica that went without a word stays in the list: for longer than any may go on deciding
// without being heard, which the configuration bounds by an hour. Should it come back it enters itself again.
const replicaMemory = 2 * time.Hour

// sessionMemory is how long an ended session is remembered: a refresh token of it that turns up is then known as reused, and
// the audit trail still says whose it was.
const sessionMemory = 30 * 24 * time.Hour

// seenMemory is how long it is remembered where a credential came from, as docs/operate.md says.
const seenMemory = 30 * 24 * time.Hour

// watch tells the metrics where to look when somebody scrapes.
func (s *Server) watch(c *config.Config) {
	count := func(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
	var certificateExpiry func() time.Time
	if s.certificates != nil {
		certificateExpiry = s.certificates.Expires
	}
	s.metrics.Watch(metrics.Sources{
		CertificateExpiry: certificateExpiry,
		Connections:       func() int64 { return s.listener.Open() },
		ConnectionsRefused: func() map[string]int64 {
			inAll, ofOneAddress := s.listener.TurnedAway()
			return map[string]int64{"max_connections": inAll, "max_connections_per_address": ofOneAddress}
		},
		LogLag:              s.follower.Age,
		SealLag:             s.sealer.Lag,
		SigningKeyExpiry:    s.opened.Rings.NextRotation,
		ClockOffset:         s.opened.DB.ClockOffset,
		CredentialsExpiring: s.expiring.Load,
		BackupAge:           s.backupAge,
		LogLinesDropped:     s.access.Dropped,
		RefusalsUnwritten:   s.refusals.Unwritten,
		SharedLimits:        s.redisStands(),
		Upstreams:           s.upstreams,
		Caches: []metrics.Cache{{Name: "credentials", Stats: func() metrics.CacheStats {
			hits, misses, size := s.facts.CacheStats()
			return metrics.CacheStats{Entries: int64(size), Bound: int64(c.Cache.Credentials), Hits: count(hits), Misses: count(misses)}
		}}},
		Webhooks: func() map[string]int64 {
			return map[string]int64{"delivered": s.told.Delivered.Load(), "failed": s.told.Failed.Load(), "dropped": s.told.Dropped.Load()}
		},
		Queues: []metrics.Queue{
			{Name: "writes", Length: s.opened.DB.Waiting},
			{Name: "feed", Length: s.feed.Waiting},
			{Name: "webhooks", Length: s.told.Waiting.Load},
		},
	})
}

// upstreams are how the APIs of the configuration in force stand.
func (s *Server) upstreams() []metrics.Upstream {
	var all []metrics.Upstream
	if u := s.current.Load(); u != nil && u.gateway != nil {
		for _, one := range u.gateway.Standings() {
			all = append(all, metrics.Upstream(one))
		}
	}
	return all
}

// expiringWithin is how long before its end a credential is counted as one that expires.
const expiringWithin = 14 * 24 * time.Hour
