package store

import (
	"sync"
	"time"
)

// wakeEvery is how often the database is asked whether somebody else wrote to it.
const wakeEvery = 200 * time.Millisecond

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
		go db.watch()
	})
	return db.wake.c
}

// watch asks on one kept connection for data_version, which costs a look at shared memory and changes when any other
// connection has committed. Then, because most commits are logins, it looks whether the log has grown.
func (db *DB) watch() {
	defer db.wake.running.Done()
	tick := time.NewTicker(wakeEvery)
	defer tick.Stop()
	c, err := newConn(db.from)
	if err == nil {
		defer c.close()
	}
	var version, head int64
	for {
		select {
		case <-db.closing:
			return
		case <-tick.C:
		}
		if err != nil { // no connection: the follower has to look for itself
			db.wake.kick()
			continue
		}
		var v, h int64
		if err := c.one("PRAGMA data_version", nil, out{&v}); err == nil && v == version {
			continue
		}
		// The first time there is nothing to compare with, and the follower may have looked before.
		if err := c.one("SELECT head FROM log_head", nil, out{&h}); err != nil || version == 0 || h != head {
			db.wake.kick()
		}
		version, head = v, h
	}
}
