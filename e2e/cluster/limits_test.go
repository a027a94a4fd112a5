package cluster

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/redistest"
)

// Three replicas that share their limits in Redis let through what one would. While Redis is away each counts for itself:
// never more than three times as much.
func TestLimitsAreShared(t *testing.T) {
	const rate = 60 // a second; as many may come at once
	redis := redistest.Start(t, redistest.Config{})
	wide := strings.Replace(usual, "exchange_per_credential: {rate: 1000000/s, burst: 1000000}", fmt.Sprintf("exchange_per_credential: {rate: %d/s, burst: %[1]d}", rate), 1)
	if wide == usual {
		t.Fatal("the usual configuration is another")
	}
	c := open(t, setting{YAML: wide, Redis: redis.URL(), Postgres: []*pgtest.Server{pgtest.Start(t, pgtest.Config{})}})
	crowdOut := func(what string, most float64) (let, allowed float64) {
		key := c.newCredential(c.newAccount("Keys"), "api-key").Key
		var through, limited atomic.Int64
		var w crowd
		began := time.Now()
		for i := range 6 {
			r := c.replicas[i%3]
			w.join(func() error {
				switch a := c.exchange(r.url, key); a.Status {
				case http.StatusCreated:
					through.Add(1)
				case http.StatusTooManyRequests:
					limited.Add(1)
					if a.Header.Get("Retry-After") == "" {
						return fmt.Errorf("a 429 without Retry-After")
					}
				default:
					return fmt.Errorf("%s: an exchange at %s: %s", what, r.name, a)
				}
				time.Sleep(2 * time.Millisecond)
				return nil
			})
		}
		time.Sleep(size(4*time.Second, 20*time.Second))
		must(t, w.end())
		took := time.Since(began).Seconds()
		let, allowed = float64(through.Load()), rate+rate*took
		t.Logf("%s: %.0f of %d exchanges in %.1f s were let through; one replica alone lets %.0f", what, let, through.Load()+limited.Load(), took, allowed)
		if let > most*allowed*1.05 {
			t.Errorf("%s: %.0f exchanges were let through, want %.0f at most", what, let, most*allowed)
		}
		if limited.Load() == 0 {
			t.Errorf("%s: nobody was refused, and the test shows nothing", what)
		}
		return let, allowed
	}
	if let, allowed := crowdOut("shared", 1); math.Abs(let-allowed) > allowed/20 {
		t.Errorf("%.0f were let through, want %.0f within 5 %%", let, allowed)
	}
	lasting, all, err := redis.Lasting()
	must(t, err)
	if len(lasting) > 0 || all == 0 {
		t.Errorf("of %d keys in Redis these have no end: %q", all, lasting)
	}
	must(t, redis.Kill())
	crowdOut("Redis is away", 3)
}
