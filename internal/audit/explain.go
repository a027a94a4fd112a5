package audit

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A Deployment is what an explanation has to know of the server.
type Deployment struct {
	Environment auth.Environment
	KeyPrefix   string // "gk", unless the operator chose another
}

// An Explained refusal says in plain words what happened and what to do. Its texts hold nothing that a terminal obeys.
type Explained struct {
	RequestIDs []string    `json:"request_ids"`
	At         time.Time   `json:"at"`
	Request    string      `json:"request"`
	Answer     string      `json:"answer"`
	Count      int64       `json:"count"` // of equal requests in that second
	Reason     auth.Reason `json:"reason"`
	Meaning    string      `json:"meaning"`
	Account    string      `json:"account,omitempty"`
	Credential string      `json:"credential,omitempty"`
	Secret     int         `json:"secret,omitempty"` // which of the credential's
	Session    string      `json:"session,omitempty"`
	Address    string      `json:"address,omitempty"`
	Hops       string      `json:"hops,omitempty"`
	UserAgent  string      `json:"user_agent,omitempty"`
	Clock      string      `json:"clock,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	Retry      string      `json:"retry,omitempty"`
	Mend       []string    `json:"mend"`
	Commands   []string    `json:"commands,omitempty"`
}

// Explain explains a refusal.
func Explain(r auth.Refusal, d Deployment) Explained {
	e, known := explanation(r.Reason)
	if !known { // of a newer version, perhaps
		e = Explanation{Meaning: "This version knows nothing about that reason.", Mend: "Look it up in the documentation of the version that wrote it."}
	}
	fill := placeholders(r)
	x := Explained{
		At: r.At.UTC(), Request: request(r), Answer: answer(r), Count: r.Count, Reason: auth.Reason(plain(string(r.Reason))), Meaning: e.Meaning,
		Secret: r.Subject.Secret, Session: plain(string(r.Subject.Session)), Credential: plain(string(r.Subject.Credential)),
		Hops: hops(r), UserAgent: plain(r.UserAgent), Clock: clock(r), Detail: plain(r.Detail),
		Retry: strings.ReplaceAll(e.Retry, "`", ""), Mend: append([]string{fill.Replace(e.Mend)}, particulars(r, d)...),
	}
	for _, id := range r.RequestIDs {
		x.RequestIDs = append(x.RequestIDs, plain(id))
	}
	if r.Subject.Account != 0 {
		x.Account = r.Subject.Account.String()
	}
	if r.Address.IsValid() {
		x.Address = r.Address.WithZone("").String()
	}
	if c := limitCommand(r); c != "" {
		x.Commands = append(x.Commands, c)
	}
	for _, c := range e.Commands {
		x.Commands = append(x.Commands, fill.Replace(c))
	}
	return x
}

// placeholders fills in what is known of the refusal. What is not stays a word in capitals, for a person to fill in. What
// is filled into a command is checked, not only shown: it will be pasted into a shell.
func placeholders(r auth.Refusal) *strings.Replacer {
	account, credential, address, kind := "ACCOUNT", "CREDENTIAL", "ADDRESS", "KIND"
	if r.Subject.Account != 0 {
		account = r.Subject.Account.String()
	}
	if c := string(r.Subject.Credential); c != "" && auth.Alphanumeric(c) {
		credential = c
	}
	if r.Address.IsValid() {
		address = r.Address.WithZone("").String()
	}
	if k := KindOf(r); k != "" {
		kind = string(k)
	}
	return strings.NewReplacer("{account}", account, "{credential}", credential, "{address}", address, "{kind}", kind)
}

// KindOf is the kind of credential that the caller should have: by his token, or by the address that he called.
func KindOf(r auth.Refusal) auth.Kind {
	if i := auth.ContractOf(r.Type).Index(); r.Type != "" && i >= 0 {
		return auth.Kinds[i]
	}
	if i := r.Contract.Index(); i >= 0 {
		return auth.Kinds[i]
	}
	return ""
}

func request(r auth.Refusal) string {
	var b strings.Builder
	b.WriteString(plain(or(r.Method, "(method left out)")))
	b.WriteString(" ")
	b.WriteString(plain(or(r.Path, "(path left out)")))
	if r.Host != "" {
		b.WriteString(" at ")
		b.WriteString(plain(r.Host))
	}
	if r.Route != "" && r.Route != r.Path {
		b.WriteString(", route ")
		b.WriteString(plain(r.Route))
	}
	return b.String()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func answer(r auth.Refusal) string {
	s := strconv.Itoa(r.Status)
	if text := http.StatusText(r.Status); text != "" {
		s += " " + text
	}
	if i := r.Contract.Index(); i >= 0 {
		s += fmt.Sprintf(", in the words of contract %d (%s)", i+1, r.Contract)
	}
	return s
}

// hops says how the address was found.
func hops(r auth.Refusal) string {
	if !r.Peer.IsValid() {
		return ""
	}
	peer, forwarded := r.Peer.WithZone(""), plain(r.Forwarded)
	switch {
	case r.Forwarded == "":
		return "connected directly: no X-Forwarded-For"
	case r.Peer != r.Address:
		return fmt.Sprintf("through the trusted proxy %s, which sent X-Forwarded-For: %s", peer, forwarded)
	}
	return fmt.Sprintf("X-Forwarded-For: %s was not followed: %s is not in trusted_proxies, or the header holds no address", forwarded, peer)
}

// clock says what a token tells about clocks. Its iat is the time of the server that made it.
func clock(r auth.Refusal) string {
	if r.IssuedAt.IsZero() {
		return ""
	}
	age := r.At.Sub(r.IssuedAt).Round(time.Second)
	if age < 0 {
		return fmt.Sprintf("the token was issued %v after this request, by the clock that made it: that clock and ours disagree by as much, or more", -age)
	}
	s := fmt.Sprintf("the token was issued %v before this request", age)
	if r.Reason == auth.ReasonTokenExpired {
		s += "; if its holder takes it for good, his clock is behind ours"
	}
	return s
}

// particulars is what there is to say of this one refusal, beyond what its reason says.
func particulars(r auth.Refusal, d Deployment) []string {
	switch r.Reason {
	case auth.ReasonWrongEnvironment:
		prefix, other, user, otherUser := or(d.KeyPrefix, "gk"), auth.Test, "u_", "test_u_"
		if d.Environment == auth.Test {
			other, user, otherUser = auth.Live, otherUser, user
		}
		return []string{fmt.Sprintf("This server's environment is %s: keys begin with %s_%s_ here, user IDs with %s. What was sent begins with %s_%s_ or %s.",
			or(string(d.Environment), string(auth.Live)), prefix, or(string(d.Environment), string(auth.Live)), user, prefix, other, otherUser)}
	case auth.ReasonRateLimited:
		if r.Limit != "" {
			return []string{limitSetting(r)}
		}
	case auth.ReasonAddressNotAllowed:
		if r.Forwarded != "" && r.Peer == r.Address {
			return []string{fmt.Sprintf("The request came with X-Forwarded-For, which was not followed. If %s is your proxy, the setting is trusted_proxies: [%s].",
				r.Peer.WithZone(""), r.Peer.WithZone(""))}
		}
	case auth.ReasonTokenWrongType:
		if r.Type != "" {
			return []string{"The token is of type " + plain(string(r.Type)) + ", which " + exchangeOf(r.Type) + " hands out."}
		}
	case auth.ReasonExpired:
		if r.Subject.Secret > 0 {
			return []string{fmt.Sprintf("It was the credential's secret %d; see there whether a later one is live.", r.Subject.Secret)}
		}
	}
	return nil
}

// exchangeOf is the address that hands out tokens of a type.
func exchangeOf(t verify.Type) string {
	switch auth.ContractOf(t) {
	case auth.Liquid:
		return "/authentication"
	case auth.Orders:
		return "/order-authentication"
	case auth.B2B:
		return "/auth/login"
	case auth.OAuth2:
		return "/oauth/token"
	}
	return "no address of ours"
}

// limitSetting says what a limit counts and where it is set.
func limitSetting(r auth.Refusal) string {
	name := plain(r.Limit)
	counts := ""
	switch r.Limit {
	case "exchange_per_address":
		counts = "attempts of one address at the addresses that hand out tokens"
	case "exchange_per_credential":
		counts = "tokens handed out to one credential"
	case "failures_per_address":
		counts = "failures of one address"
	case "failures_per_identifier":
		counts = "failures of one user ID or username"
	case "requests_per_account":
		return "The limit requests_per_account counts calls of one account through all routes. The setting is limits.requests_per_account; an account can have its own."
	default:
		return "The limit " + name + " counts calls of one account through the route " + plain(or(r.Route, "that was called")) + ". It is set in that route's limits."
	}
	return "The limit " + name + " counts " + counts + ". The setting is limits." + name + "."
}

// limitCommand raises the one limit that is set by a command.
func limitCommand(r auth.Refusal) string {
	if r.Reason != auth.ReasonRateLimited || r.Limit != "requests_per_account" || r.Subject.Account == 0 {
		return ""
	}
	return "gatehouse account limit " + r.Subject.Account.String() + " --requests 100/s"
}

// plain is s as it can be shown to a person: anything that a terminal could obey makes it a quoted string.
func plain(s string) string {
	for _, c := range s {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

// WriteTo writes it for a person.
func (x Explained) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Join(x.Lines(), "\n")+"\n")
	return int64(n), err
}

// Lines are what a person reads, a line each.
func (x Explained) Lines() []string {
	var lines []string
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, fmt.Sprintf("%-12s%s", name, text))
		}
	}
	if len(x.RequestIDs) > 0 {
		add("request", x.RequestIDs[0])
	}
	add("at", x.At.Format("2006-01-02T15:04:05.000Z"))
	add("asked", x.Request)
	add("answer", x.Answer)
	if x.Count > 1 {
		add("counted", fmt.Sprintf("%d equal requests in that second", x.Count))
	}
	add("reason", string(x.Reason)+": "+x.Meaning)
	add("account", x.Account)
	credential := x.Credential
	if credential != "" && x.Secret > 0 {
		credential += ", secret " + strconv.Itoa(x.Secret)
	}
	add("credential", credential)
	add("session", x.Session)
	address := x.Address
	if x.Hops != "" {
		address = or(address, "unknown") + ", " + x.Hops
	}
	add("address", address)
	add("client", x.UserAgent)
	add("clock", x.Clock)
	add("detail", x.Detail)
	add("again", x.Retry)
	for i, mend := range x.Mend {
		name := ""
		if i == 0 {
			name = "mend"
		}
		add(name, mend)
	}
	for _, c := range x.Commands {
		add("", "  "+c)
	}
	return lines
}
