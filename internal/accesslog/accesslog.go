// Package accesslog writes the program's own lines and one line for each request to one place, so that no two lines ever
// mix. It leaves to others what is worth a line: [log/slog] for the program, an [auth.Observation] for a request.
//
// Three things hold whatever happens. A line is one JSON object (or one line of key=value), whatever a caller put into it.
// No request waits for the disk: what cannot be written is dropped and counted. And no secret gets in, because an
// observation has none, and what a caller wrote is masked where it looks like one.
package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	full   = 64 << 10 // bytes that are written without waiting for more
	most   = 4 << 20  // bytes kept while the disk is slow; what comes then is dropped
	soon   = 100 * time.Millisecond
	closes = 2 * time.Second // how long the end waits for a disk that does not answer
)

// A Format is how lines are written.
type Format string

// The formats.
const (
	JSON Format = "json"
	Text Format = "text"
)

// Config says where lines go.
type Config struct {
	To     io.Writer
	Level  slog.Leveler // lines below it are left out; nil: info. A [*slog.LevelVar] can be turned while it runs.
	Format Format       // "": JSON
	Now    func() time.Time
}

// A Log gathers lines and writes them. It is safe for concurrent use.
type Log struct {
	to      io.Writer
	level   slog.Leveler
	text    bool
	now     func() time.Time
	handler slog.Handler
	scratch sync.Pool // of *[]byte: a line is made before the lock is taken

	mu      sync.Mutex // for what follows; never held while writing
	buf     []byte     // whole lines
	running bool

	wake    chan struct{}
	dropped atomic.Int64

	writing chan struct{} // filled by whoever writes; for what follows
	spare   []byte
	torn    bool  // the last write ended within a line
	told    int64 // of dropped, those that a line has told of
}

// New returns a Log. Until its [Log.Run] is called, and after, each of the program's lines is written at once.
func New(c Config) (*Log, error) {
	if c.To == nil {
		return nil, errors.New("accesslog: nowhere to write to")
	}
	if c.Format != "" && c.Format != JSON && c.Format != Text {
		return nil, fmt.Errorf("accesslog: unknown format %q: json or text", c.Format)
	}
	l := &Log{to: c.To, level: c.Level, text: c.Format == Text, now: c.Now, wake: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
	if l.level == nil {
		l.level = slog.LevelInfo
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.scratch.New = func() any {
		b := make([]byte, 0, 1024)
		return &b
	}
	l.handler = l.newHandler()
	return l, nil
}

// Handler is for the program's own lines.
func (l *Log) Handler() slog.Handler { return l.handler }

// Logger is a [slog.Logger] on [Log.Handler].
func (l *Log) Logger() *slog.Logger { return slog.New(l.handler) }

// Dropped is how many lines could not be written so far.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Note adds the line of a request. It never waits for the disk.
func (l *Log) Note(o *auth.Observation) {
	level := levelOf(o)
	if level < l.level.Level() {
		return
	}
	line := l.scratch.Get().(*[]byte)
	if l.text {
		*line = appendText((*line)[:0], o, level)
	} else {
		*line = appendJSON((*line)[:0], o, level)
	}
	l.add(*line, level >= slog.LevelWarn)
	l.scratch.Put(line)
}

// levelOf: what went wrong on our side is an error, and a refusal is our daily work.
func levelOf(o *auth.Observation) slog.Level {
	if o.Status >= 500 {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// add takes whole lines. If urgent they go out as soon as the writer gets to it.
func (l *Log) add(lines []byte, urgent bool) {
	l.mu.Lock()
	if len(l.buf)+len(lines) > most {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	l.buf = append(l.buf, lines...)
	urgent = urgent || len(l.buf) >= full
	running := l.running
	l.mu.Unlock()
	if urgent && running {
		select {
		case l.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Run writes what is gathered, ten times a second and whenever there is much or something urgent, until ctx ends. Then it
// writes the rest, as [Log.Close] does.
func (l *Log) Run(ctx context.Context) error {
	l.run(true)
	defer l.run(false)
	tick := time.NewTicker(soon)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.run(false)
			return l.Close()
		case <-tick.C:
		case <-l.wake:
		}
		l.flush()
	}
}

func (l *Log) run(running bool) {
	l.mu.Lock()
	l.running = running
	l.mu.Unlock()
}

// Close writes what is gathered. It waits a moment for a disk that does not answer and then gives up: nothing that ends
// may hang on its log. A Log that was closed can still be used.
func (l *Log) Close() error {
	done := make(chan error, 1)
	go func() { done <- l.flush() }()
	wait := time.NewTimer(closes)
	defer wait.Stop()
	select {
	case err := <-done:
		return err
	case <-wait.C:
		return errors.New("the log could not be written: nothing takes it")
	}
}

// flush writes what is gathered. What the writer does not take is dropped: to keep it would only move the loss.
func (l *Log) flush() error {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	out := l.spare[:0]
	if l.torn {
		out = append(out, '\n') // so that only the torn line is lost, and not the next one too
	}
	lost := l.dropped.Load()
	if lost > l.told {
		out = appendDropped(out, l.text, l.now(), lost-l.told)
	}
	l.mu.Lock()
	if len(out) == 0 {
		out, l.buf = l.buf, out
	} else {
		out = append(out, l.buf...)
		l.buf = l.buf[:0]
	}
	l.mu.Unlock()
	if len(out) == 0 || len(out) == 1 && l.torn {
		l.spare = out
		return nil
	}
	n, err := l.to.Write(out)
	n = max(0, min(n, len(out)))
	if n > 0 {
		l.torn = out[n-1] != '\n'
	}
	if n < len(out) {
		if err == nil {
			err = io.ErrShortWrite
		}
		l.dropped.Add(int64(bytes.Count(out[n:], []byte{'\n'})))
	}
	if err == nil {
		l.told = lost
	}
	l.spare = out[:0]
	if cap(l.spare) > 8*full {
		l.spare = nil // a slow disk made it large; do not keep that
	}
	return err
}
