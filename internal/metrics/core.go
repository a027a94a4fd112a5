package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What an act came to.
const (
	ok     = iota
	refuse // the caller's affair: a reason says which
	fault  // ours: it could not be decided or done
	outcomes
)

// What a refresh came to.
const (
	refreshed   = iota
	replayed    // the same pair once more, under an idempotency key
	raced       // the previous token within the leeway: refused, and the session lives on
	reused      // an older token: refused, and the session has ended
	notRefresh  // refused for any other reason
	refreshFail // our fault
	refreshOutcomes
)

const (
	nowhere   = 4 // the place of answers that were in no contract's words
	contracts = 5
)

// contractName is the label of one of our places for contracts.
func contractName(i int) string {
	if i == nowhere {
		return "none"
	}
	return string(auth.Contracts[i])
}

// newCore makes the counters of the five acts, all of them at once: a counter that is missing until it first counts makes
// a poor alert.
func (m *Metrics) newCore() {
	names := [outcomes]string{ok: "ok", refuse: "refused", fault: "error"}
	exchanges := counters("gatehouse_exchanges_total",
		"Exchanges of a credential for a token, logins included, by what they came to: ok, refused, error.", "contract", "outcome")
	refusals := counters("gatehouse_refusals_total",
		"Requests refused, by the contract in whose words and by reason.", "contract", "reason")
	observed := counters("gatehouse_observed_total",
		"Calls let through that would have been refused, were their route not only observed, by contract and reason.", "contract", "reason")
	for c := range contracts {
		if c != nowhere {
			for i, name := range names {
				m.exchanges[c][i] = exchanges.WithLabelValues(contractName(c), name)
			}
		}
		m.refusals[c] = make(map[auth.Reason]prometheus.Counter, len(auth.Reasons))
		m.observed[c] = make(map[auth.Reason]prometheus.Counter, len(auth.Reasons))
		for _, reason := range auth.Reasons {
			m.refusals[c][reason] = refusals.WithLabelValues(contractName(c), string(reason))
			m.observed[c][reason] = observed.WithLabelValues(contractName(c), string(reason))
		}
	}
	refreshes := counters("gatehouse_refreshes_total",
		"Refreshes, by what they came to: ok, replayed (the same answer once more, under an idempotency key), raced, reused, refused, error.", "outcome")
	for i, name := range [refreshOutcomes]string{
		refreshed: "ok", replayed: "replayed", raced: "raced", reused: "reused", notRefresh: "refused", refreshFail: "error",
	} {
		m.refreshes[i] = refreshes.WithLabelValues(name)
	}
	verifications := counters("gatehouse_verifications_total",
		"Calls through routes that ask for a token, by what the check came to: ok, refused, error.", "outcome")
	for i, name := range names {
		m.verifications[i] = verifications.WithLabelValues(name)
	}
	renewals := counters("gatehouse_renewals_total",
		"Tokens asked for within a call, by what became of it: ok, refused, unavailable.", "outcome")
	m.renewals = make(map[string]prometheus.Counter)
	for _, name := range []string{RenewalOK, RenewalRefused, RenewalUnavailable} {
		m.renewals[name] = renewals.WithLabelValues(name)
	}
	m.registry.MustRegister(exchanges, refusals, observed, refreshes, verifications, renewals)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// What became of a renewal.
const (
	RenewalOK          = "ok"
	RenewalRefused     = "refused"
	RenewalUnavailable = "unavailable"
)

// Renewed notes what became of a token asked for within a call. An observation cannot say: the call itself went on. Any
// other outcome than the three is not counted.
func (m *Metrics) Renewed(outcome string) {
	if c := m.renewals[outcome]; c != nil {
		c.Inc()
	}
}

// Note counts a request.
func (m *Metrics) Note(o *auth.Observation) {
	contract := o.Contract.Index()
	if o.Reason != auth.ReasonNone || o.Observed != auth.ReasonNone {
		at := contract
		if at < 0 {
			at = nowhere
		}
		if c := m.refusals[at][o.Reason]; c != nil {
			c.Inc()
		}
		if c := m.observed[at][o.Observed]; c != nil {
			c.Inc()
		}
	}
	switch o.Did {
	case auth.DidExchange, auth.DidLogin:
		if contract >= 0 {
			m.exchanges[contract][outcome(o)].Inc()
		}
	case auth.DidRefresh:
		m.refreshes[refreshOutcome(o)].Inc()
	case auth.DidVerify, auth.DidRenew:
		if at := verification(o); at >= 0 {
			m.verifications[at].Inc()
		}
	}
	m.routes.note(o)
}

// outcome is what an act of ours came to. A reason that stands for a fault of ours is one.
func outcome(o *auth.Observation) int {
	switch {
	case o.Reason == auth.ReasonOverloaded || o.Reason == auth.ReasonUpstream || o.Status >= http.StatusInternalServerError:
		return fault
	case o.Reason != auth.ReasonNone || o.Status >= http.StatusBadRequest:
		return refuse
	}
	return ok
}

func refreshOutcome(o *auth.Observation) int {
	switch outcome(o) {
	case fault:
		return refreshFail
	case ok:
		if o.Replayed {
			return replayed
		}
		return refreshed
	}
	switch o.Reason {
	case auth.ReasonRefreshRaced:
		return raced
	case auth.ReasonRefreshReused:
		return reused
	}
	return notRefresh
}

// verification is what the check of a call came to, whatever the API answered afterwards; -1 where none was made, as on a
// public route.
func verification(o *auth.Observation) int {
	if o.Observed != auth.ReasonNone {
		return refuse
	}
	switch o.Reason {
	case auth.ReasonNone, auth.ReasonUpstream:
		if o.Subject.Account != 0 {
			return ok
		}
		return -1
	case auth.ReasonNoRoute:
		return -1
	case auth.ReasonOverloaded:
		return fault
	}
	return refuse
}
