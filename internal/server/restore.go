package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/token"
)

// A Restore says what is put back, and what an operator has seen to.
type Restore struct {
	From io.Reader // the backup; a file is read twice, anything else is kept in a file meanwhile
	// Replace lets the database that is there be replaced.
	Replace bool
	// Old is the database that is replaced: a file, a URL without a password, or [Current]. What is taken away in it is taken away
	// in what is restored.
	Old string
	// Journal is an export of its audit trail, which tells most of the same. One of the two is enough; "", nil: none.
	Journal io.Reader
	// AcceptRevived accepts that what was taken away since the backup, as far as neither tells, comes back.
	AcceptRevived bool
	// UnderServers lets it be put under servers that run on PostgreSQL. They go on with what is restored.
	UnderServers bool
	Version      string // of the program
	Actor        auth.Actor
	Progress     Progress
	Now          func() time.Time // nil means time.Now
}

// A Restored is what was put back.
type Restored struct {
	Header      backup.Header
	Incarnation string // the new one
	Census      store.Census
	Taken       store.Taken // what was taken away since the backup, and is so again
	Schema      int64       // after it was migrated
	Aside       string      // where the database lies that was replaced, or a backup of it; "": there was none
}

// Current names, where the database that is replaced is asked for, the one that the configuration names.
const Current = "current"

// ErrServersRun says that servers run on the database.
var ErrServersRun = errors.New("servers run on this database")

// ErrInTheWay says that there is a database already.
var ErrInTheWay = errors.New("there is a database already")

// ErrRevived says that nothing tells what was taken away since the backup.
var ErrRevived = errors.New("what was taken away since this backup would come back")

// RestoreDatabase makes the database that the configuration names out of a backup: in the place of none, or, if that is accepted, of the
// one that is there. It is all or nothing. Nothing that was signed before is worth anything afterwards: another incarnation,
// other keys, no session.
//
// Before anything is written the file must be whole, its schema known, and the master key at hand.
func RestoreDatabase(ctx context.Context, c *config.Config, o Restore) (Restored, error) {
	r := &restoring{Restore: o, config: c}
	if r.Now == nil {
		r.Now = time.Now
	}
	r.began = r.Now()
	if err := registry.May(o.Actor, registry.Restore, 0, r.began); err != nil {
		return Restored{}, err
	}
	err := r.run(ctx)
	return r.done, errors.Join(err, r.clear())
}

// A restoring is one restore that is under way.
type restoring struct {
	Restore
	config  *config.Config
	began   time.Time
	file    io.ReadSeeker
	masters secret.Masters
	staged  *store.Staging
	place   place
	done    Restored
	undo    []func() error
}

// clear removes what is not needed any more.
func (r *restoring) clear() error {
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		errs = append(errs, r.undo[i]())
	}
	return errors.Join(errs...)
}

func (r *restoring) run(ctx context.Context) error {
	dir, err := r.workplace()
	if err != nil {
		return err
	}
	if err := r.readable(dir); err != nil {
		return err
	}
	if err := r.examine(ctx); err != nil {
		return err
	}
	if err := r.target(ctx); err != nil {
		return err
	}
	if err := r.stage(ctx, dir); err != nil {
		return err
	}
	if err := r.takeAway(ctx); err != nil {
		return err
	}
	if err := r.beginAnew(); err != nil {
		return err
	}
	r.done.Schema = r.staged.Version()
	return r.place.put(ctx, r)
}

// workplace is the folder where the backup becomes a database. For the embedded one it is the data directory, taken for this
// process alone, so that in the end a file need only be given another name.
func (r *restoring) workplace() (string, error) {
	if r.config.Database.Set() {
		dir, err := os.MkdirTemp("", "gatehouse-restore-") // with mode 0700
		if err != nil {
			return "", fmt.Errorf("make a folder to restore in: %w", err)
		}
		r.undo = append(r.undo, func() error { return os.RemoveAll(dir) })
		r.place = new(intoPostgres)
		return dir, nil
	}
	dir := r.config.DataDir
	if err := checkOwner(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	unlock, err := store.LockDir(dir)
	if errors.Is(err, store.ErrLocked) {
		return "", fmt.Errorf("%w: stop it first, for a restore takes the database away under it", err)
	}
	if err != nil {
		return "", err
	}
	r.undo = append(r.undo, func() error { unlock(); return nil })
	r.place = new(intoFile)
	return dir, nil
}

// readable makes a file of what is read, so that it can be read twice.
func (r *restoring) readable(dir string) error {
	if f, ok := r.From.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			r.file = f
			return nil
		}
	}
	const name = "restoring-*.backup"
	left, err := matching(dir, name) // by a restore that was killed
	if err != nil {
		return fmt.Errorf("keep the backup while it is read: %w", err)
	}
	for _, f := range left {
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return fmt.Errorf("keep the backup while it is read: %w", err)
		}
	}
	f, err := os.CreateTemp(dir, name) // with mode 0600
	if err != nil {
		return fmt.Errorf("keep the backup while it is read: %w", err)
	}
	r.undo = append(r.undo, func() error { return errors.Join(f.Close(), os.Remove(f.Name())) })
	if _, err := io.Copy(f, r.From); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	r.file = f
	return nil
}

// examine reads the whole file once, before anything is written.
func (r *restoring) examine(ctx context.Context) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	first, err := backup.NewReader(r.file)
	if err != nil {
		return err
	}
	h := first.Header
	if r.masters, err = masterKeys(r.config, false, h.MasterKey); err != nil {
		return err
	}
	if r.masters.Named(h.MasterKey) == nil {
		return fmt.Errorf("this backup can be restored with the master key %s alone; the one given is %s: give it that key (GATEHOUSE_MASTER_KEY, GATEHOUSE_MASTER_KEY_FILE or master_key_file), or as GATEHOUSE_MASTER_KEY_PREVIOUS beside the one that shall seal from now on", h.MasterKey, r.masters.Current.ID)
	}
	if err := r.masters.Fits(h.MasterKey, h.SealCheck); err != nil {
		return err
	}
	r.done.Header, err = readBackup(ctx, r.file, r.masters, nil, "examined", r.Progress)
	return err
}

// target looks what is there.
func (r *restoring) target(ctx context.Context) error {
	what, err := r.place.look(ctx, r)
	if err != nil || what == "" {
		return err
	}
	if !r.Replace {
		return fmt.Errorf("%w, %s: to keep it aside and put the backup in its place, say --replace-database", ErrInTheWay, what)
	}
	return nil
}

// stage loads the backup into a database beside the one that it will replace.
func (r *restoring) stage(ctx context.Context, dir string) error {
	var err error
	if r.staged, err = store.NewStaging(ctx, dir, r.done.Header.Schema, r.Now); err != nil {
		return err
	}
	r.undo = append(r.undo, r.staged.Discard)
	if _, err := readBackup(ctx, r.file, r.masters, r.staged.Load, "loaded", r.Progress); err != nil {
		return err
	}
	if err := r.staged.Migrate(ctx); err != nil {
		return err
	}
	return nil
}

// takeAway takes from what was loaded what was taken away since the backup.
func (r *restoring) takeAway(ctx context.Context) error {
	var err error
	var unclear []string
	switch {
	case r.Old != "":
		err = r.holdAgainst(ctx)
	case r.Journal != nil:
		unclear, err = r.replay()
	}
	if err != nil {
		return err
	}
	if r.done.Census, err = r.staged.Census(); err != nil || r.AcceptRevived {
		return err
	}
	if len(unclear) > 0 {
		return fmt.Errorf("%w: of these acts in the journal it cannot be told what they took away: %s. Look at them, and then say --accept-revived-credentials", ErrRevived, strings.Join(unclear, "; "))
	}
	if r.Old == "" && r.Journal == nil {
		return r.revived()
	}
	return nil
}

// holdAgainst has the stricter win of the backup and the database that it replaces.
func (r *restoring) holdAgainst(ctx context.Context) error {
	named, err := r.old()
	if err != nil {
		return err
	}
	old, err := store.Open(ctx, named)
	if err != nil {
		return fmt.Errorf("read the database that is replaced: %w", err)
	}
	r.done.Taken, err = r.staged.Stricter(ctx, old)
	return errors.Join(err, old.Close())
}

// old says which database is replaced.
func (r *restoring) old() (store.Config, error) {
	if r.Old == Current {
		return databaseConfig(r.config), nil
	}
	if !strings.HasPrefix(r.Old, "postgres://") && !strings.HasPrefix(r.Old, "postgresql://") {
		if info, err := os.Stat(r.Old); err == nil && info.IsDir() {
			return store.Config{Path: DatabasePath(r.Old)}, nil
		}
		return store.Config{Path: r.Old}, nil
	}
	if u, err := url.Parse(r.Old); err != nil || u.User != nil && isSet(u.User.Password()) || u.Query().Has("password") {
		return store.Config{}, auth.ErrInvalid.Saying("--old takes a URL without a password, which anybody on this machine could read: give that in PGPASSWORD, or in ~/.pgpass")
	}
	return store.Config{URL: r.Old}, nil
}

func isSet(_ string, set bool) bool { return set }

// replay applies the journal.
func (r *restoring) replay() (unclear []string, err error) {
	acts, err := r.staged.NewReplay(proof.OnlyKeys)
	if err != nil {
		return nil, err
	}
	if err := backup.ReadTrail(r.Journal, &journal{Verifier: chain.NewVerifier(chain.Want{}), act: acts.Act}); err != nil {
		return nil, fmt.Errorf("the journal: %w", err)
	}
	r.done.Taken, unclear, err = acts.Finish()
	return unclear, err
}

// revived tells what nobody knows.
func (r *restoring) revived() error {
	h, c := r.done.Header, r.done.Census
	return fmt.Errorf("%w: it was taken at %s, %v ago, and brings back %d live credentials of %d live accounts. Which of them were revoked, rotated, narrowed or suspended since, it cannot tell. What can is the database that is replaced (--old DATABASE), or its audit trail (--journal FILE, of gatehouse audit export); if there is neither, say --accept-revived-credentials",
		ErrRevived, h.TakenAt.Format(time.RFC3339), max(0, r.Now().Sub(h.TakenAt)).Round(time.Second), c.Credentials, c.Accounts)
}

// beginAnew makes worthless what was signed before.
func (r *restoring) beginAnew() error {
	all, err := token.NewKeys(r.masters, r.config.Tokens.Algorithm, r.Now())
	if err != nil {
		return err
	}
	var fresh []auth.KeyRow
	for _, k := range all {
		if k.Ring != auth.PepperRing || r.done.Header.RowsOf("keys") == 0 { // with the peppers the digests are compared
			fresh = append(fresh, k)
		}
	}
	h := r.done.Header
	since := "not known, which was accepted"
	switch {
	case r.Old != "":
		since = "as in the database that was replaced"
	case r.Journal != nil:
		since = "as in its audit trail"
	}
	r.done.Incarnation = secret.Mint(16)
	return r.staged.BeginAnew(store.Birth{
		Incarnation: r.done.Incarnation, SealCheck: r.masters.Current.Check(), MasterKey: r.masters.Current.ID, Keys: fresh,
	}, r.masters.Reseal, auth.Act{
		Actor: r.Actor.Name, Action: "database.restore",
		Detail: fmt.Sprintf("backup of %s, incarnation %s, position %d; taken away since: %s", h.TakenAt.Format(time.RFC3339), h.Incarnation, h.Position, since),
	})
}
