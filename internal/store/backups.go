package store

import (
	"context"
	"time"
)

// A BackupMaker is who makes backups.
type BackupMaker string

// The makers.
const (
	BySchedule BackupMaker = "schedule" // servers, by themselves
	ByCommand  BackupMaker = "command"
)

// ClaimBackup says whether this replica is the one to make the backup that is due: none by schedule was taken within the last
// every, and nobody else claimed it within the last lease. A claim lasts for a lease and can be claimed again meanwhile by who
// has it. Of any number of replicas one gets it.
func (db *DB) ClaimBackup(ctx context.Context, replica string, every, lease time.Duration) (bool, error) {
	n, err := update(ctx, db, func(t *tx) (int64, error) {
		now := db.Now()
		return t.exec(`INSERT INTO backups (made_by, claimed_at, claimed_by) VALUES ($1, $2, $3)
			ON CONFLICT (made_by) DO UPDATE SET claimed_at = excluded.claimed_at, claimed_by = excluded.claimed_by
			WHERE (backups.taken_at IS NULL OR backups.taken_at <= $4)
				AND (backups.claimed_at IS NULL OR backups.claimed_at <= $5 OR backups.claimed_by = excluded.claimed_by)`,
			string(BySchedule), now.UnixMilli(), replica, now.Add(-every).UnixMilli(), now.Add(-lease).UnixMilli())
	})
	return n > 0, wrap(err, "claim the backup that is due")
}

// BackupTaken writes down a good backup. It ends the claim on it.
func (db *DB) BackupTaken(ctx context.Context, by BackupMaker, at time.Time) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		_, err = t.exec(`INSERT INTO backups (made_by, taken_at) VALUES ($1, $2)
			ON CONFLICT (made_by) DO UPDATE SET taken_at = excluded.taken_at, claimed_at = NULL, claimed_by = ''
			WHERE backups.taken_at IS NULL OR backups.taken_at < excluded.taken_at`, string(by), at.UnixMilli())
		return none, err
	})
	return wrap(err, "write down a backup")
}

// LastBackup is when the last good backup was taken, whoever made it; zero: none ever.
func (db *DB) LastBackup(ctx context.Context) (at time.Time, err error) {
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT MAX(taken_at) FROM backups`, nil, out{(*stamp)(&at)})
	})
	return at, wrap(err, "look when the last backup was taken")
}
