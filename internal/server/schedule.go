package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/store"
)

const (
	// backupLookEvery is how often it is looked whether a backup is due.
	backupLookEvery = 30 * time.Second
	// backupLease is how long another server waits for one that began a backup and was not heard of since.
	backupLease = 10 * time.Minute
	// backupTime is the form of the time in a backup's name.
	backupTime = "20060102T150405.000Z"
	// scheduledName is what the files of scheduled backups are called.
	scheduledName = "gatehouse-*Z.backup"
)

// BackupDir is where scheduled backups lie.
func BackupDir(c *config.Config) string {
	if c.Backup.Dir != "" {
		return c.Backup.Dir
	}
	return filepath.Join(c.DataDir, "backups")
}

// keepBackups makes a backup whenever one is due, on one of the servers, and looks how old the last one is.
func (s *Server) keepBackups(ctx context.Context) error {
	tick := time.NewTicker(backupLookEvery)
	defer tick.Stop()
	for {
		if err := s.backUpOnce(ctx); err != nil && ctx.Err() == nil {
			s.metrics.BackupFailed()
			s.log.Error("the scheduled backup failed; it is tried again soon", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// backUpOnce makes the backup that is due, if there is one and no other server makes it.
func (s *Server) backUpOnce(ctx context.Context) error {
	db, c := s.opened.DB, s.config()
	if c.Backup.Schedule > 0 {
		if err := s.backUpIfDue(ctx, c); err != nil {
			return err
		}
	}
	last, err := db.LastBackup(ctx)
	if err == nil {
		s.backedUp.Store(max(0, last.UnixMilli()))
	}
	return err
}

// backupAge is how many seconds ago the last good backup was taken; infinitely many if there is none.
func (s *Server) backupAge() float64 {
	at := s.backedUp.Load()
	if at == 0 {
		return math.Inf(1)
	}
	return max(0, s.opened.DB.Now().Sub(time.UnixMilli(at)).Seconds())
}

func (s *Server) backUpIfDue(ctx context.Context, c *config.Config) error {
	db := s.opened.DB
	claim := func() (bool, error) { return db.ClaimBackup(ctx, s.replica, c.Backup.Schedule, backupLease) }
	mine, err := claim()
	if err != nil || !mine {
		return err
	}
	dir := BackupDir(c)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of backups: %w", err)
	}
	if err := dropHalfBackups(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, "gatehouse-"+db.Now().UTC().Format(backupTime)+".backup")
	renew := time.Now().Add(backupLease / 4)
	b, err := s.opened.BackUpTo(ctx, path, s.options.Version, func(string, int64, int64) {
		if now := time.Now(); now.After(renew) {
			renew = now.Add(backupLease / 4)
			_, _ = claim() // the next time says what is wrong
		}
	})
	if err != nil {
		return err
	}
	if err := db.BackupTaken(ctx, store.BySchedule, b.Header.TakenAt); err != nil {
		return err
	}
	gone, err := dropOldBackups(dir, c.Backup.Keep)
	s.log.Info("a backup was made", "file", path, "bytes", b.Bytes, "rows", b.Header.Rows(), "master_key", b.Header.MasterKey, "removed", gone)
	return err
}

// dropOldBackups keeps the youngest of the scheduled backups in a folder, by the time in their names, and says how many it removed.
func dropOldBackups(dir string, keep int) (gone int, err error) {
	found, err := matching(dir, scheduledName)
	if err != nil {
		return 0, fmt.Errorf("remove old backups: %w", err)
	}
	for _, f := range found[:max(0, len(found)-keep)] { // they are sorted by name
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return gone, fmt.Errorf("remove an old backup: %w", err)
		}
		gone++
	}
	return gone, nil
}

// dropHalfBackups removes what servers that were killed have left of backups that they did not finish.
func dropHalfBackups(dir string) error {
	found, err := matching(dir, "."+scheduledName+".*")
	if err != nil {
		return fmt.Errorf("remove unfinished backups: %w", err)
	}
	for _, f := range found {
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > backupLease {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("remove an unfinished backup: %w", err)
			}
		}
	}
	return nil
}

// matching are the files of a folder whose names match, sorted by them.
func matching(dir, pattern string) ([]fs.DirEntry, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(f fs.DirEntry) bool {
		ok, err := filepath.Match(pattern, f.Name())
		return err != nil || !ok || !f.Type().IsRegular()
	}), nil
}
