package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/redistest"
)

// Limits in Redis outlive the server, as they are other replicas' too. While Redis is away everything goes on, and what
// readiness says does not change.
func TestLimitsInRedis(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{Password: "s3cret"})
	yaml := "redis: " + redis.URL() + "\nlimits: {exchange_per_address: {rate: 1/h, burst: 3}}\n"
	w := newWorld(t, yaml)
	_, key, _ := w.issue(auth.APIKey)
	exchange := func(from string) int {
		return w.askFrom(from, "GET", "/authentication", "", "X-LIQUID-API-KEY", key).Code
	}
	expect := func(story, from string, want ...int) {
		t.Helper()
		for _, status := range want {
			if got := exchange(from); got != status {
				t.Errorf("%s: got %d, want %d", story, got, status)
			}
		}
	}
	sharing(t, w, "1")
	expect("a burst", "192.0.2.1:1", 201, 201, 201, 429)
	w.stop()
	w.start(yaml)
	sharing(t, w, "1")
	expect("after a restart", "192.0.2.1:1", 429)

	// Another installation has buckets of its own.
	other := newWorld(t, yaml)
	_, theirs, _ := other.issue(auth.APIKey)
	if a := other.askFrom("192.0.2.1:1", "GET", "/authentication", "", "X-LIQUID-API-KEY", theirs); a.Code != http.StatusCreated {
		t.Errorf("another installation on the same Redis: %d %s", a.Code, a.Body)
	}

	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	expect("without Redis", "192.0.2.2:1", 201, 201, 201, 429)
	sharing(t, w, "0")
	if a := w.ask("GET", "/readyz", ""); a.Code != http.StatusOK {
		t.Errorf("without Redis /readyz is %d", a.Code)
	}
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	sharing(t, w, "1")
	expect("with it again", "192.0.2.3:1", 201, 201, 201, 429)
	if said := w.log.String(); strings.Contains(said, "s3cret") || !strings.Contains(said, "limits are shared") {
		t.Errorf("the log: %s", said)
	}
	lasting, all, err := redis.Lasting()
	if err != nil || len(lasting) > 0 || all == 0 {
		t.Errorf("%d keys, and without an expiry %v, %v", all, lasting, err)
	}
}

// sharing waits until a server's limits are shared, "1", or not, "0".
func sharing(t *testing.T, w *world, value string) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !strings.Contains(w.metricsText(), "\ngatehouse_limits_shared "+value+"\n"); {
		if time.Now().After(late) {
			t.Fatalf("gatehouse_limits_shared does not become %s:\n%s", value, w.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// With Redis frozen every exchange is right, and of a hundred no more than one is 50 ms later than usual.
func TestAFrozenRedisHoldsNobodyUp(t *testing.T) {
	redis := redistest.Start(t, redistest.Config{})
	w := newWorld(t, "redis: "+redis.URL()+"\nlimits: {exchange_per_credential: {rate: 0}}\n")
	_, key, _ := w.issue(auth.APIKey)
	_, username, password := w.issue(auth.Login)
	p99 := func(try int) time.Duration {
		t.Helper()
		var took []time.Duration
		for i := range 500 {
			from := fmt.Sprintf("192.%d.%d.%d:1", try, i/200, i%200+1)
			begun := time.Now()
			a := w.askFrom(from, "GET", "/authentication", "", "X-LIQUID-API-KEY", key)
			took = append(took, time.Since(begun))
			if a.Code != http.StatusCreated {
				t.Fatalf("exchange %d: %d %s", i, a.Code, a.Body)
			}
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	// Whatever else the machine has to do comes and goes; what a server waits for would be there each time.
	var usual, frozen time.Duration
	for try := range 10 {
		usual = p99(try)
		if err := redis.Freeze(); err != nil {
			t.Fatal(err)
		}
		frozen = p99(try)
		t.Logf("99 of 100 exchanges took %v at most, with Redis frozen %v", usual, frozen)
		if frozen <= usual+50*time.Millisecond {
			break
		}
		if err := redis.Thaw(); err != nil {
			t.Fatal(err)
		}
		sharing(t, w, "1")
	}
	if frozen > usual+50*time.Millisecond {
		t.Errorf("with Redis frozen 99 of 100 exchanges took %v at most, usually %v", frozen, usual)
	}
	if _, status := w.login(username, password); status != http.StatusOK {
		t.Errorf("a login with Redis frozen: %d", status)
	}
	if _, status := w.login(username, password+"x"); status != http.StatusUnauthorized {
		t.Errorf("a wrong password with Redis frozen: %d", status)
	}
}
