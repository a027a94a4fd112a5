package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExposed says that others than its owner may read the file of a [FileStore]. What is in it should be taken for known:
// remove it, and change the secret if others could use this machine.
var ErrExposed = errors.New("others can read it")

// A FileStore keeps tokens in a file that its owner alone can read (mode 0600). Processes that name the same file share one
// token and refresh one after the other.
//
// Beside the file lie path.lock, which is locked with flock and stays there, and for an instant path.new. flock holds between
// processes of one machine. On systems without it, Windows among them, and on file systems that do not carry it, no two
// processes may share a file; there, too, who may read it is for the folder to say.
type FileStore struct {
	path string
	gate gate // so that the Clients of one process need not poll for one another
}

// NewFileStore returns a store in the file at path. Its folder must exist, and should be its owner's alone; the file need not
// exist.
func NewFileStore(path string) *FileStore { return &FileStore{path: path} }

// Lock implements [Store].
func (s *FileStore) Lock(ctx context.Context) (func(), error) {
	leave, err := s.gate.lock(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, s.path+".lock")
	if err != nil {
		leave()
		return nil, err
	}
	return func() {
		unlock()
		leave()
	}, nil
}

// Load implements [Store]. A file that others can read is [ErrExposed].
func (s *FileStore) Load(context.Context) ([]byte, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what is open, whatever stands at path by now
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", s.path)
	}
	if exposed(info.Mode()) {
		return nil, fmt.Errorf("%s has the mode %04o: %w", s.path, info.Mode().Perm(), ErrExposed)
	}
	return io.ReadAll(io.LimitReader(f, mostAnswered))
}

// Save implements [Store]: a new file takes the old one's place, on the disk before it does.
func (s *FileStore) Save(_ context.Context, saved []byte) error {
	next := s.path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // never one that was laid there
	if err != nil {
		return err
	}
	_, err = f.Write(saved)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, s.path)
	}
	if err != nil {
		_ = os.Remove(next)
		return err
	}
	return syncDir(filepath.Dir(s.path))
}
