package server

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
)

// watchEvery is how often the configuration file is looked at.
const watchEvery = time.Second

// watchConfig reloads the configuration when its file has changed, or another lies in its place, and has been the same for two looks
// since: half of a file that is just being written may well be a configuration, and another one.
func (s *Server) watchConfig(ctx context.Context) error {
	path := s.config().Path()
	if path == "" || s.options.Load == nil {
		return nil
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	w := watched{path: path} // it may have changed since it was read: the first look that finds it settled loads it
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if w.settled() {
			_ = s.reloadLogged(ctx, slog.LevelDebug) // it has logged why not
		}
	}
}

// A watched file is one whose changes are waited for.
type watched struct {
	path   string
	loaded os.FileInfo // as it was when it was last found settled; nil: there was none
	last   os.FileInfo // as it was at the last look
}

// settled looks at the file and says whether it is not as it was loaded, and has not changed since the last look.
func (w *watched) settled() bool {
	now, _ := os.Stat(w.path) // nil if there is none: it is loaded all the same, for the log to say so
	still := listen.SameFile(now, w.last)
	w.last = now
	if !still || listen.SameFile(now, w.loaded) {
		return false
	}
	w.loaded = now
	return true
}
