package listen

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often files are looked at, at most, by whoever needs what lies in them.
const lookEvery = time.Second

// A watched is what lies in files, read anew when one of them changes. While that cannot be read, what was read before goes on.
type watched[T any] struct {
	paths []string
	what  string // for the log
	read  func() (*T, error)
	about func(*T) []any // more for the log; nil: nothing
	log   *slog.Logger
	now   func() time.Time

	current atomic.Pointer[T]
	looked  atomic.Int64 // when the files were last looked at, Unix nanoseconds

	mu   sync.Mutex
	seen []os.FileInfo // as they were when they were last read, nil where there was none
}

// watch reads what lies there. It fails where that is no good.
func watch[T any](w *watched[T]) (*watched[T], error) {
	w.looked.Store(w.now().UnixNano())
	_, err := w.load()
	return w, err
}

// get returns what was read last, after a look at the files if the last one is long enough ago.
func (w *watched[T]) get() *T {
	now, looked := w.now().UnixNano(), w.looked.Load()
	if now-looked >= int64(lookEvery) && w.looked.CompareAndSwap(looked, now) {
		w.look()
	}
	return w.current.Load()
}

// look looks at the files now.
func (w *watched[T]) look() {
	if changed, err := w.load(); err != nil {
		w.log.Error("the new "+w.what+" is no good; the former one goes on", "files", w.paths, "error", err)
	} else if changed {
		about := []any{"files", w.paths}
		if w.about != nil {
			about = append(about, w.about(w.current.Load())...)
		}
		w.log.Info("a new "+w.what+" is in use", about...)
	}
}

// load reads the files if they are not as they were. Files that are no good are said to be so once.
func (w *watched[T]) load() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make([]os.FileInfo, len(w.paths))
	var missing error
	for i, path := range w.paths { // before they are read: what is written meanwhile shows at the next look
		info, err := os.Stat(path)
		seen[i], missing = info, errors.Join(missing, err)
	}
	if slices.EqualFunc(seen, w.seen, SameFile) && w.current.Load() != nil {
		return false, nil
	}
	if w.seen = seen; missing != nil {
		return false, missing
	}
	next, err := w.read()
	if err != nil {
		return false, err
	}
	w.current.Store(next)
	return true, nil
}

// SameFile says whether two looks at a file, nil where there was none, show the same.
func SameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
