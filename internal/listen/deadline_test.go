package listen

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A counted counts how often its socket got a deadline.
type counted struct {
	net.Conn
	set int
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.set++
	return c.Conn.SetReadDeadline(t)
}

// Whatever deadlines are set while a read waits, by net/http and by us, it ends at the moment at which the earlier of both has
// come, and neither before nor after.
func TestAReadEndsAtTheDeadlineThatHolds(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			ours, theirs := net.Pipe()
			defer theirs.Close()
			c := newConn(ours, &Listener{})
			begun := time.Now()
			after := func(second int64) time.Time { return begun.Add(time.Duration(second) * time.Second) }
			var asked, own time.Time
			some := func(second int) time.Time {
				switch draw.IntN(4) {
				case 0:
					return time.Time{}
				case 1:
					return time.Unix(1, 0) // as net/http wakes a reader
				}
				return after(int64(second) + draw.Int64N(20))
			}
			ended := make(chan time.Time, 1)
			go func() {
				_, err := c.read(make([]byte, 1))
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("seed %d: got %v, want a deadline that is over", seed, err)
				}
				ended <- time.Now()
			}()
			synctest.Wait()
			want := time.Time{}
			for second := 0; want.IsZero(); second++ {
				by := earlier(asked, own)
				if !by.IsZero() && !time.Now().Before(by) {
					want = time.Now()
					break
				}
				if second == 60 {
					asked = after(61)
					_ = c.SetReadDeadline(asked)
				} else if draw.IntN(3) == 0 {
					if draw.IntN(2) == 0 {
						asked = some(second)
						_ = c.SetReadDeadline(asked)
					} else {
						own = some(second)
						c.setOwn(own)
					}
				}
				if by = earlier(asked, own); !by.IsZero() && !time.Now().Before(by) {
					want = time.Now()
					break
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
			synctest.Wait()
			select {
			case got := <-ended:
				if !got.Equal(want) {
					t.Errorf("seed %d: the read ended after %v, want %v", seed, got.Sub(begun), want.Sub(begun))
				}
			default:
				t.Errorf("seed %d: the read goes on after %v", seed, want.Sub(begun))
				_ = c.Close()
			}
		})
	}
}

// A request sets a handful of deadlines. The socket of somebody who reads gets those that are earlier than its own, and the one
// after a reader was woken; that of nobody gets none.
func TestALaterDeadlineCostsNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	socket := &counted{Conn: ours}
	c := newConn(socket, &Listener{})
	now := time.Now()
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil || socket.set != 0 {
		t.Errorf("the socket got %d deadlines before anybody read (%v)", socket.set, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	c.reads(true)
	for n := range 1000 {
		at := now.Add(time.Duration(n) * time.Millisecond)
		for _, by := range []time.Time{at.Add(10 * time.Second), {}, at.Add(10 * time.Second), at.Add(2 * time.Minute), {}} {
			if err := c.SetReadDeadline(by); err != nil {
				t.Fatal(err)
			}
		}
		c.setOwn(at.Add(30 * time.Second))
		c.setOwn(time.Time{})
	}
	if socket.set != 1 {
		t.Errorf("the socket got %d deadlines, want 1", socket.set)
	}
	for _, by := range []time.Time{time.Unix(1, 0), {}} {
		if err := c.SetReadDeadline(by); err != nil {
			t.Fatal(err)
		}
	}
	if socket.set != 3 {
		t.Errorf("with a reader that was woken the socket got %d deadlines, want 3", socket.set)
	}
}
