// Package ledger is the memory of users who log in, refresh, log out and are robbed, kept outside of the servers they speak
// to: what was acknowledged to them, and what was asked and never answered. After servers were killed, or replaced by others,
// it compares what they say with what it knows: nothing acknowledged may be lost, nothing that was ended may come back, and
// no session may end that nobody ended.
//
// The servers are one or several that serve together. Every request goes to the next of them; a token that is dead is
// presented to all.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
)

// Leeway is how long the previous refresh token is a race and not a theft. The tests configure it, long enough to lie across
// a restart, and the ledger stops counting on it well before its end.
const Leeway = 60 * time.Second

// A Session is one login as its client knows it: only what was acknowledged, and at most one request that was not.
type Session struct {
	access  string
	older   []string // access tokens of earlier pairs: they live until they expire
	refresh string   // the current refresh token
	spent   []string // those before it, the latest last
	rotated time.Time

	// A refresh that was sent and not answered: it may have happened or not.
	doubt bool
	key   string // its idempotency key, "" if it had none
	stuck bool   // it had none and happened: the session lives, and its client cannot refresh it
}

// Known are the access tokens of the session that its client was given.
func (s *Session) Known() []string { return append([]string{s.access}, s.older...) }

// An Owner is one account with one user, and what its client knows. One goroutine at a time works with it, so that of every
// acknowledged act it is known what came before and what after.
type Owner struct {
	Account string             // its number
	User    program.Credential // with an empty ID while there is none
	Servers []string           // base URLs
	Path    string             // of a GET that any of the user's access tokens opens
	Client  *http.Client
	Alive   []*Session
	Doubt   string // "logout" or "revoke": sent, and not answered
	Counts  map[string]int

	// Busy takes a 503 to a login, refresh or logout for an answer that did not come: the act may have been committed. To a
	// call it is never one.
	Busy bool

	dead  []*Session
	asked int // requests
	drawn int // keys
}

const (
	mostAlive = 8
	mostDead  = 24
)

// bury moves sessions to the dead, of which it remembers the latest, and one of the oldest.
func (o *Owner) bury(dead ...*Session) {
	o.dead = append(o.dead, dead...)
	if extra := len(o.dead) - mostDead; extra > 0 {
		o.dead = append(o.dead[:1], o.dead[1+extra:]...)
	}
}

// BuryAll is for when all of the user's sessions were ended.
func (o *Owner) BuryAll() {
	o.bury(o.Alive...)
	o.Alive = nil
}

// ask sends one request to the next server. An error means that no whole answer came.
func (o *Owner) ask(method, path, token, key, body string) (status int, answer []byte, err error) {
	o.asked++
	return o.askAt(o.Servers[o.asked%len(o.Servers)], method, path, token, key, body)
}

// act sends a request that changes something.
func (o *Owner) act(path, token, key, body string) (status int, answer []byte, err error) {
	status, answer, err = o.ask("POST", path, token, key, body)
	if err == nil && status == http.StatusServiceUnavailable && o.Busy {
		o.Counts["503s"]++
		err = errors.New("503")
	}
	return status, answer, err
}

func (o *Owner) askAt(server, method, path, token, key, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, server+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := o.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// A pair is the answer to a login or a refresh.
type pair struct {
	Data struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
}

func readPair(answer []byte) (pair, error) {
	var p pair
	err := json.Unmarshal(answer, &p)
	if err == nil && (p.Data.Access == "" || p.Data.Refresh == "") {
		err = fmt.Errorf("not a pair: %s", answer)
	}
	return p, err
}

// Lost is an act whose answer did not come.
type Lost struct{ error }

func (l Lost) Unwrap() error { return l.error }

// unexpected is an answer that nothing explains.
type unexpected struct {
	act    string
	status int
	answer []byte
}

func (u unexpected) Error() string { return fmt.Sprintf("%s: got %d, %s", u.act, u.status, u.answer) }

// Login adds a session.
func (o *Owner) Login() error {
	status, answer, err := o.act("/auth/login", "", "", fmt.Sprintf(`{"username":%q,"password":%q}`, o.User.Username, o.User.Password))
	if err != nil {
		return Lost{err} // whatever it started, nobody has its tokens
	}
	if status != http.StatusOK {
		return unexpected{"login", status, answer}
	}
	p, err := readPair(answer)
	if err != nil {
		return err
	}
	o.Counts["logins"]++
	o.Alive = append(o.Alive, &Session{access: p.Data.Access, refresh: p.Data.Refresh})
	if len(o.Alive) > mostAlive {
		o.Alive = o.Alive[1:] // the client forgets it
	}
	return nil
}

// rotate refreshes a session under key.
func (o *Owner) rotate(s *Session, key string) error {
	status, answer, err := o.act("/auth/refresh", "", key, `{"refresh_token":"`+s.refresh+`"}`)
	if err != nil {
		s.doubt, s.key = true, key
		return Lost{err}
	}
	if status != http.StatusOK {
		return unexpected{"refresh of a session that lives", status, answer}
	}
	o.Counts["refreshes"]++
	return s.advance(answer)
}

// advance takes the next pair.
func (s *Session) advance(answer []byte) error {
	p, err := readPair(answer)
	if err != nil {
		return err
	}
	s.spent = append(s.spent, s.refresh)
	s.spent = s.spent[max(0, len(s.spent)-4):]
	s.older = append(s.older, s.access)
	s.older = s.older[max(0, len(s.older)-2):]
	s.access, s.refresh = p.Data.Access, p.Data.Refresh
	s.rotated, s.doubt, s.key = time.Now(), false, ""
	return nil
}

// Call makes sure that a token opens the API, or that it does so at none of the servers.
func (o *Owner) Call(token string, open bool, what string) error {
	o.asked++
	servers, want := o.Servers, http.StatusUnauthorized
	if open {
		servers, want = []string{servers[o.asked%len(servers)]}, http.StatusOK
	}
	for _, server := range servers {
		status, answer, err := o.askAt(server, "GET", o.Path, token, "", "")
		if err != nil {
			return Lost{err}
		}
		if status != want {
			return fmt.Errorf("%s, at %s: got %d, want %d: %s", what, server, status, want, answer)
		}
		o.Counts["calls"]++
	}
	return nil
}

// spend presents a refresh token that must be refused.
func (o *Owner) spend(token, what string) error {
	status, answer, err := o.act("/auth/refresh", "", "", `{"refresh_token":"`+token+`"}`)
	if err != nil {
		return Lost{err}
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("%s: got %d, want 401: %s", what, status, answer)
	}
	return nil
}

// steal presents a refresh token from before the previous one: a theft, which ends the session.
func (o *Owner) steal(i int) error {
	s := o.Alive[i]
	if err := o.spend(s.spent[0], "a refresh token presented once more"); err != nil {
		if errors.As(err, new(Lost)) {
			// It may have ended the session. Nobody will know it again.
			o.Alive = append(o.Alive[:i], o.Alive[i+1:]...)
		}
		return err
	}
	o.Alive = append(o.Alive[:i], o.Alive[i+1:]...)
	o.bury(s)
	o.Counts["thefts"]++
	return o.Call(s.access, false, "the access token of a session that a theft ended")
}

// logout ends all sessions of the account.
func (o *Owner) logout(s *Session) error {
	status, answer, err := o.act("/auth/logout", s.access, "", "")
	if err != nil {
		o.Doubt = "logout"
		return Lost{err}
	}
	if status != http.StatusOK {
		return unexpected{"logout", status, answer}
	}
	o.BuryAll()
	o.Counts["logouts"]++
	return o.Call(s.access, false, "an access token after logout")
}

// Audit compares what the servers say with the ledger once they are well again. It settles what was in doubt.
func (o *Owner) Audit(random *rand.Rand) error {
	if err := o.settle(); err != nil {
		return err
	}
	for _, s := range o.Alive {
		for _, token := range s.Known() {
			if err := o.Call(token, true, "an access token of a session that lives"); err != nil {
				return err
			}
		}
		if err := o.auditSpent(s); err != nil {
			return err
		}
		if random.IntN(4) == 0 && !s.stuck {
			if err := o.rotate(s, o.newKey()); err != nil {
				return err
			}
		}
	}
	for _, s := range o.dead {
		for _, token := range s.Known() {
			if err := o.Call(token, false, "an access token of a session that was ended"); err != nil {
				return err
			}
		}
		if err := o.spend(s.refresh, "the refresh token of a session that was ended"); err != nil {
			return err
		}
	}
	return nil
}

// auditSpent presents the previous refresh token, which within the leeway harms nobody: had its rotation been forgotten, it
// would be accepted.
func (o *Owner) auditSpent(s *Session) error {
	if s.stuck || len(s.spent) == 0 || time.Since(s.rotated) > Leeway/2 {
		return nil
	}
	return o.spend(s.spent[len(s.spent)-1], "the previous refresh token")
}

// Act does one random thing: it logs in, calls, refreshes, is robbed, or, more rarely, logs out.
func (o *Owner) Act(random *rand.Rand) error {
	if len(o.Alive) == 0 {
		return o.Login()
	}
	i := random.IntN(len(o.Alive))
	s := o.Alive[i]
	switch n := random.IntN(1000); {
	case n < 200:
		return o.Login()
	case n < 840:
		if s.stuck {
			return o.Call(s.access, true, "an access token of a session that lives")
		}
		key := ""
		if n < 740 {
			key = o.newKey()
		}
		return o.rotate(s, key)
	case n < 930:
		return o.Call(s.access, true, "an access token of a session that lives")
	case n < 960:
		if s.stuck || len(s.spent) < 2 {
			return nil
		}
		return o.steal(i)
	}
	return o.logout(s)
}

// settle finds out what became of requests that were not answered.
func (o *Owner) settle() error {
	if o.Doubt != "" {
		if err := o.settleEnd(); err != nil {
			return err
		}
	}
	for _, s := range o.Alive {
		if !s.doubt {
			continue
		}
		status, answer, err := o.act("/auth/refresh", "", s.key, `{"refresh_token":"`+s.refresh+`"}`)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			if err := s.advance(answer); err != nil {
				return err
			}
			o.Counts["refreshes settled"]++
		case status == http.StatusUnauthorized && s.key == "":
			// It had happened, and without a key its pair is lost. The session must live all the same.
			s.doubt, s.stuck = false, true
			o.Counts["pairs lost without a key"]++
		default:
			return unexpected{fmt.Sprintf("refresh repeated under its key %q", s.key), status, answer}
		}
	}
	return nil
}

// settleEnd finds out whether a logout or a revocation happened. It must have ended all sessions or none.
func (o *Owner) settleEnd() error {
	what := o.Doubt
	o.Doubt = ""
	var alive, dead int
	for _, s := range o.Alive {
		for _, token := range s.Known() {
			status, answer, err := o.ask("GET", o.Path, token, "", "")
			switch {
			case err != nil:
				return err
			case status == http.StatusOK:
				alive++
			case status == http.StatusUnauthorized:
				dead++
			default:
				return unexpected{"call", status, answer}
			}
		}
	}
	if what == "revoke" {
		// The user himself tells whether his credential is dead, even if he has no session.
		var refused unexpected
		switch err := o.Login(); {
		case err == nil:
			alive++
		case errors.As(err, &refused) && refused.status == http.StatusUnauthorized:
			dead++
			o.User = program.Credential{}
		default:
			return err
		}
	}
	if alive > 0 && dead > 0 {
		return fmt.Errorf("a %s that was not answered ended %d tokens and spared %d", what, dead, alive)
	}
	if dead > 0 {
		o.BuryAll()
		o.Counts[what+"s found done"]++
	} else {
		o.Counts[what+"s found not done"]++
	}
	return nil
}

// newKey draws an idempotency key. They are the test's own, so counting is as good as chance.
func (o *Owner) newKey() string {
	o.drawn++
	return fmt.Sprintf("account-%s-refresh-%08d", o.Account, o.drawn)
}
