package beside

import (
	"bytes"
	"sync"
)

// Said keeps what is written to it, by a program or by a part of ours, and can be read meanwhile. The zero value is empty.
type Said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *Said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

// String is all of it.
func (s *Said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// Forget throws away what was written so far.
func (s *Said) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Reset()
}

// Tail is the end of it.
func (s *Said) Tail() string { return tail(s.String()) }

// tail is as much of the end of a log as one reads.
func tail(text string) string { return text[max(0, len(text)-4000):] }
