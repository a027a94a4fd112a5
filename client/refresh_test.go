package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/client"
)

const (
	login   = "POST /auth/login"
	refresh = "POST /auth/refresh"
	logout  = "POST /auth/logout"
)

func TestASessionIsRefreshed(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.login())
	h.alive(token(t, c))
	h.wire.wants("first", login)
	for range 5 {
		h.Clock.Advance(56 * time.Minute)
		h.alive(token(t, c))
		h.wire.wants("within the hour", refresh)
	}
	h.Clock.Advance(6 * 24 * time.Hour)
	h.alive(token(t, c))
	h.wire.wants("within the week", refresh)
	h.Clock.Advance(8 * 24 * time.Hour)
	h.alive(token(t, c))
	h.wire.wants("after the week", login)
}

// What the server says to a refresh, and what becomes of the session.
func TestARefreshThatFails(t *testing.T) {
	h := openHouse(t, "")
	type hook = func(*http.Request) (*http.Response, error)
	lost := func(n int) hook { return times(n, "/auth/refresh", h.wire.lost) }
	is := func(status int, header ...string) hook {
		return times(1, "/auth/refresh", always(status, "", header...))
	}
	away := times(4, "/auth/refresh", func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	})
	const fourTimes = "refresh, sleep, refresh, sleep, refresh, sleep, refresh"
	for _, c := range []struct {
		what    string
		expired bool // the access token is, so that somebody waits
		hook    hook
		want    string
		later   time.Duration // after which it is asked for once more
		then    string
	}{
		{"an answer is lost", false, lost(1), "refresh, sleep, refresh", 0, ""},
		{"three are", true, lost(3), fourTimes, 0, ""},
		{"all are, and the client comes back soon", true, lost(4), fourTimes, 0, "refresh"},
		{"all are, and it comes back late", true, lost(4), fourTimes, 8 * time.Second, "login"},
		{"all are, while the old token is good", false, lost(4), fourTimes, time.Second, "refresh"},
		{"it is 503 for a moment", true, is(503, "Retry-After", "1"), "refresh, sleep, refresh", 0, ""},
		{"it is 503 for a moment, while the old token is good", false, is(503, "Retry-After", "1"), "refresh, sleep, refresh", 0, ""},
		{"it is 503 for longer than anybody knows", true, is(503, "Retry-After", "20"), "refresh, sleep, login", 0, ""},
		{"it is 503 for longer, while the old token is good", false, is(503, "Retry-After", "20"), "refresh", time.Minute, "login"},
		{"it is 500", true, is(500), "refresh", time.Second, "refresh"},
		{"it is 502", true, is(502), "refresh, sleep, refresh", 0, ""},
		{"it is 429", true, is(429, "Retry-After", "20"), "refresh, sleep, refresh", 0, ""},
		{"it is 429, while the old token is good", false, is(429, "Retry-After", "20"), "refresh", 20 * time.Second, "refresh"},
		{"it is 403", true, is(403), "refresh", time.Minute, "refresh"},
		{"it is 401", true, is(401), "refresh, login", 0, ""},
		{"it is 400", true, is(400), "refresh, login", 0, ""},
		{"it is 404", true, is(404), "refresh, login", 0, ""},
		{"nobody is there", true, away, fourTimes, time.Hour, "refresh"},
	} {
		cl := h.client(h.login())
		first := token(t, cl)
		h.Clock.Advance(56 * time.Minute)
		if c.expired {
			h.Clock.Advance(5 * time.Minute)
		}
		h.wire.passed()
		h.wire.on(c.hook)
		short := strings.NewReplacer(login, "login", refresh, "refresh", "sleep 0s", "sleep", "sleep 1s", "sleep")
		passed := func() string {
			var all []string
			for part := range strings.SplitSeq(short.Replace(h.wire.passed()), ", ") {
				if strings.HasPrefix(part, "sleep ") {
					part = "sleep"
				}
				all = append(all, part)
			}
			return strings.Join(all, ", ")
		}
		got, err := cl.Token(t.Context())
		if p := passed(); p != c.want {
			t.Errorf("%s: what passed was %s, want %s", c.what, p, c.want)
		}
		if c.then != "" {
			if c.expired != (err != nil) || err == nil && got.Value.Reveal() != first {
				t.Errorf("%s: got %v, %v", c.what, got, err)
			}
			h.wire.on(nil)
			h.Clock.Advance(c.later)
			got, err = cl.Token(t.Context())
			if p := passed(); p != c.then {
				t.Errorf("%s: what passed then was %s, want %s", c.what, p, c.then)
			}
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		h.alive(got.Value.Reveal())

		// The session goes on from there.
		h.wire.on(nil)
		h.Clock.Advance(56 * time.Minute)
		h.alive(token(t, cl))
		h.wire.wants(c.what+", at last", refresh)
	}
	h.Stop()
	if strings.Contains(h.Log(), "refresh_reused") {
		t.Error("the server took one for theft")
	}
}

// A login that follows a refused refresh, and fails, does not make the dead refresh token come again.
func TestADeadRefreshTokenIsSentOnce(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.login())
	token(t, c)
	h.Clock.Advance(2 * time.Hour)
	h.wire.passed()
	h.wire.on(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/auth/login" {
			return says(500, ""), nil
		}
		return says(401, ""), nil
	})
	if _, err := c.Token(t.Context()); !errors.Is(err, client.ErrInternal) {
		t.Errorf("got %v", err)
	}
	h.wire.on(nil)
	h.alive(token(t, c))
	h.wire.wants("a login that failed", refresh, login, login)
}

// Without a place for the key there is no refresh.
func TestAStoreThatTakesNothing(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.login(), func(c *client.Config) { c.Store = &full{} })
	h.alive(token(t, c))
	h.Clock.Advance(56 * time.Minute)
	h.alive(token(t, c))
	h.wire.wants("a full disk", login, login)

	store := &full{after: 1}
	c = h.client(h.login(), func(c *client.Config) { c.Store = store })
	h.alive(token(t, c))
	h.Clock.Advance(56 * time.Minute)
	h.alive(token(t, c))
	h.wire.wants("a disk that is full by now", login, login)
}

// A full store has room for some saves.
type full struct {
	client.MemoryStore
	after int
}

func (f *full) Save(ctx context.Context, saved []byte) error {
	if f.after--; f.after < 0 {
		return errors.New("no space left on device")
	}
	return f.MemoryStore.Save(ctx, saved)
}

// trials is how often something is tried: as often as GATEHOUSE_TRIALS says, or else as usual.
func trials(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("GATEHOUSE_TRIALS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A fault proxy cuts the answer to a refresh at each of many bytes. Nobody has to log in again.
func TestAnswersCutAnywhere(t *testing.T) {
	h := openHouse(t, "")
	cut := -1 // of the next answer to a refresh; below zero: none
	var cuts, logins, most int
	fault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := r.Clone(r.Context())
		req.URL, _ = url.Parse(h.URL + r.URL.Path)
		req.RequestURI, req.Host = "", req.URL.Host
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := httputil.DumpResponse(res, true)
		res.Body.Close()
		if err != nil {
			t.Error(err)
			return
		}
		end := len(answer)
		switch r.URL.Path {
		case "/auth/login":
			logins++
		case "/auth/refresh":
			most = max(most, end)
			if cut >= 0 {
				end, cut = min(end, cut), -1
				cuts++
			}
		}
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = buffered.Write(answer[:end])
		_ = buffered.Flush()
		conn.Close()
	}))
	defer fault.Close()
	c := h.client(h.login(), func(c *client.Config) { c.BaseURL, c.Transport = fault.URL, nil })
	h.alive(token(t, c))
	for n := range trials(t, 130) {
		h.Clock.Advance(56 * time.Minute)
		cut = 11 * n % max(most, 1)
		h.alive(token(t, c))
		if cut != -1 {
			t.Fatalf("trial %d: the answer was not cut at byte %d", n, cut)
		}
	}
	if want := trials(t, 130); logins != 1 || cuts != want {
		t.Errorf("%d logins, %d cuts in %d trials", logins, cuts, want)
	}
	t.Logf("%d cuts within %d bytes, %d login", cuts, most, logins)
}

func TestLogout(t *testing.T) {
	h := openHouse(t, "")
	who, store := h.login(), new(client.MemoryStore)
	start := func() *client.Client { return h.client(who, func(c *client.Config) { c.Store = store }) }
	c, other := start(), h.client(who)
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("nobody is logged in")
	c = start()
	first, second := token(t, c), token(t, other)
	h.wire.wants("logins", login, login)
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a logout", logout)
	for _, dead := range []string{first, second} {
		if got := h.try(dead); got != http.StatusUnauthorized {
			t.Errorf("after the logout the token is answered with %d", got)
		}
	}
	if saved, _ := store.Load(t.Context()); strings.Contains(string(saved), "token") {
		t.Errorf("stored is %s", saved)
	}
	for range 2 {
		if _, err := c.Token(t.Context()); !errors.Is(err, client.ErrLoggedOut) {
			t.Errorf("a client that was logged out has for a token: %v", err)
		}
		if _, err := c.HTTPClient().Get(h.URL + "/api/x"); !errors.Is(err, client.ErrLoggedOut) { //nolint:bodyclose // there is none
			t.Errorf("a client that was logged out has for a call: %v", err)
		}
		if err := c.Logout(t.Context()); err != nil {
			t.Error(err)
		}
	}
	h.wire.wants("a client that was logged out")
	c = start()
	h.alive(token(t, c))
	h.wire.wants("logged in again", login)

	// The access token has expired, and the session not.
	h.Clock.Advance(2 * time.Hour)
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("an expired token", refresh, logout)

	// The refresh token is refused, which says nothing of other sessions.
	if err := other.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a session that is over", refresh, login, logout)
	c, other = start(), h.client(who)
	token(t, c)
	token(t, other)
	if err := other.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.passed()
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a token that is dead", logout)

	// Lost answers, and the second try.
	c = start()
	token(t, c)
	h.wire.passed()
	h.wire.on(once("/auth/logout", h.wire.lost))
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a lost answer", logout, "sleep 0s", logout)

	// A refresh was spent, and nobody has what it gave: its session must end all the same.
	c = start()
	token(t, c)
	var lost string
	h.Clock.Advance(2 * time.Hour)
	h.wire.on(times(4, "/auth/refresh", func(req *http.Request) (*http.Response, error) {
		res, err := h.wire.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		var pair api.PairAnswer
		if err := json.NewDecoder(res.Body).Decode(&pair); err != nil {
			t.Error(err)
		}
		lost = pair.Data.AccessToken
		return nil, io.ErrUnexpectedEOF
	}))
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("it was not lost")
	}
	h.alive(lost)
	h.Clock.Advance(10 * time.Second)
	h.wire.passed()
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a session that nobody has", login, logout)
	if got := h.try(lost); got != http.StatusUnauthorized {
		t.Errorf("after the logout its token is answered with %d", got)
	}

	// The refresh token has expired.
	c = start()
	token(t, c)
	h.Clock.Advance(8 * 24 * time.Hour)
	h.wire.passed()
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	h.wire.wants("a session that expired")

	// A logout that fails changes nothing.
	c = start()
	token(t, c)
	h.wire.on(once("/auth/logout", always(403, `{"error":{"name":"ForbiddenError","code":"FORBIDDEN","message":"IP address not authorized"}}`)))
	if err := c.Logout(t.Context()); !errors.Is(err, client.ErrAddressNotAllowed) {
		t.Errorf("got %v", err)
	}
	h.wire.passed()
	token(t, c)
	h.wire.wants("still logged in")

	if err := h.client(h.key()).Logout(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of an API key: %v", err)
	}
}

// A renewal that waits while its client is logged out does not log it in again.
func TestALogoutBeforeARenewal(t *testing.T) {
	h := openHouse(t, "")
	store := &watchedStore{locking: make(chan struct{}, 1)}
	c := h.client(h.login(), func(c *client.Config) { c.Store = store })
	token(t, c)
	h.Clock.Advance(57 * time.Minute) // due, and good for a while
	h.wire.passed()
	<-store.locking
	got := make(chan error, 1)
	h.wire.on(once("/auth/logout", func(req *http.Request) (*http.Response, error) {
		go func() {
			_, err := c.Token(context.Background())
			got <- err
		}()
		<-store.locking // Logout's
		<-store.locking // and the renewal waits behind it
		return h.wire.next.RoundTrip(req)
	}))
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-got; !errors.Is(err, client.ErrLoggedOut) {
		t.Errorf("the renewal has %v", err)
	}
	h.wire.wants("a logout, and nothing after it", logout)
}

// A watchedStore tells of each call that wants its lock.
type watchedStore struct {
	client.MemoryStore
	locking chan struct{}
}

func (s *watchedStore) Lock(ctx context.Context) (func(), error) {
	s.locking <- struct{}{}
	return s.MemoryStore.Lock(ctx)
}

// The rest is about processes.

// child is set in the environment of this test program where it runs as another process.
const child = "GATEHOUSE_CLIENT_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(child); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	s := serveExamples()
	base = s.URL
	for name, value := range map[string]string{"API_KEY": "gk_live_x", "API_PASSWORD": "x", "CLIENT_SECRET": "x"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	status := m.Run()
	s.Close()
	os.Exit(status)
}

// An errand is what another process is to do: to get a token, and to say it.
type errand struct {
	Base, Username, Password, File string
	Ahead                          time.Duration // of the machine's clock
	Die                            string        // at a refresh: "before" it is sent, "after" it was answered
}

func runChild(text string) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	c, err := client.New(client.Config{
		BaseURL: e.Base, Credential: client.Login{Username: e.Username, Password: client.NewSecret(e.Password)},
		Store: client.NewFileStore(e.File), Now: func() time.Time { return time.Now().Add(e.Ahead) }, Transport: dying(e.Die),
	})
	if err != nil {
		return err
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the word to go
	got, err := c.Token(context.Background())
	if err != nil {
		return err
	}
	_, err = fmt.Println(got.Value.Reveal())
	return err
}

// dying is a transport that kills its process at a refresh.
type dying string

func (d dying) RoundTrip(req *http.Request) (*http.Response, error) {
	if d == "" || req.URL.Path != "/auth/refresh" {
		return http.DefaultTransport.RoundTrip(req)
	}
	if d == "after" {
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A process is an errand under way.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout bytes.Buffer
	stderr bytes.Buffer
}

func (e errand) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), child+"="+string(text), "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// token sends the process on its way and returns what it says.
func (p *process) token() (string, error) {
	_, _ = io.WriteString(p.stdin, "go\n")
	if err := p.cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, p.stderr.String())
	}
	return strings.TrimSpace(p.stdout.String()), nil
}

// counted is a front that counts what goes through it.
func counted(t *testing.T, h *house) (front string, passed func() string) {
	t.Helper()
	target, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.wire.note(r.Method + " " + r.URL.Path)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, h.wire.passed
}

func TestProcessesShareAFile(t *testing.T) {
	h := openHouse(t, "")
	base, passed := counted(t, h)
	who := h.login()
	e := errand{Base: base, Username: who.Username, Password: who.Password.Reveal(), File: filepath.Join(t.TempDir(), "tokens")}
	last := ""
	for _, want := range []string{login, refresh, refresh} {
		e.Ahead = time.Until(h.Clock.Now())
		processes := make([]*process, 4)
		for i := range processes {
			processes[i] = e.start(t)
		}
		got := make([]string, len(processes))
		var wg sync.WaitGroup
		for i, p := range processes {
			wg.Go(func() {
				var err error
				if got[i], err = p.token(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, one := range got {
			if one != got[0] || one == last || one == "" {
				t.Errorf("the processes have %d tokens of which one is %.20q…", len(got), one)
			}
		}
		if p := passed(); p != want {
			t.Errorf("what passed was %s, want %s", p, want)
		}
		h.alive(got[0])
		last = got[0]
		h.Clock.Advance(58 * time.Minute)
	}
}

// A process dies between the storing of the key and that of the answer, and another goes on from the file.
func TestKilledWhileRefreshing(t *testing.T) {
	for _, die := range []string{"before", "after"} {
		h := openHouse(t, "")
		base, passed := counted(t, h)
		who := h.login()
		e := errand{Base: base, Username: who.Username, Password: who.Password.Reveal(), File: filepath.Join(t.TempDir(), "tokens")}
		first, err := e.start(t).token()
		if err != nil {
			t.Fatal(err)
		}
		for round := range 2 {
			h.Clock.Advance(58 * time.Minute)
			e.Ahead, e.Die = time.Until(h.Clock.Now()), die
			var exit *exec.ExitError
			if _, err := e.start(t).token(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: it did not die: %v", die, err)
			}
			want := refresh
			if round == 1 { // nobody comes in time
				h.Clock.Advance(20 * time.Second)
				e.Ahead += 20 * time.Second
				want = login
			}
			e.Die = ""
			before := passed()
			got, err := e.start(t).token()
			if err != nil || got == first {
				t.Fatalf("%s: %v", die, err)
			}
			if p := passed(); p != want {
				t.Errorf("%s: after %q there passed %q, want %q", die, before, p, want)
			}
			h.alive(got)
			first = got
		}
		h.Stop()
		if strings.Contains(h.Log(), "refresh_reused") || strings.Contains(h.Log(), "refresh_raced") {
			t.Errorf("%s: the server took it for theft", die)
		}
	}
}
