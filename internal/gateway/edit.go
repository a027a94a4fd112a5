package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Edits are done to the headers of a message: what is set replaces what was there. Values may be secrets.
type Edits struct {
	Set    map[string]string
	Remove []string
}

// edits are Edits, ready to be done.
type edits struct {
	set    []setHeader
	remove []string // what is removed, and what is set, canonical
}

type setHeader struct {
	name   string
	values []string // one, and no room for another
}

// newEdits checks edits. What is taken, or an identity header, cannot be edited.
func newEdits(e Edits, taken func(canonical string) bool, identity map[string]Fact) (edits, error) {
	var made edits
	own := make([]string, 0, len(identity))
	for name := range identity {
		own = append(own, textproto.CanonicalMIMEHeaderKey(name))
	}
	names := slices.Concat(slices.Sorted(maps.Keys(e.Set)), e.Remove)
	for i, name := range names {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !plainName(name):
			return edits{}, fmt.Errorf("%q: a header's name is letters, digits and '-', at most %d", name, longestName)
		case taken(canonical) || slices.Contains(own, canonical):
			return edits{}, fmt.Errorf("%q has a meaning of its own", name)
		case slices.Contains(made.remove, canonical):
			return edits{}, fmt.Errorf("%q is named twice", name)
		}
		made.remove = append(made.remove, canonical)
		if i < len(e.Set) {
			made.set = append(made.set, setHeader{canonical, []string{e.Set[name]}})
		}
	}
	return made, nil
}

// inRequests says whether a header is not for a route to edit in what an API gets. Authorization is: the API may want to know
// who the gateway is.
func inRequests(canonical string) bool {
	return canonical != "Authorization" && newStripSet().has(canonical) || ofMessages(canonical)
}

// inAnswers says whether a header is not for a route to edit in what an API answers.
func inAnswers(canonical string) bool {
	for _, prefix := range []string{"Access-Control-", "Ratelimit", "X-Auth-"} {
		if strings.HasPrefix(canonical, prefix) {
			return true
		}
	}
	return canonical == headerRequestID || canonical == "Date" || ofMessages(canonical)
}

// ofMessages says whether a header says how a message is read, or is between two that exchange it.
func ofMessages(canonical string) bool {
	return slices.Contains(ofTheMessage, canonical) || strings.HasPrefix(canonical, "Proxy-") || strings.HasPrefix(canonical, "Sec-Websocket-")
}

var ofTheMessage = []string{
	"Connection", "Content-Encoding", "Content-Length", "Content-Range", "Expect", "Host", "Http2-Settings", "Keep-Alive", "Te",
	"Trailer", "Transfer-Encoding", "Upgrade",
}

// do edits h.
func (e *edits) do(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	e.add(h)
}

// add sets what is set, in h, which has none of it.
func (e *edits) add(h http.Header) {
	for i := range e.set {
		h[e.set[i].name] = e.set[i].values
	}
}
