package usage

import "github.com/gatehouse/gatehouse/internal/auth"

// What is counted: first the acts that succeeded, then refusals by their reasons.
const (
	exchange = iota
	login
	refresh
	logout
	verified
	renew
	other
	acts // how many there are

	kinds = acts + 23 // as many as auth.Reasons: a test counts them
)

const refused = "refused:"

// kindOf is the place of what o did; -1: nothing to count, because it went wrong on our side.
func kindOf(o *auth.Observation) int {
	if o.Reason != auth.ReasonNone {
		return reason(o.Reason)
	}
	act := act(o.Did)
	if o.Status >= 400 && act != verified && act != renew && act != other {
		// Our own answer says that it did not succeed. Of a call through a route the answer is the API's.
		return -1
	}
	return act
}

func act(did string) int {
	switch did {
	case auth.DidExchange:
		return exchange
	case auth.DidLogin:
		return login
	case auth.DidRefresh:
		return refresh
	case auth.DidLogout:
		return logout
	case auth.DidVerify:
		return verified
	case auth.DidRenew:
		return renew
	}
	return other
}

// reason is the place of a refusal for r, -1 for none that we know.
func reason(r auth.Reason) int {
	for i, known := range auth.Reasons {
		if r == known {
			return acts + i
		}
	}
	return -1
}

// kindName is what stands in a row.
func kindName(kind int) string {
	switch kind {
	case exchange:
		return auth.DidExchange
	case login:
		return auth.DidLogin
	case refresh:
		return auth.DidRefresh
	case logout:
		return auth.DidLogout
	case verified:
		return auth.DidVerify
	case renew:
		return auth.DidRenew
	case other:
		return auth.DidOther
	}
	return refused + string(auth.Reasons[kind-acts])
}

// kindNamed is the kind that [kindName] named so.
func kindNamed(what string) int {
	for kind := range kinds {
		if kindName(kind) == what {
			return kind
		}
	}
	return other
}
