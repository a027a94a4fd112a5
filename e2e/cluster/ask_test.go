package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
)

// An answer is what came of one request. Status is 0 if no whole one came, for the reason Err.
type answer struct {
	Status int
	Body   []byte
	Header http.Header
	Took   time.Duration
	Err    error
}

func (a answer) String() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return fmt.Sprintf("%d %s", a.Status, a.Body)
}

// newClient keeps connections, as clients do.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 400}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 15 * time.Second}
}

// startAPI starts the API behind the gateway, and returns its URL. Asked slowly it takes its time.
func startAPI(t *testing.T) string {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.RawQuery == "slow" {
			time.Sleep(100 * time.Millisecond)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"products":[]}`)
	}))
	t.Cleanup(api.Close)
	return api.URL
}

// ask sends one request, with header lines as pairs.
func ask(client *http.Client, method, url, body string, header ...string) answer {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{Err: err}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return answer{Err: err, Took: time.Since(began)}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{Err: err, Took: time.Since(began)}
	}
	return answer{Status: res.StatusCode, Body: text, Header: res.Header, Took: time.Since(began)}
}

// A pair is what a login and a refresh hand out.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (a answer) pair() (pair, error) {
	var envelope struct{ Data pair }
	if a.Status != http.StatusOK {
		return pair{}, fmt.Errorf("no pair: %s", a)
	}
	err := json.Unmarshal(a.Body, &envelope)
	if p := envelope.Data; err == nil && (p.Access == "" || p.Refresh == "") {
		err = fmt.Errorf("no pair: %s", a)
	}
	return envelope.Data, err
}

func (c *cluster) login(url string, user program.Credential) answer {
	return ask(c.client, "POST", url+"/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, user.Username, user.Password))
}

// mustLogin logs in where it has to work.
func (c *cluster) mustLogin(url string, user program.Credential) pair {
	c.t.Helper()
	p, err := c.login(url, user).pair()
	if err != nil {
		c.t.Fatalf("login at %s: %v", url, err)
	}
	return p
}

func (c *cluster) refresh(url, token, key string) answer {
	var header []string
	if key != "" {
		header = []string{"Idempotency-Key", key}
	}
	return ask(c.client, "POST", url+"/auth/refresh", `{"refresh_token":"`+token+`"}`, header...)
}

func (c *cluster) logout(url, token string) answer {
	return ask(c.client, "POST", url+"/auth/logout", "", "Authorization", "Bearer "+token)
}

// call calls the API.
func (c *cluster) call(url, token string) answer {
	return ask(c.client, "GET", url+path, "", "Authorization", "Bearer "+token)
}

// exchange presents an API key, for which the answer is 201.
func (c *cluster) exchange(url, key string) answer {
	return ask(c.client, "GET", url+"/authentication", "", "X-LIQUID-API-KEY", key)
}

// mustExchange presents an API key where it has to work, and returns the token.
func (c *cluster) mustExchange(url, key string) string {
	c.t.Helper()
	var envelope struct{ Data struct{ Token string } }
	a := c.exchange(url, key)
	if err := json.Unmarshal(a.Body, &envelope); err != nil || a.Status != http.StatusCreated || envelope.Data.Token == "" {
		c.t.Fatalf("exchange at %s: %s", url, a)
	}
	return envelope.Data.Token
}

// eventually waits for done, at most as long as is given, and returns how long it took.
func eventually(t *testing.T, most time.Duration, what string, done func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := done()
		if took := time.Since(began); err == nil && took <= most {
			return took
		} else if took > most {
			t.Fatalf("%s: not within %v: %v", what, most, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// times are how long something took, again and again. The zero value is ready.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (x *times) add(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, d)
}

// at is a quantile, from 0 to 100.
func (x *times) at(percent int) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.all) == 0 {
		return 0
	}
	slices.Sort(x.all)
	return x.all[min(len(x.all)-1, len(x.all)*percent/100)].Round(100 * time.Microsecond)
}

func (x *times) String() string {
	return fmt.Sprintf("%d times: median %v, p99 %v, longest %v", len(x.all), x.at(50), x.at(99), x.at(100))
}

// A crowd does the same again and again, in several goroutines, until it is told to stop. The first error stops it too.
type crowd struct {
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	first error
}

// join adds somebody who does act in a loop.
func (w *crowd) join(act func() error) {
	w.wg.Go(func() {
		for !w.stop.Load() {
			if err := act(); err != nil {
				w.mu.Lock()
				if w.first == nil {
					w.first = err
				}
				w.mu.Unlock()
				w.stop.Store(true)
			}
		}
	})
}

// wait returns the first error when everybody has stopped.
func (w *crowd) wait() error {
	w.wg.Wait()
	return w.first
}

// end stops everybody and returns the first error.
func (w *crowd) end() error {
	w.stop.Store(true)
	return w.wait()
}
