package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// A place is where a restored database goes.
type place interface {
	// look says what is there, "" if nothing is, and notes where it is kept aside.
	look(ctx context.Context, r *restoring) (what string, err error)
	// put puts what was staged there, all or nothing.
	put(ctx context.Context, r *restoring) error
}

// stampOf is the time of this restore, for names.
func stampOf(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// intoFile is the file of the embedded database. One that it replaces is kept under another name.
type intoFile struct{ aside string }

func (f *intoFile) look(ctx context.Context, r *restoring) (what string, err error) {
	path := DatabasePath(r.config.DataDir)
	f.aside = unused(path + ".replaced-" + stampOf(r.began))
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at the database: %w", err)
	}
	r.done.Aside = f.aside
	db, err := store.Open(ctx, store.Config{Path: path, Pending: true, Now: r.Now})
	if errors.Is(err, store.ErrInterrupted) {
		return "", nil // which was let replace it
	}
	what = fmt.Sprintf("%s (%d bytes, last written %s", path, info.Size(), info.ModTime().UTC().Format(time.RFC3339))
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		what += "; it cannot be read: " + err.Error()
	}
	return what + ")", nil
}

func (f *intoFile) put(_ context.Context, r *restoring) error {
	return r.staged.TakePlace(DatabasePath(r.config.DataDir), f.aside)
}

// unused is a path where nothing lies, as near as can be to the one that is wanted.
func unused(wanted string) string {
	path := wanted
	for n := 2; ; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = fmt.Sprintf("%s-%d", wanted, n)
	}
}

// intoPostgres is a PostgreSQL database. What it replaces is kept as a backup.
type intoPostgres struct{ there bool }

// heardLately is within which time a server was heard of that runs.
const heardLately = 15 * time.Second

func (p *intoPostgres) open(ctx context.Context, r *restoring) (*store.DB, error) {
	named := databaseConfig(r.config)
	named.Create = true // it may be empty, or older
	return store.Open(ctx, named)
}

func (p *intoPostgres) look(ctx context.Context, r *restoring) (what string, err error) {
	db, err := p.open(ctx, r)
	if err != nil {
		return "", err
	}
	defer db.Close()
	have, want, err := db.Version(ctx)
	if err != nil || have == 0 {
		return "", err
	}
	if have != want {
		return "", fmt.Errorf("the database %s has schema version %d, and this program wants %d: run gatehouse migrate up first, or restore into an empty database", db.Path(), have, want)
	}
	if err := p.unwatched(ctx, db, r); err != nil {
		return "", err
	}
	m, err := db.Meta(ctx)
	if errors.Is(err, auth.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	p.there = true
	r.done.Aside = unused(filepath.Join(BackupDir(r.config), "replaced-"+stampOf(r.began)+".backup"))
	return fmt.Sprintf("%s (made %s)", db.Path(), m.CreatedAt.UTC().Format(time.RFC3339)), nil
}

// unwatched makes sure that no server runs on the database, or that it does not matter.
func (p *intoPostgres) unwatched(ctx context.Context, db *store.DB, r *restoring) error {
	if r.UnderServers {
		return nil
	}
	all, now, err := db.Replicas(ctx)
	if err != nil {
		return err
	}
	var running []string
	for _, one := range all {
		if ago := now.Sub(one.HeardAt); ago < heardLately {
			running = append(running, fmt.Sprintf("%s (listens at %s, heard of %v ago)", one.ID, one.Listens, max(0, ago).Round(time.Millisecond)))
		}
	}
	if len(running) > 0 {
		return fmt.Errorf("%w: %s. Stop them and try again in %v; or say --under-running-servers, and they go on with what is restored", ErrServersRun, strings.Join(running, ", "), heardLately)
	}
	return nil
}

func (p *intoPostgres) put(ctx context.Context, r *restoring) error {
	db, err := p.open(ctx, r)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, _, err := db.Migrate(ctx); err != nil {
		return err
	}
	if p.there {
		if err := os.MkdirAll(filepath.Dir(r.done.Aside), 0o700); err != nil {
			return fmt.Errorf("keep the database that is there aside: %w", err)
		}
		there := &Opened{DB: db, Masters: r.masters}
		if _, err := there.BackUpTo(ctx, r.done.Aside, r.Version, r.Progress); err != nil {
			return fmt.Errorf("keep the database that is there aside, in %s: %w", r.done.Aside, err)
		}
	}
	var done int64
	return r.staged.Pour(ctx, db, p.there, func() {
		done++
		if done%progressEvery == 0 && r.Progress != nil {
			r.Progress("written", done, r.done.Header.Rows())
		}
	})
}
