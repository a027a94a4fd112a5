package accesslog

import (
	"context"
	"log/slog"
	"time"
)

const milliseconds = "2006-01-02T15:04:05.000Z"

// newHandler is slog's own, which escapes what needs it, writing into our buffer with our spelling of the time.
func (l *Log) newHandler() slog.Handler {
	options := &slog.HandlerOptions{
		Level: l.level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				a.Value = slog.StringValue(a.Value.Time().UTC().Format(milliseconds))
			}
			return a
		},
	}
	if l.text {
		return &handler{log: l, Handler: slog.NewTextHandler(lines{l}, options)}
	}
	return &handler{log: l, Handler: slog.NewJSONHandler(lines{l}, options)}
}

// lines takes what slog writes: a line at a time.
type lines struct{ log *Log }

func (w lines) Write(line []byte) (int, error) {
	w.log.add(line, false)
	return len(line), nil
}

// A handler sends on its way what cannot wait.
type handler struct {
	slog.Handler
	log *Log
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.log.now != nil && r.Time.IsZero() {
		r.Time = h.log.now()
	}
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	h.log.mu.Lock()
	running := h.log.running
	h.log.mu.Unlock()
	if !running {
		return h.log.flush() // nobody else would
	}
	if r.Level >= slog.LevelWarn {
		h.log.add(nil, true)
	}
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{log: h.log, Handler: h.Handler.WithAttrs(attrs)}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{log: h.log, Handler: h.Handler.WithGroup(name)}
}

// appendDropped adds the line that says how many lines are missing.
func appendDropped(b []byte, text bool, now time.Time, n int64) []byte {
	w := line{buf: b, text: text}
	w.begin(now, slog.LevelWarn, "log lines were dropped: they could not be written")
	w.number(droppedMember, n)
	return w.end()
}
