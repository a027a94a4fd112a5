package store

import "sync"

// A wake tells whoever follows the change log that there is more.
type wake struct {
	c       chan struct{}
	start   sync.Once
	running sync.WaitGroup
}

func (w *wake) kick() {
	select {
	case w.c <- struct{}{}:
	default: // it has been told and has not looked yet
	}
}

func (w *wake) wait() {
	w.start.Do(func() {}) // too late to start
	w.running.Wait()
}

// Wakes returns a channel of capacity one that is sent to when the change log may have grown: right after a commit of
// this process that appended to it, and within 200 ms of one by a command that runs beside. It is for one follower. The
// watching begins with the first call.
func (db *DB) Wakes() <-chan struct{} {
	db.wake.start.Do(func() {
		db.wake.running.Add(1)
		go func() {
			defer db.wake.running.Done()
			db.engine.watch(db.wake.kick)
		}()
	})
	return db.wake.c
}
