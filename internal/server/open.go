// Package server builds the whole from a configuration and runs it: it opens the database and the working keys, wires the
// rooms to one another, listens, and stops in order. The command line, the demo and gatehousetest start the same thing here.
// It decides nothing of what the rooms decide.
//
// The invariants: nothing is answered before the revocations are loaded; what was acknowledged is on the disk before the
// process ends; no two servers use one data directory.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/changes"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// DatabaseName says which database a configuration names: the file of the embedded one, or a URL without user and password.
func DatabaseName(c *config.Config) string {
	if c.Database.Set() {
		return store.URLName(c.Database.Reveal())
	}
	return DatabasePath(c.DataDir)
}

// DatabasePath is where the embedded database of a data directory lies.
func DatabasePath(dataDir string) string { return filepath.Join(dataDir, "gatehouse.db") }

// MasterKeyPath is where the master key of an embedded database lies, unless it is given otherwise.
func MasterKeyPath(dataDir string) string { return filepath.Join(dataDir, "master.key") }

// OpenOptions say how a database is opened.
type OpenOptions struct {
	Create  bool // make or migrate the database; only serve, demo and migrate up may
	Serving bool // take the data directory for this process alone
	Sandbox bool // serve published credentials too, which is an error otherwise
	Now     func() time.Time
	Log     *slog.Logger
	// Unheard is told why a command could not ask the server that runs; nil: nobody is.
	Unheard func(error)
}

// Opened is a database with its working keys: what a command works with, and what a server is built on.
type Opened struct {
	Config   *config.Config
	DB       *store.DB
	Masters  secret.Masters
	Rings    *token.Rings
	Registry *registry.Registry
	Meta     store.Meta
	Born     bool  // this call made the database
	From, To int64 // schema versions before and after
	unlock   func()

	replicas *changes.Acknowledger
	// Of a command, until a server puts its own here.
	acknowledge func(context.Context, auth.Position) bool
	recent      func(context.Context, auth.RefusalFilter) []auth.Refusal
}

// Open opens the database that the configuration names, and unseals its keys. Without Create a database that does not exist,
// or is of another version, is an error that says what to do.
func Open(ctx context.Context, c *config.Config, o OpenOptions) (*Opened, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	opened := &Opened{Config: c, unlock: func() {}}
	if opened.alone() {
		if err := checkOwner(c.DataDir); err != nil {
			return nil, err
		}
	}
	if err := opened.open(ctx, o); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

func (op *Opened) open(ctx context.Context, o OpenOptions) error {
	c := op.Config
	if op.alone() {
		if err := op.takeDirectory(o); err != nil {
			return err
		}
	}
	var err error
	if op.DB, err = openDatabase(ctx, c, o); err != nil {
		return err
	}
	if !op.alone() && o.Create && !c.MasterKey.Set() {
		op.Meta, _ = op.DB.Meta(ctx) // without tables there is none
		return noMasterKey(op.Meta.MasterKey)
	}
	if o.Create {
		if op.From, op.To, err = op.DB.Migrate(ctx); err != nil {
			return err
		}
	}
	op.Meta, err = op.DB.Meta(ctx)
	unborn := errors.Is(err, auth.ErrNotFound)
	if err != nil && (!unborn || !o.Create) {
		return fmt.Errorf("read what this database is: %w", err)
	}
	if op.Masters, err = masterKeys(c, unborn, op.Meta.MasterKey); err != nil {
		return err
	}
	if unborn {
		if err := op.bear(ctx); err != nil {
			return err
		}
	}
	if err := op.Masters.Fits(op.Meta.MasterKey, op.Meta.SealCheck); err != nil {
		return err
	}
	if o.Serving && !o.Sandbox {
		if published, err := op.DB.HasPublished(ctx); err != nil || published {
			return errors.Join(err, fmt.Errorf("%s was made by gatehouse demo --fixed: its keys stand in the manual for everybody to read, so it is never served to anybody else; begin with an empty data_dir", DatabaseName(c)))
		}
	}
	if op.Masters.Current.ID != op.Meta.MasterKey {
		o.Log.Warn("the database is still sealed under the previous master key: run gatehouse master-key rotate", "sealed_under", op.Meta.MasterKey, "current", op.Masters.Current.ID)
	}
	op.acknowledge, op.recent = op.acknowledgeBeside, op.recentBeside(o.Unheard)
	op.replicas, err = changes.NewAcknowledger(changes.AcknowledgeConfig{Replicas: op.DB, Alone: op.alone(), MaxStaleness: c.Revocation.MaxStaleness})
	if err != nil {
		return err
	}
	return op.unseal(ctx, o)
}

// takeDirectory makes the data directory, if it may, and takes it for a server.
func (op *Opened) takeDirectory(o OpenOptions) error {
	dir := op.Config.DataDir
	if o.Create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the data directory: %w", err)
		}
	}
	if o.Serving {
		unlock, err := store.LockDir(dir)
		if err != nil {
			return err
		}
		op.unlock = unlock
	}
	return nil
}

// databaseConfig says which database the configuration names.
func databaseConfig(c *config.Config) store.Config {
	if !c.Database.Set() {
		return store.Config{Path: DatabasePath(c.DataDir)}
	}
	return store.Config{URL: c.Database.Reveal(), Pool: store.Pool(c.DatabasePool)}
}

// startTime is how long a command waits for a server beside it that is just making or migrating the database.
const startTime = 10 * time.Second

func openDatabase(ctx context.Context, c *config.Config, o OpenOptions) (*store.DB, error) {
	until := time.Now().Add(startTime)
	named := databaseConfig(c)
	named.Create, named.Now = o.Create, o.Now
	for {
		db, err := store.Open(ctx, named)
		if err == nil && !o.Create {
			if _, err = db.Meta(ctx); err != nil {
				err = errors.Join(fmt.Errorf("read what this database is: %w", err), db.Close())
			}
		}
		notYet := errors.Is(err, store.ErrNoDatabase) || errors.Is(err, store.ErrPending) || errors.Is(err, auth.ErrNotFound)
		beside := !c.Database.Set() && store.Locked(c.DataDir)
		if !notYet || o.Create || !beside || time.Now().After(until) {
			if err != nil {
				return nil, err
			}
			return db, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// bear writes the first rows of a database: what it is, and its first working keys.
func (op *Opened) bear(ctx context.Context) error {
	keys, err := token.NewKeys(op.Masters, op.Config.Tokens.Algorithm, op.DB.Now())
	if err != nil {
		return err
	}
	err = op.DB.Create(ctx, store.Birth{
		Incarnation: secret.Mint(16), SealCheck: op.Masters.Current.Check(), MasterKey: op.Masters.Current.ID, Keys: keys,
	})
	if err != nil && !errors.Is(err, auth.ErrConflict) { // of servers that start at once one is first, and its keys hold
		return fmt.Errorf("write the first rows: %w", err)
	}
	op.Born = err == nil
	op.Meta, err = op.DB.Meta(ctx)
	return err
}

// unseal opens the working keys and makes the registry.
func (op *Opened) unseal(ctx context.Context, o OpenOptions) error {
	c := op.Config
	var err error
	op.Rings, err = token.New(token.Config{
		Store: op.DB, Masters: op.Masters, Algorithm: c.Tokens.Algorithm, Issuer: c.Issuer, Audience: c.Audience,
		RotateEvery: c.SigningKeys.RotateEvery, PublishAhead: c.SigningKeys.PublishAhead, Lifetimes: lifetimes(c),
		Now: op.DB.Now, Log: o.Log,
	})
	if err != nil {
		return err
	}
	if o.Serving {
		err = op.Rings.Prepare(ctx)
	} else {
		err = op.Rings.Consult(ctx)
	}
	if err != nil {
		return err
	}
	op.Registry, err = registry.New(registry.Config{
		Store: op.DB, Rings: op.Rings, Environment: c.Environment, KeyPrefix: c.KeyPrefix,
		Acknowledge: op.Acknowledge, Now: op.DB.Now,
		Recent: func(ctx context.Context, f auth.RefusalFilter) []auth.Refusal { return op.recent(ctx, f) },
	})
	return err
}

// RotateMasterKey seals every working key anew under the current master key. Both keys must be at hand.
func (op *Opened) RotateMasterKey(ctx context.Context, actor auth.Actor) (int, error) {
	if err := registry.May(actor, registry.RotateMasterKey, 0, op.DB.Now()); err != nil {
		return 0, err
	}
	current := op.Masters.Current
	if current.ID == op.Meta.MasterKey {
		return 0, auth.ErrConflict.Saying("everything is sealed under " + current.ID + " already: to change it, print a new key with gatehouse master-key generate, give it as the master key, and the old one as GATEHOUSE_MASTER_KEY_PREVIOUS")
	}
	act := actor.Act(string(registry.RotateMasterKey), op.Meta.MasterKey+" to "+current.ID)
	return op.DB.Reseal(ctx, op.Meta.MasterKey, current.ID, current.Check(), op.Masters.Reseal, act)
}

// remembered is how long a revocation is held in memory: until the longest-lived token that it could concern is dead,
// wherever and whenever its death was heard of.
func (op *Opened) remembered() time.Duration {
	return op.Rings.Longest() + op.Config.Revocation.MaxStaleness + 2*verify.Leeway
}

// Close closes the database and gives the data directory free.
func (op *Opened) Close() error {
	var err error
	if op.DB != nil {
		err = op.DB.Close()
	}
	op.unlock()
	return err
}

// checkOwner refuses a data directory that belongs to another user, before anything in it is opened: files that root made in
// it the server could not write any more.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("data_dir %s is no directory", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the data directory %s belongs to user %d, and this runs as user %d: run it as that user (sudo -u '#%d' gatehouse …)", dir, stat.Uid, os.Geteuid(), stat.Uid)
	}
	return nil
}

// masterKeys finds the master key: given by the configuration, or beside the embedded database. Only the process that creates
// the database makes one, and on the disk it is before the first row.
func masterKeys(c *config.Config, unborn bool, wanted string) (secret.Masters, error) {
	var m secret.Masters
	var err error
	if c.MasterKeyPrevious.Set() {
		if m.Previous, err = secret.ParseMasterKey(c.MasterKeyPrevious.Reveal()); err != nil {
			return m, fmt.Errorf("GATEHOUSE_MASTER_KEY_PREVIOUS: %w", err)
		}
	}
	if c.MasterKey.Set() {
		if m.Current, err = secret.ParseMasterKey(c.MasterKey.Reveal()); err != nil {
			return m, fmt.Errorf("the key given by GATEHOUSE_MASTER_KEY or master_key_file: %w", err)
		}
		return m, nil
	}
	if c.Database.Set() {
		return m, noMasterKey(wanted)
	}
	path := MasterKeyPath(c.DataDir)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && unborn:
		if text, err = writeMasterKey(path); err != nil {
			return m, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return m, fmt.Errorf("the master key %s is missing: it is neither in GATEHOUSE_MASTER_KEY nor in a file, and %s does not exist; give it that key, without which the working keys in the database cannot be read", wanted, path)
	case err != nil:
		return m, fmt.Errorf("read the master key: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return m, fmt.Errorf("the master key %s can be read by others (mode %#o): chmod 600 it, and think of it as known to them", path, info.Mode().Perm())
	}
	if m.Current, err = secret.ParseMasterKey(string(text)); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// noMasterKey is the error where a database that several servers share has no master key at hand: each would make its own.
func noMasterKey(wanted string) error {
	if wanted != "" {
		return fmt.Errorf("the master key %s is missing: give it as GATEHOUSE_MASTER_KEY, GATEHOUSE_MASTER_KEY_FILE or master_key_file, without it the working keys in the database cannot be read", wanted)
	}
	return errors.New("there is no master key: with PostgreSQL none is ever made by a server. Print one with `gatehouse master-key generate`, keep a copy elsewhere, and give it to every server as GATEHOUSE_MASTER_KEY, GATEHOUSE_MASTER_KEY_FILE or master_key_file")
}

func writeMasterKey(path string) ([]byte, error) {
	text := []byte(secret.GenerateMasterKey() + "\n")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the master key: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil { // or a crash could lose the file and keep the rows
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	return text, nil
}

func issuers(c *config.Config) []string { return append([]string{c.Issuer}, c.AcceptIssuers...) }

// audiences are those accepted: where the audience is the issuer, it was the former issuer before.
func audiences(c *config.Config) []string {
	if c.Audience == c.Issuer {
		return issuers(c)
	}
	return []string{c.Audience}
}

// accessLifetimes are those of access tokens, by [auth.Contract.Index].
func accessLifetimes(c *config.Config) [4]time.Duration {
	return [4]time.Duration{
		c.Tokens.AccessToken.Lifetime, c.Tokens.OrderAPI.Lifetime, c.Tokens.B2B.AccessLifetime, c.Tokens.OAuth.Lifetime,
	}
}

func lifetimes(c *config.Config) map[string]time.Duration {
	all := map[string]time.Duration{token.RefreshType: c.Tokens.B2B.RefreshLifetime}
	for i, l := range accessLifetimes(c) {
		all[string(verify.Types[i])] = l
	}
	return all
}
