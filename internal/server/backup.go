package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/store"
)

// A Progress is told how many rows of how many something long has done, now and then.
type Progress func(doing string, done, of int64)

// progressEvery is after how many rows.
const progressEvery = 1000

func (p Progress) tell(doing string, done, of int64) {
	if p != nil && (done%progressEvery == 0 || done == of) {
		p(doing, done, of)
	}
}

// A BackedUp is what was written.
type BackedUp struct {
	Header backup.Header
	Bytes  int64
}

// sumLabel is what the checksum of a backup is sealed under.
func sumLabel(h *backup.Header) secret.Label {
	return secret.Label{Table: "backup", Row: h.Incarnation, Purpose: "checksum", Algorithm: "SHA-256"}
}

// BackUp writes a backup of the database as it is now. Servers go on meanwhile. version is the program's.
func (op *Opened) BackUp(ctx context.Context, to io.Writer, version string, progress Progress) (BackedUp, error) {
	var b BackedUp
	var w *backup.Writer
	var done, of int64
	err := op.DB.Export(ctx, func(h backup.Header) (err error) {
		h.Gatehouse = version
		b.Header, of = h, h.Rows()
		w, err = backup.NewWriter(to, h)
		return err
	}, func(row []any) error {
		done++
		progress.tell("written", done, of)
		return w.Row(row)
	})
	if err != nil {
		return b, fmt.Errorf("back up: %w", err)
	}
	master := op.Masters.Named(b.Header.MasterKey)
	if master == nil { // it was replaced a moment ago
		return b, fmt.Errorf("back up: the database is sealed under the master key %s, which is not at hand", b.Header.MasterKey)
	}
	err = w.Close(func(sum []byte) []byte { return master.Seal(sumLabel(&b.Header), sum) })
	b.Bytes = w.Written()
	if err != nil {
		return b, fmt.Errorf("back up: %w", err)
	}
	return b, nil
}

// BackUpTo writes a backup into a new file that only its owner can read, and reads it once more. If there is an error there is
// no file, and a file that is there is left alone: it is [fs.ErrExist].
func (op *Opened) BackUpTo(ctx context.Context, path, version string, progress Progress) (b BackedUp, err error) {
	if _, err := os.Lstat(path); err == nil {
		return b, fmt.Errorf("back up to %s: %w: a backup is never written over another file", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return b, fmt.Errorf("back up: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if b, err = op.BackUp(ctx, f, version, progress); err != nil {
		return b, err
	}
	if err := f.Sync(); err != nil {
		return b, fmt.Errorf("back up: %w", err)
	}
	if _, err := readBackup(ctx, f, op.Masters, nil, "read back", progress); err != nil {
		return b, fmt.Errorf("what was written cannot be read again: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return b, fmt.Errorf("back up to %s: %w", path, err)
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return b, fmt.Errorf("back up to %s: %w", path, err)
	}
	return b, nil
}

// NoteBackup writes down that a backup was made by a command, for the metric of its age.
func (op *Opened) NoteBackup(ctx context.Context, b BackedUp) error {
	return op.DB.BackupTaken(ctx, store.ByCommand, b.Header.TakenAt)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readBackup reads a whole backup from the beginning of the file, and gives each row to load, unless that is nil. Only when it has
// returned without an error is it known that the file is whole, and was written by whoever has the master key.
func readBackup(ctx context.Context, f io.ReadSeeker, masters secret.Masters, load func(*backup.Table, []any) error, doing string, progress Progress) (backup.Header, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return backup.Header{}, err
	}
	r, err := backup.NewReader(f)
	if err != nil {
		return backup.Header{}, err
	}
	h := r.Header
	for done, of := int64(0), h.Rows(); ; {
		table, row, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return h, err
		}
		if load != nil {
			if err := load(table, row); err != nil {
				return h, err
			}
		}
		if done++; done%progressEvery == 0 && ctx.Err() != nil {
			return h, context.Cause(ctx)
		}
		progress.tell(doing, done, of)
	}
	return h, r.Finish(func(sum, sealed []byte) error {
		plain, err := masters.Open(h.MasterKey, sumLabel(&h), sealed)
		if err != nil || !secret.Equal(plain, sum) {
			return fmt.Errorf("%w: its checksum is not sealed under its master key: somebody has altered it", backup.ErrDamaged)
		}
		return nil
	})
}
