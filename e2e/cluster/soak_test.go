package cluster

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
)

// At half of what they can do, replicas use no more of anything as time goes on. GATEHOUSE_SOAK is how long they are watched.
func TestSoak(t *testing.T) {
	long := size(12*time.Second, time.Minute)
	if text := os.Getenv("GATEHOUSE_SOAK"); text != "" {
		var err error
		long, err = time.ParseDuration(text)
		must(t, err)
	}
	// The caches are as small as makes them full soon: what grows is to be what should not.
	c := open(t, setting{YAML: "cache: {credentials: 1000, tokens: 1000}\n", Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})}})
	key := c.newCredential(c.newAccount("Keys"), "api-key").Key
	const workers = 6
	var done atomic.Int64
	var acts []func() error
	for i := range workers {
		acts = append(acts, c.dayInOut(i, key, &done))
	}
	// run has everybody act, at a pace of so many requests a second, or as fast as it goes.
	run := func(d time.Duration, pace float64, watch func()) float64 {
		var w crowd
		began, before := time.Now(), done.Load()
		for _, act := range acts {
			w.join(func() error {
				if ahead := float64(done.Load()-before) - pace*time.Since(began).Seconds(); pace > 0 && ahead > 0 {
					time.Sleep(time.Duration(ahead / pace * float64(time.Second)))
				}
				return act()
			})
		}
		for time.Since(began) < d && !w.stop.Load() {
			time.Sleep(min(d/50, time.Second))
			watch()
		}
		must(t, w.end())
		return float64(done.Load()-before) / time.Since(began).Seconds()
	}
	most := run(3*time.Second, 0, func() {})
	samples := make([][]usage, len(c.replicas))
	half := run(long, most/2, func() {
		for i, r := range c.replicas {
			samples[i] = append(samples[i], r.use(t, c.client))
		}
	})
	t.Logf("%.0f requests a second at most, %.0f during %v", most, half, long)
	for i, r := range c.replicas {
		n := len(samples[i])
		middle, last := peak(samples[i][n/3:2*n/3]), peak(samples[i][2*n/3:])
		t.Logf("%s: %v in the second third, %v in the last", r.name, middle, last)
		if last.goroutines > middle.goroutines*1.2+20 {
			t.Errorf("%s: goroutines went from %.0f to %.0f", r.name, middle.goroutines, last.goroutines)
		}
		if last.descriptors > middle.descriptors*1.2+10 {
			t.Errorf("%s: open files went from %.0f to %.0f", r.name, middle.descriptors, last.descriptors)
		}
		if last.memory > middle.memory*1.15+8 {
			t.Errorf("%s: memory went from %.0f MB to %.0f MB", r.name, middle.memory, last.memory)
		}
	}
}

// dayInOut returns what a customer does, a step with each call: he logs in, calls, refreshes and logs out.
func (c *cluster) dayInOut(i int, key string, done *atomic.Int64) func() error {
	user := c.newUser(fmt.Sprintf("User %d", i))
	var p pair
	step := 0
	return func() (err error) {
		r := c.replicas[(i+step)%3]
		var a answer
		want := http.StatusOK
		switch n := step % 40; {
		case n == 0:
			a = c.login(r.url, user)
			p, err = a.pair()
		case n == 39:
			a = c.logout(r.url, p.Access)
		case n%10 == 9:
			a = c.refresh(r.url, p.Refresh, "")
			p, err = a.pair()
		case n%4 == 3:
			a, want = c.exchange(r.url, key), http.StatusCreated
		default:
			a = c.call(r.url, p.Access)
		}
		if err == nil && a.Status != want {
			err = fmt.Errorf("step %d at %s: %s", step%40, r.name, a)
		}
		step++
		done.Add(1)
		return err
	}
}

// usage is what a replica uses.
type usage struct{ goroutines, descriptors, memory float64 }

func (u usage) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f open files, %.0f MB", u.goroutines, u.descriptors, u.memory)
}

// peak is the most of everything.
func peak(all []usage) (most usage) {
	for _, u := range all {
		most.goroutines, most.descriptors, most.memory = max(most.goroutines, u.goroutines), max(most.descriptors, u.descriptors), max(most.memory, u.memory)
	}
	return most
}

// use reads what a replica says of itself.
func (r *replica) use(t *testing.T, client *http.Client) (u usage) {
	t.Helper()
	a := ask(client, "GET", "http://"+r.admin+"/metrics", "")
	if a.Status != http.StatusOK {
		t.Fatalf("metrics of %s: %s", r.name, a)
	}
	for line := bufio.NewScanner(bytes.NewReader(a.Body)); line.Scan(); {
		name, text, _ := strings.Cut(line.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue // a comment
		}
		switch name {
		case "go_goroutines":
			u.goroutines = value
		case "process_open_fds":
			u.descriptors = value
		case "process_resident_memory_bytes":
			u.memory = value / 1e6
		}
	}
	if u.goroutines == 0 || u.descriptors == 0 || u.memory == 0 {
		t.Fatalf("%s does not say what it uses: %v", r.name, u)
	}
	return u
}
