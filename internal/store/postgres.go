package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	// oldestPostgres is the oldest version that is supported, as server_version_num has it.
	oldestPostgres = 150000
	// application is what our connections are called in pg_stat_activity, and listening the one that listens.
	application, listening = "gatehouse", "gatehouse listens"
	// queueEach is how many calls wait at most for each connection that there can be. One more is refused at once.
	queueEach = 16
	// spare is what a call may take beyond the longest statement, before it is given up.
	spare = 200 * time.Millisecond
	// mostTries is how often a transaction is begun for one call.
	mostTries = 4
)

// A postgres keeps the rows in PostgreSQL. Each update is a transaction of its own, READ COMMITTED; what SQLite's single
// writer gives for free is given by rows that are locked before anything is decided on them.
//
// Every call has a deadline of the store's own, and no statement runs under a caller's context: a caller who goes away would
// cost a connection. A connection on which anything went wrong but the statement is thrown away with all others of its pool:
// if its server died, so did theirs.
type postgres struct {
	label      string
	migrations fs.FS
	config     *pgxpool.Config
	pool       *pgxpool.Pool
	kick       func()
	closing    <-chan struct{}
	patience   time.Duration // of a call
	half       time.Duration // of the longest statement: what a call may wait for a connection, and one address for an answer
	queue      atomic.Int64  // calls that wait for a connection
	queueMost  int64
	timeline   highest
	clock      *serverClock
}

// highest is the highest timeline that this process has seen. A server of a lower one was a primary before a failover, and has
// come back without knowing of it.
type highest struct {
	mu       sync.Mutex
	timeline string // as in the name of a WAL file: eight hexadecimal digits
}

func (h *highest) see(timeline string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if timeline < h.timeline {
		return fmt.Errorf("this server is on timeline %s, and another was on %s: it was the primary before a failover", timeline, h.timeline)
	}
	h.timeline = timeline
	return nil
}

// openPostgres connects, once: so that what is wrong with the URL is said now.
func openPostgres(ctx context.Context, c Config, migrations fs.FS, clock *serverClock, kick func(), closing <-chan struct{}) (*postgres, error) {
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("open the database: this is no URL of PostgreSQL, which is postgres://user:password@host:port/database") // err may repeat the URL
	}
	p := &postgres{
		label: label(config.ConnConfig), migrations: migrations, config: config, kick: kick, closing: closing, clock: clock,
		patience: c.Pool.StatementTimeout + spare, half: c.Pool.StatementTimeout / 2, queueMost: queueEach * int64(c.Pool.MaxConnections),
	}
	p.prepare(config.ConnConfig, c.Pool.StatementTimeout)
	config.MaxConns, config.MinConns, config.MinIdleConns = int32(c.Pool.MaxConnections), 0, 0
	config.MaxConnLifetime, config.MaxConnLifetimeJitter, config.MaxConnIdleTime = time.Hour, 10*time.Minute, 10*time.Minute
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	config.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return alive(c.PgConn().Conn()), nil }
	// Without a word of farewell, for which a server that does not answer would be waited for, and the place kept.
	config.BeforeClose = func(c *pgx.Conn) { c.PgConn().Conn().Close() }
	if p.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return nil, fmt.Errorf("open the database %s: %w", p.label, err)
	}
	if err := p.greet(ctx); err != nil {
		p.pool.Close()
		return nil, fmt.Errorf("open the database %s: %w", p.label, err)
	}
	return p, nil
}

// URLName names the database of a URL without the secret that opens it, "" if it is no URL of PostgreSQL.
func URLName(url string) string {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return ""
	}
	return label(config)
}

// URLUnproven says whether some server of a URL is reached over a network and does not have to prove who it is: whoever stands
// between could take its place.
func URLUnproven(url string) bool {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return false
	}
	unproven := func(host string, t *tls.Config) bool {
		// With InsecureSkipVerify pgx looks at the chain, as verify-ca has it, or at nothing: neither is about the name.
		return !here(host) && (t == nil || t.InsecureSkipVerify)
	}
	for _, f := range config.Fallbacks {
		if unproven(f.Host, f.TLSConfig) {
			return true
		}
	}
	return unproven(config.Host, config.TLSConfig)
}

// here says whether a host is this machine: a folder with a socket, or an address of its own.
func here(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// label names a database without the secret that opens it.
func label(c *pgx.ConnConfig) string {
	host := c.Host
	if c.Port != 5432 && host[0] != '/' {
		host += ":" + strconv.Itoa(int(c.Port))
	}
	return "postgres://" + host + "/" + c.Database
}

// prepare says what every connection is to be like.
func (p *postgres) prepare(c *pgx.ConnConfig, statement time.Duration) {
	c.ConnectTimeout = p.half
	c.StatementCacheCapacity = 256
	set := func(name string, d time.Duration) { c.RuntimeParams[name] = strconv.FormatInt(d.Milliseconds(), 10) }
	set("statement_timeout", statement)
	set("lock_timeout", statement*3/4)
	// One of a replica that was stopped would keep its locks, and everybody else waiting. Ours never think between two statements.
	set("idle_in_transaction_session_timeout", p.half)
	c.RuntimeParams["application_name"] = application
	c.RuntimeParams["default_transaction_isolation"] = "read committed"
	c.RuntimeParams["client_encoding"] = "UTF8"
	// A server whose network was cut off learns that we are gone.
	c.RuntimeParams["tcp_keepalives_idle"], c.RuntimeParams["tcp_keepalives_interval"], c.RuntimeParams["tcp_keepalives_count"] = "15", "5", "3"
	c.ValidateConnect = p.accept
	c.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			c.CustomData()[warned] = fmt.Errorf("%s (%s)", n.Message, n.Code)
		}
	}
	c.OnPgError = func(_ *pgconn.PgConn, e *pgconn.PgError) bool {
		return e.SeverityUnlocalized != "FATAL" && e.Code != codeReadOnlySQL // closes the connection
	}
}

// warned is where a connection keeps the last warning of its server.
const warned = "warned"

// accept refuses a server that does not take writes or has been overtaken.
func (p *postgres) accept(ctx context.Context, c *pgconn.PgConn) error {
	result, err := c.Exec(ctx, `SELECT CASE WHEN current_setting('transaction_read_only') = 'on' THEN '' ELSE `+timelineNow+` END`).ReadAll()
	if err != nil {
		return err
	}
	timeline := string(result[0].Rows[0][0])
	if timeline == "" {
		return errors.New("this server does not take writes")
	}
	return p.timeline.see(timeline)
}

// timelineNow is the timeline of a server that takes writes.
const timelineNow = `substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// greet makes sure of what the store's promises rest on, and reads the server's clock.
func (p *postgres) greet(ctx context.Context) error {
	if err := p.read(ctx, func(q querier) error {
		var version int64
		var name, encoding, fsync string
		err := q.one(`SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('server_version'),
			current_setting('server_encoding'), current_setting('fsync')`, nil, out{&version, &name, &encoding, &fsync})
		switch {
		case err != nil:
			return err
		case version < oldestPostgres:
			return fmt.Errorf("PostgreSQL is %s; 15 is the oldest that will do", name)
		case encoding != "UTF8":
			return fmt.Errorf("the encoding of the database is %s, and must be UTF8", encoding)
		}
		return nil
	}); err != nil {
		return err
	}
	for range 3 { // the quickest answer tells most
		if err := p.retry(ctx, "", (*session).clock); err != nil {
			return err
		}
	}
	return nil
}

// acquire takes a connection. The wait is bounded in number and in time.
func (p *postgres) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	select {
	case <-p.closing:
		return nil, errClosed
	default:
	}
	if ctx.Err() != nil {
		return nil, auth.ErrOverloaded.From(context.Cause(ctx))
	}
	defer p.queue.Add(-1)
	if p.queue.Add(1) > p.queueMost {
		return nil, auth.ErrOverloaded.From(errors.New("too many wait for a connection to the database"))
	}
	ctx, cancel := context.WithTimeout(ctx, p.half)
	defer cancel()
	c, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, auth.ErrOverloaded.From(fmt.Errorf("connect: %w", err))
	}
	return c, nil
}

// release gives a connection back. One that is closed goes with its socket, at once, and with it all that the pool has idle.
func (p *postgres) release(c *pgxpool.Conn) {
	if !c.Conn().IsClosed() {
		c.Release()
		return
	}
	c.Conn().PgConn().Conn().Close()
	c.Hijack()
	p.pool.Reset()
}

// try runs fn on a connection, with the time that a call has. It says whether it may be tried again.
func (p *postgres) try(ctx context.Context, until time.Time, begin string, fn func(*session) error) (again bool, err error) {
	c, err := p.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer p.release(c)
	own, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	s := &session{conn: c.Conn(), ctx: own, begin: begin, server: p.clock}
	defer s.rollback() // if it has not been committed
	err = fn(s)
	return mayHelp(err), err
}

// retry tries while that is safe and may help.
func (p *postgres) retry(ctx context.Context, begin string, fn func(*session) error) error {
	until := time.Now().Add(p.patience)
	for n := 1; ; n++ {
		again, err := p.try(ctx, until, begin, fn)
		if !again || n == mostTries || time.Now().After(until) {
			return unavailablePostgres(err)
		}
	}
}

func (p *postgres) update(ctx context.Context, fn func(*tx) error) error {
	return p.retry(ctx, "BEGIN", func(s *session) error {
		t := &tx{on: s}
		err := protect(fn, t)
		if t.failed != nil { // and nothing that fn made of it
			return t.failed
		}
		if err != nil {
			return err
		}
		if t.appended {
			if err := s.later(`SELECT pg_notify('` + channel + `', '')`); err != nil {
				return err
			}
		}
		if err := s.commit(); err != nil {
			return err
		}
		if t.appended {
			p.kick()
		}
		return nil
	})
}

func (p *postgres) read(ctx context.Context, fn func(querier) error) error {
	return p.look(ctx, "", fn)
}

// snapshotting begins what sees one moment.
const snapshotting = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

func (p *postgres) snapshot(ctx context.Context, fn func(querier) error) error {
	return p.look(ctx, snapshotting, fn)
}

// export is on a connection of its own, and nothing hurries it but the network.
func (p *postgres) export(fn func(querier) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, p.unhurried())
	if err != nil {
		return auth.ErrOverloaded.From(fmt.Errorf("connect: %w", err))
	}
	defer c.PgConn().Conn().Close()
	s := &session{conn: c, ctx: context.Background(), begin: snapshotting}
	err = fn(s)
	s.rollback()
	return unavailablePostgres(err)
}

// unhurried is how connections are made whose statements may take long.
func (p *postgres) unhurried() *pgx.ConnConfig {
	config := p.config.ConnConfig.Copy()
	for _, timeout := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[timeout] = "0"
	}
	return config
}

// look tries again only while fn has been given no row of many, which it may have kept.
func (p *postgres) look(ctx context.Context, begin string, fn func(querier) error) error {
	return p.retry(ctx, begin, func(s *session) error {
		err := fn(s)
		if err != nil && s.told && mayHelp(err) {
			err = auth.ErrOverloaded.From(err)
		}
		return err
	})
}

func (p *postgres) name() string               { return p.label }
func (p *postgres) product() string            { return "PostgreSQL" }
func (p *postgres) clockOffset() time.Duration { return p.clock.Offset() }
func (p *postgres) waiting() int64             { return p.queue.Load() }
func (p *postgres) broken() error              { return nil } // the server sees to that, and ends

// check has nothing to do: PostgreSQL examines its pages when it reads them, if it has checksums.
func (p *postgres) check(context.Context) error { return nil }

func (p *postgres) promise(ctx context.Context) (is, but string, err error) {
	var fsync, commit, standbys string
	err = p.read(ctx, func(q querier) error {
		return q.one(`SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')`, nil,
			out{&fsync, &commit, &standbys})
	})
	switch {
	case err != nil:
		return "", "", err
	case fsync != "on":
		return "what was acknowledged is in the memory of the database's machine", "fsync is off in PostgreSQL: a crash of its machine can lose everything", nil
	case commit == "off":
		return "what was acknowledged is on the disk of the database's machine a moment later", "synchronous_commit is off in PostgreSQL: a crash loses what was acknowledged in the moments before, revocations too", nil
	case commit == "local" || standbys == "":
		return "what was acknowledged is on the disk of the database's machine; standbys, if there are any, are asynchronous: acknowledged writes may be lost in a failover", "", nil
	case commit == "remote_write":
		return "what was acknowledged is on the disk of the database's machine and in the memory of its synchronous standbys: " + standbys, "", nil
	}
	return "what was acknowledged is on the disks of the database's machine and of its synchronous standbys: " + standbys, "", nil
}

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}
