package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// The headers that the gateway sets, spelled as header maps spell them.
const (
	headerAccount        = "X-Auth-Account"
	headerAccountRef     = "X-Auth-Account-Ref"
	headerCredential     = "X-Auth-Credential"
	headerType           = "X-Auth-Type"
	headerScope          = "X-Auth-Scope"
	headerRequestID      = "X-Request-Id"
	headerForwardedFor   = "X-Forwarded-For"
	headerForwardedHost  = "X-Forwarded-Host"
	headerForwardedProto = "X-Forwarded-Proto"
)

// ours are the headers whose value an API takes from us and nobody else. Credentials are among them: what opens our door
// is not passed on. Those that claim an address, a host, a path or a method are among them too, for an API that believed
// them would see another call than the one that was judged.
var ours = []string{
	headerAccount, headerAccountRef, headerCredential, headerType, headerScope, headerRequestID,
	"Authorization", "Proxy-Authorization", "DPoP",
	"Forwarded", "X-Forwarded", "X-Real-IP", "True-Client-IP", "X-Client-IP", "Client-IP", "X-Cluster-Client-IP",
	"CF-Connecting-IP", "Fastly-Client-IP",
	"X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override",
}

// oursToo are the beginnings of names of which the same is true.
var oursToo = []string{"x-forwarded-", "x-original-"}

// longestName is the longest name that can be ours, in bytes.
const longestName = 64

// A stripSet says which headers of a client go no further, however they are spelled: servers behind CGI and its kin take
// '-', '_' and often any other sign for the same (RFC 3875, section 4.1.18), so all signs are one here.
type stripSet struct {
	names map[string]struct{} // folded
	first [256]bool           // the first letters of all, so that most headers need no look-up
}

func newStripSet(more ...string) *stripSet {
	s := &stripSet{names: make(map[string]struct{})}
	for _, name := range slices.Concat(ours, more) {
		if name == "" {
			continue
		}
		folded := make([]byte, len(name))
		for i := range len(name) {
			folded[i] = fold[name[i]]
		}
		s.names[string(folded)] = struct{}{}
		s.begin(folded[0])
	}
	for _, prefix := range oursToo {
		s.begin(prefix[0])
	}
	return s
}

func (s *stripSet) begin(folded byte) {
	for c := range 256 {
		if fold[c] == folded {
			s.first[c] = true
		}
	}
}

// fold is how names are compared: letters in lower case, and one sign for all signs.
var fold = func() (to [256]byte) {
	for c := range to {
		switch c := byte(c); {
		case 'A' <= c && c <= 'Z':
			to[c] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			to[c] = c
		default:
			to[c] = '-'
		}
	}
	return to
}()

// has says whether the header called name goes no further.
func (s *stripSet) has(name string) bool {
	if name == "" || !s.first[name[0]] {
		return false
	}
	var buf [longestName]byte
	folded := buf[:min(len(name), longestName)]
	for i := range folded {
		folded[i] = fold[name[i]]
	}
	for _, prefix := range oursToo {
		if bytes.HasPrefix(folded, []byte(prefix)) {
			return true
		}
	}
	if len(name) > longestName {
		return false
	}
	_, ok := s.names[string(folded)]
	return ok
}

// from deletes from h what goes no further.
func (s *stripSet) from(h http.Header) {
	for name := range h {
		if s.has(name) {
			delete(h, name)
		}
	}
}

// onEveryRoute are the headers that tell who is calling on every route that looks at a token.
var onEveryRoute = []identityHeader{
	{headerAccount, Account}, {headerAccountRef, Ref}, {headerCredential, Credential}, {headerType, Type}, {headerScope, Scope},
}

// identityHeaders checks and sorts what Route.Identity asks for.
func identityHeaders(wanted map[string]Fact) ([]identityHeader, error) {
	fixed := newStripSet()
	var headers []identityHeader
	for name, fact := range wanted {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !plainName(name):
			return nil, fmt.Errorf("identity: %q: a header's name is letters, digits and '-', at most %d", name, longestName)
		case fixed.has(name) || ofMessages(canonical) || slices.Contains(notForIdentity, canonical):
			return nil, fmt.Errorf("identity: %q has a meaning of its own", name)
		}
		switch fact {
		case Account, Ref, Credential, Type, Scope:
		default:
			return nil, fmt.Errorf("identity: %q: %q is none of account, ref, credential, type, scope", name, fact)
		}
		headers = append(headers, identityHeader{canonical, fact})
	}
	slices.SortFunc(headers, func(a, b identityHeader) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(headers); i++ {
		if headers[i].name == headers[i-1].name {
			return nil, fmt.Errorf("identity: %q is named twice", headers[i].name)
		}
	}
	return headers, nil
}

// notForIdentity are headers, beside [ofMessages], that have a meaning for every API.
var notForIdentity = []string{"Accept-Encoding", "Content-Type", "Cookie", "User-Agent"}

func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '-' && fold[c] == '-' {
			return false
		}
	}
	return name != "" && len(name) <= longestName
}

// setOurs writes into h, which has none of them, what the API is told about the call c.
func (c *call) setOurs(h http.Header) {
	c.set(h, headerRequestID, c.r.Caller.RequestID)
	if c.r.Caller.Address.IsValid() {
		c.set(h, headerForwardedFor, c.r.Caller.Address.String())
	}
	c.set(h, headerForwardedHost, c.r.Host)
	c.set(h, headerForwardedProto, c.proto())
	if c.who.Claims == nil {
		return
	}
	for _, i := range onEveryRoute {
		c.set(h, i.name, c.g.fact(c.who, i.fact))
	}
	for _, i := range c.route.identity {
		c.set(h, i.name, c.g.fact(c.who, i.fact))
	}
}

// set writes a header of ours, unless it would be empty. The values lie beside one another in the call: one allocation
// instead of one for each.
func (c *call) set(h http.Header, name, value string) {
	if value == "" {
		return
	}
	c.values = append(c.values, value)
	n := len(c.values)
	h[name] = c.values[n-1 : n : n]
}

// fact is what there is to say of a caller, "" if that is nothing. Nobody has none, and f may be none.
func (g *Gateway) fact(who verify.Principal, f Fact) string {
	if who.Claims == nil {
		return ""
	}
	switch f {
	case Account:
		return who.Subject
	case Ref:
		return g.refOf(who)
	case Credential:
		return who.Credential
	case Type:
		return string(who.Type)
	case Scope:
		return who.Scope
	}
	return ""
}

// refOf is the operator's reference of the caller's account. One that cannot stand in a header is left out: the API sees
// the account's number in any case.
func (g *Gateway) refOf(who verify.Principal) string {
	ref := g.ref(auth.AccountID(who.Account))
	for i := range len(ref) {
		if ref[i] < ' ' || ref[i] == 0x7f {
			return ""
		}
	}
	return ref
}

// proto is how the client reached us, as far as we know: over TLS, or else as the public URL says, for then TLS may have
// ended before us.
func (c *call) proto() string {
	if c.r.TLS != nil {
		return "https"
	}
	return c.g.scheme
}
