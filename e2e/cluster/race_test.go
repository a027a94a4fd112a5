package cluster

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// Three hundred workers of one client present the same refresh token at once, at three replicas. Without a key one of them
// wins, the others are told that they raced, and the session lives; with one key they all get the same bytes.
func TestThreeHundredRefreshesOfOneToken(t *testing.T) {
	const workers = 300
	rounds := size(3, 100)
	yaml := "tokens: {b2b: {reuse_leeway: 60s}}\n"
	if !full() { // a machine that is busy with other tests is given the time
		yaml += "database_pool: {statement_timeout: 10s}\n"
	}
	c := open(t, setting{YAML: yaml})
	user := c.newUser("Racers")
	latest := c.mustLogin(c.replicas[0].url, user)
	together := func(key string) (answers []answer) {
		answers = make([]answer, workers)
		begin := make(chan struct{})
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				<-begin
				answers[i] = c.refresh(c.replicas[i%len(c.replicas)].url, latest.Refresh, key)
			})
		}
		close(begin)
		all.Wait()
		return answers
	}
	var took times
	for round := range rounds {
		won := 0
		var next pair
		for _, a := range together("") {
			took.add(a.Took)
			switch a.Status {
			case http.StatusOK:
				won++
				var err error
				next, err = a.pair()
				must(t, err)
			case http.StatusUnauthorized:
			default:
				t.Errorf("round %d: %s", round, a)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of %d refreshes of one token were answered with 200", round, won, workers)
		}
		latest = next
		same := together(fmt.Sprintf("the-key-of-round-%06d", round))
		for i, a := range same {
			took.add(a.Took)
			if a.Status != http.StatusOK || !bytes.Equal(a.Body, same[0].Body) {
				t.Fatalf("round %d, with one key: answer %d is %s, the first was %s", round, i, a, same[0])
			}
		}
		var err error
		latest, err = same[0].pair()
		must(t, err)
		for _, r := range c.replicas {
			if a := c.call(r.url, latest.Access); a.Status != http.StatusOK {
				t.Fatalf("round %d: after the race the session is answered at %s with %s", round, r.name, a)
			}
		}
	}
	t.Logf("%d rounds of %d refreshes, without a key and with one: %v", rounds, workers, &took)
}
