package server

import (
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

type verifyType = verify.Type

const b2bAccess = verify.B2BAccess

// rounds is how often a race is run: as often as GATEHOUSE_ROUNDS says; few times with -short and under the race detector,
// which finds in ten rounds what it finds in a thousand. Who wins is for make campaign to try as often as usual.
func rounds(t *testing.T, usual int) int {
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_ROUNDS")); err == nil {
		return n
	}
	if raced || testing.Short() {
		return max(usual/20, min(usual, 10))
	}
	return usual
}

// together runs fn n times at once and returns what each gave.
func together[T any](n int, fn func(i int) T) []T {
	results := make([]T, n)
	var ready, done sync.WaitGroup
	gun := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gun
			results[i] = fn(i)
		})
	}
	ready.Wait()
	close(gun)
	done.Wait()
	return results
}

func TestOfAHundredRefreshesOfOneTokenExactlyOneWins(t *testing.T) {
	w := newWorld(t, unlimited)
	_, username, password := w.issue(auth.Login)
	now, code := w.login(username, password)
	if code != http.StatusOK {
		t.Fatalf("login: %d", code)
	}
	type outcome struct {
		pair
		code int
	}
	for round := range rounds(t, 1000) {
		var next pair
		counts := map[int]int{}
		for _, got := range together(100, func(int) outcome {
			p, code := w.refresh(now.Refresh, "")
			return outcome{p, code}
		}) {
			counts[got.code]++
			if got.code == http.StatusOK {
				next = got.pair
			}
		}
		if counts[http.StatusOK] != 1 || counts[http.StatusUnauthorized] != 99 {
			t.Fatalf("round %d: %v, want one 200 and ninety-nine 401", round, counts)
		}
		if !w.works(next.Access) || !w.works(now.Access) {
			t.Fatalf("round %d: the session did not live on", round)
		}
		now = next
	}
}

func TestAHundredRefreshesUnderOneKeyAllGetTheSamePair(t *testing.T) {
	w := newWorld(t, unlimited)
	_, username, password := w.issue(auth.Login)
	now, _ := w.login(username, password)
	for round := range rounds(t, 20) {
		key := "key-of-round-" + strconv.Itoa(1000+round)
		bodies := map[string]int{}
		for _, body := range together(100, func(int) string {
			a := w.ask("POST", "/auth/refresh", `{"refresh_token":"`+now.Refresh+`"}`, "Idempotency-Key", key)
			return strconv.Itoa(a.Code) + " " + a.Body.String()
		}) {
			bodies[body]++
		}
		if len(bodies) != 1 {
			t.Fatalf("round %d: %d different answers: %v", round, len(bodies), bodies)
		}
		next, code := w.refresh(now.Refresh, key)
		if code != http.StatusOK {
			t.Fatalf("round %d: repeated once more: %d", round, code)
		}
		now = next
	}
}

func TestARefreshRacingALogoutLeavesNothingAlive(t *testing.T) {
	w := newWorld(t, unlimited)
	_, username, password := w.issue(auth.Login)
	for round := range rounds(t, 1000) {
		old, code := w.login(username, password)
		if code != http.StatusOK {
			t.Fatalf("round %d: a login after a logout: %d", round, code)
		}
		type outcome struct {
			pair
			code int
		}
		got := together(2, func(i int) outcome {
			if i == 0 {
				p, code := w.refresh(old.Refresh, "")
				return outcome{p, code}
			}
			return outcome{code: w.logout(old.Access)}
		})
		if got[1].code != http.StatusOK {
			t.Fatalf("round %d: logout: %d", round, got[1].code)
		}
		for _, access := range []string{old.Access, got[0].Access} {
			if access != "" && w.works(access) {
				t.Fatalf("round %d: an access token outlived the logout", round)
			}
		}
		for _, token := range []string{old.Refresh, got[0].Refresh} {
			if token == "" {
				continue
			}
			if _, code := w.refresh(token, ""); code != http.StatusUnauthorized {
				t.Fatalf("round %d: a refresh after the logout: %d", round, code)
			}
		}
	}
}

func TestALoginAfterALogoutLivesWhateverTheClockDoes(t *testing.T) {
	w := newWorld(t, unlimited)
	_, username, password := w.issue(auth.Login)
	steps := []time.Duration{0, 3 * time.Minute, -5 * time.Minute, 2 * time.Minute, -time.Minute, 7 * time.Minute, -6 * time.Minute}
	for round := range rounds(t, 200) {
		before, code := w.login(username, password)
		if code != http.StatusOK {
			t.Fatalf("round %d: login: %d", round, code)
		}
		w.move(steps[round%len(steps)])
		if code := w.logout(before.Access); code != http.StatusOK {
			t.Fatalf("round %d: logout: %d", round, code)
		}
		w.move(steps[(round+3)%len(steps)])
		after, code := w.login(username, password)
		if code != http.StatusOK || !w.works(after.Access) {
			t.Fatalf("round %d: a login sent after the logout was answered does not live (%d)", round, code)
		}
		if w.works(before.Access) {
			t.Fatalf("round %d: a token from before the logout lives", round)
		}
		if _, code := w.refresh(before.Refresh, ""); code != http.StatusUnauthorized {
			t.Fatalf("round %d: a refresh token from before the logout: %d", round, code)
		}
		if after, code = w.refresh(after.Refresh, ""); code != http.StatusOK || !w.works(after.Access) {
			t.Fatalf("round %d: the new session cannot be refreshed (%d)", round, code)
		}
	}
}

// One worker has a wrong secret and tries it for ever; the others behind the same address got in before.
func TestWrongSecretsRefuseNobodyWhoGotInBefore(t *testing.T) {
	w := newWorld(t, "limits: {exchange_per_address: {rate: 6000/min, burst: 200}}")
	var keys [49]string
	for i := range keys {
		_, keys[i], _ = w.issue(auth.APIKey)
		if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", keys[i]); a.Code != http.StatusCreated {
			t.Fatalf("worker %d did not get in at first: %d %s", i, a.Code, a.Body)
		}
		w.move(time.Second)
	}
	other, _, _ := w.issue(auth.APIKey)
	wrong := auth.FormatKey("gk", auth.Live, other.ID, "00000000000000000000000000000000")
	stop := make(chan struct{})
	var storm sync.WaitGroup
	tried := map[int]int{}
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tried[w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", wrong).Code]++
			}
		}
	})
	for round := range 20 {
		for i, key := range keys {
			if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key); a.Code != http.StatusCreated {
				t.Errorf("round %d, worker %d: %d %s", round, i, a.Code, a.Body)
			}
		}
		w.move(time.Second)
	}
	close(stop)
	storm.Wait()
	if tried[http.StatusBadRequest] == 0 || tried[http.StatusTooManyRequests] == 0 || len(tried) != 2 {
		t.Errorf("the wrong secret got %v, want 400 and then 429", tried)
	}
	// A right secret that is not in memory is refused with the wrong ones, without a look.
	_, late, _ := w.issue(auth.APIKey)
	for range 50 {
		w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", wrong)
	}
	if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", late); a.Code != http.StatusTooManyRequests {
		t.Errorf("one who never got in: %d, want 429 without a look", a.Code)
	}
}
