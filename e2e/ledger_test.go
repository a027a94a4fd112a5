package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// leeway is how long the previous refresh token is a race and not a theft. The test sets it long enough to lie across a
// restart, and stops counting on it well before its end.
const leeway = 60 * time.Second

// A session is one login as its client knows it: only what was acknowledged, and at most one request that was not.
type session struct {
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

// known are the access tokens of the session that its client was given.
func (s *session) known() []string { return append([]string{s.access}, s.older...) }

// An owner is one account with one user, and what its client knows. One goroutine at a time works with it, so that of every
// acknowledged act it is known what came before and what after.
type owner struct {
	id     string // of the account
	user   credential
	alive  []*session
	dead   []*session
	doubt  string // "logout" or "revoke": sent, and not answered
	client *http.Client
	url    string
	drawn  int // keys
	counts map[string]int
}

const (
	mostAlive = 8
	mostDead  = 24
)

// bury moves sessions to the dead, of which it remembers the latest, and one of the oldest.
func (o *owner) bury(dead ...*session) {
	o.dead = append(o.dead, dead...)
	if extra := len(o.dead) - mostDead; extra > 0 {
		o.dead = append(o.dead[:1], o.dead[1+extra:]...)
	}
}

func (o *owner) buryAll() {
	o.bury(o.alive...)
	o.alive = nil
}

// ask sends one request. An error means that no whole answer came.
func (o *owner) ask(method, path, token, key, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, o.url+path, strings.NewReader(body))
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
	res, err := o.client.Do(req)
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

// errLost is an act whose answer did not come.
type errLost struct{ error }

// unexpected is an answer that nothing explains.
type unexpected struct {
	act    string
	status int
	answer []byte
}

func (u unexpected) Error() string { return fmt.Sprintf("%s: got %d, %s", u.act, u.status, u.answer) }

// login adds a session.
func (o *owner) login() error {
	status, answer, err := o.ask("POST", "/auth/login", "", "", fmt.Sprintf(`{"username":%q,"password":%q}`, o.user.Username, o.user.Password))
	if err != nil {
		return errLost{err} // whatever it started, nobody has its tokens
	}
	if status != http.StatusOK {
		return unexpected{"login", status, answer}
	}
	p, err := readPair(answer)
	if err != nil {
		return err
	}
	o.counts["logins"]++
	o.alive = append(o.alive, &session{access: p.Data.Access, refresh: p.Data.Refresh})
	if len(o.alive) > mostAlive {
		o.alive = o.alive[1:] // the client forgets it
	}
	return nil
}

// rotate refreshes a session under key.
func (o *owner) rotate(s *session, key string) error {
	status, answer, err := o.ask("POST", "/auth/refresh", "", key, `{"refresh_token":"`+s.refresh+`"}`)
	if err != nil {
		s.doubt, s.key = true, key
		return errLost{err}
	}
	if status != http.StatusOK {
		return unexpected{"refresh of a session that lives", status, answer}
	}
	o.counts["refreshes"]++
	return s.advance(answer)
}

// advance takes the next pair.
func (s *session) advance(answer []byte) error {
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

// call makes sure that a token opens the API, or that it does not.
func (o *owner) call(token string, open bool, what string) error {
	status, answer, err := o.ask("GET", "/api/v1/products", token, "", "")
	if err != nil {
		return errLost{err}
	}
	want := http.StatusUnauthorized
	if open {
		want = http.StatusOK
	}
	if status != want {
		return fmt.Errorf("%s: got %d, want %d: %s", what, status, want, answer)
	}
	o.counts["calls"]++
	return nil
}

// spend presents a refresh token that must be refused.
func (o *owner) spend(token, what string) error {
	status, answer, err := o.ask("POST", "/auth/refresh", "", "", `{"refresh_token":"`+token+`"}`)
	if err != nil {
		return errLost{err}
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("%s: got %d, want 401: %s", what, status, answer)
	}
	return nil
}

// steal presents a refresh token from before the previous one: a theft, which ends the session.
func (o *owner) steal(i int) error {
	s := o.alive[i]
	if err := o.spend(s.spent[0], "a refresh token presented once more"); err != nil {
		if errors.As(err, new(errLost)) {
			// It may have ended the session. Nobody will know it again.
			o.alive = append(o.alive[:i], o.alive[i+1:]...)
		}
		return err
	}
	o.alive = append(o.alive[:i], o.alive[i+1:]...)
	o.bury(s)
	o.counts["thefts"]++
	return o.call(s.access, false, "the access token of a session that a theft ended")
}

// logout ends all sessions of the account.
func (o *owner) logout(s *session) error {
	status, answer, err := o.ask("POST", "/auth/logout", s.access, "", "")
	if err != nil {
		o.doubt = "logout"
		return errLost{err}
	}
	if status != http.StatusOK {
		return unexpected{"logout", status, answer}
	}
	o.buryAll()
	o.counts["logouts"]++
	return o.call(s.access, false, "an access token after logout")
}

// audit compares what the server says with the ledger after a restart. It settles what was in doubt.
func (o *owner) audit(draw func(n int) int) error {
	if err := o.settle(); err != nil {
		return err
	}
	for _, s := range o.alive {
		for _, token := range s.known() {
			if err := o.call(token, true, "an access token of a session that lives"); err != nil {
				return err
			}
		}
		if err := o.auditSpent(s); err != nil {
			return err
		}
		if draw(4) == 0 && !s.stuck {
			if err := o.rotate(s, o.newKey()); err != nil {
				return err
			}
		}
	}
	for _, s := range o.dead {
		for _, token := range s.known() {
			if err := o.call(token, false, "an access token of a session that was ended"); err != nil {
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
func (o *owner) auditSpent(s *session) error {
	if s.stuck || len(s.spent) == 0 || time.Since(s.rotated) > leeway/2 {
		return nil
	}
	return o.spend(s.spent[len(s.spent)-1], "the previous refresh token")
}

// settle finds out what became of requests that were not answered.
func (o *owner) settle() error {
	if o.doubt != "" {
		if err := o.settleEnd(); err != nil {
			return err
		}
	}
	for _, s := range o.alive {
		if !s.doubt {
			continue
		}
		status, answer, err := o.ask("POST", "/auth/refresh", "", s.key, `{"refresh_token":"`+s.refresh+`"}`)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			if err := s.advance(answer); err != nil {
				return err
			}
			o.counts["refreshes settled"]++
		case status == http.StatusUnauthorized && s.key == "":
			// It had happened, and without a key its pair is lost. The session must live all the same.
			s.doubt, s.stuck = false, true
			o.counts["pairs lost without a key"]++
		default:
			return unexpected{fmt.Sprintf("refresh repeated under its key %q", s.key), status, answer}
		}
	}
	return nil
}

// settleEnd finds out whether a logout or a revocation happened. It must have ended all sessions or none.
func (o *owner) settleEnd() error {
	what := o.doubt
	o.doubt = ""
	var alive, dead int
	for _, s := range o.alive {
		for _, token := range s.known() {
			status, answer, err := o.ask("GET", "/api/v1/products", token, "", "")
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
		switch err := o.login(); {
		case err == nil:
			alive++
		case errors.As(err, &refused) && refused.status == http.StatusUnauthorized:
			dead++
			o.user = credential{}
		default:
			return err
		}
	}
	if alive > 0 && dead > 0 {
		return fmt.Errorf("a %s that was not answered ended %d tokens and spared %d", what, dead, alive)
	}
	if dead > 0 {
		o.buryAll()
		o.counts[what+"s found done"]++
	} else {
		o.counts[what+"s found not done"]++
	}
	return nil
}

// newKey draws an idempotency key. They are the test's own, so counting is as good as chance.
func (o *owner) newKey() string {
	o.drawn++
	return fmt.Sprintf("account-%s-refresh-%08d", o.id, o.drawn)
}
