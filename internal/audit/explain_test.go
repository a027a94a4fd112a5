package audit

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

func TestEveryReasonIsExplained(t *testing.T) {
	var explained []auth.Reason
	for _, e := range Explanations {
		explained = append(explained, e.Reason)
		if e.Meaning == "" || len(e.Sees) == 0 || e.Retry == "" || e.Mend == "" || len(e.Commands) == 0 {
			t.Errorf("%s: something is missing: %+v", e.Reason, e)
		}
		for _, text := range []string{e.Meaning, e.Retry, e.Mend} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: no sentence: %q", e.Reason, text)
			}
		}
	}
	if diff := cmp.Diff(auth.Reasons, explained); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

var live = Deployment{Environment: auth.Live, KeyPrefix: "gk"}

// offList is a refusal with everything known.
func offList() auth.Refusal {
	return auth.Refusal{
		At: noon.Add(123 * time.Millisecond), RequestIDs: []string{"reqid_123abc45def", "reqid_2"}, Count: 17,
		Method: "GET", Host: "api.example.com", Path: "/api/v1/products/7", Route: "/api/v1/", Contract: auth.B2B, Status: 403,
		Reason: auth.ReasonAddressNotAllowed, Subject: auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s1"},
		Type: verify.B2BAccess, Address: office, Peer: proxy, Forwarded: "198.51.100.9, 203.0.113.7", UserAgent: "curl/8.5",
		IssuedAt: noon.Add(-time.Minute),
	}
}

func TestExplain(t *testing.T) {
	want := `request     reqid_123abc45def
at          2026-11-22T12:00:00.123Z
asked       GET /api/v1/products/7 at api.example.com, route /api/v1/
answer      403 Forbidden, in the words of contract 3 (b2b)
counted     17 equal requests in that second
reason      address_not_allowed: The credential or token was good, but the account has a list of addresses, and the one that the request came from is not on it.
account     100001
credential  aB3dE5gH7jK9, secret 2
session     s1
address     203.0.113.7, through the trusted proxy 10.0.0.5, which sent X-Forwarded-For: 198.51.100.9, 203.0.113.7
client      curl/8.5
clock       the token was issued 1m0s before this request
again       Not until the list is changed, which acts at once. A refresh token that was refused so is not spent.
mend        Make sure with the customer that the address is his, then allow it. If it is the address of your own proxy, name the proxy in trusted_proxies instead, and the customer's own address counts.
              gatehouse account allow-ip 100001 203.0.113.7
              gatehouse account show 100001
`
	var got bytes.Buffer
	if _, err := Explain(offList(), live).WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatExplainSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*auth.Refusal)
		d      Deployment
		want   string
	}{
		{
			"a staging key in production", func(r *auth.Refusal) { r.Reason = auth.ReasonWrongEnvironment }, live,
			"This server's environment is live: keys begin with gk_live_ here, user IDs with u_. What was sent begins with gk_test_ or test_u_.",
		},
		{
			"a production key in staging", func(r *auth.Refusal) { r.Reason = auth.ReasonWrongEnvironment },
			Deployment{auth.Test, "acme"},
			"This server's environment is test: keys begin with acme_test_ here, user IDs with test_u_. What was sent begins with acme_live_ or u_.",
		},
		{
			"a configured limit", func(r *auth.Refusal) { r.Reason, r.Limit = auth.ReasonRateLimited, "failures_per_address" }, live,
			"The limit failures_per_address counts failures of one address. The setting is limits.failures_per_address.",
		},
		{
			"the account's limit", func(r *auth.Refusal) { r.Reason, r.Limit = auth.ReasonRateLimited, "requests_per_account" }, live,
			"gatehouse account limit 100001 --requests 100/s",
		},
		{
			"a route's limit", func(r *auth.Refusal) { r.Reason, r.Limit = auth.ReasonRateLimited, "search" }, live,
			"The limit search counts calls of one account through the route /api/v1/. It is set in that route's limits.",
		},
		{
			"a suspended account", func(r *auth.Refusal) { r.Reason = auth.ReasonAccountSuspended }, live,
			"gatehouse account resume 100001",
		},
		{
			"a wrong secret", func(r *auth.Refusal) { r.Reason = auth.ReasonWrongSecret }, live,
			"gatehouse credential rotate aB3dE5gH7jK9",
		},
		{
			"an old secret", func(r *auth.Refusal) { r.Reason, r.Subject.Secret = auth.ReasonExpired, 1 }, live,
			"It was the credential's secret 1; see there whether a later one is live.",
		},
		{
			"a token of another type", func(r *auth.Refusal) { r.Reason, r.Type = auth.ReasonTokenWrongType, verify.OrderAPI }, live,
			"The token is of type ORDER_API, which /order-authentication hands out.",
		},
		{
			"a kind by the token", func(r *auth.Refusal) { r.Reason = auth.ReasonInsufficientScope }, live,
			"gatehouse credential create --account 100001 --kind login --scope SCOPE",
		},
		{"a kind by the address", func(r *auth.Refusal) {
			r.Reason, r.Type, r.Contract, r.Subject = auth.ReasonUnknown, "", auth.Liquid, auth.Subject{}
		}, live, "gatehouse credential create --account ACCOUNT --kind api-key"},
		{
			"an expired token", func(r *auth.Refusal) { r.Reason, r.IssuedAt = auth.ReasonTokenExpired, noon.Add(-25*time.Hour) }, live,
			"the token was issued 25h0m0s before this request; if its holder takes it for good, his clock is behind ours",
		},
		{
			"a clock that is ahead", func(r *auth.Refusal) { r.Reason, r.IssuedAt = auth.ReasonTokenNotYetValid, noon.Add(2*time.Minute) }, live,
			"the token was issued 2m0s after this request, by the clock that made it: that clock and ours disagree by as much, or more",
		},
		{
			"a proxy that nobody trusts", func(r *auth.Refusal) { r.Address = proxy }, live,
			"The request came with X-Forwarded-For, which was not followed. If 10.0.0.5 is your proxy, the setting is trusted_proxies: [10.0.0.5].",
		},
		{
			"the hops of that", func(r *auth.Refusal) { r.Address = proxy }, live,
			"10.0.0.5, X-Forwarded-For: 198.51.100.9, 203.0.113.7 was not followed: 10.0.0.5 is not in trusted_proxies, or the header holds no address",
		},
		{
			"no proxy", func(r *auth.Refusal) { r.Forwarded, r.Peer = "", office }, live,
			"203.0.113.7, connected directly: no X-Forwarded-For",
		},
		{
			"our fault", func(r *auth.Refusal) {
				r.Reason, r.Status, r.Detail = auth.ReasonUpstream, 502, "dial tcp 127.0.0.1:9100: connection refused"
			}, live,
			"dial tcp 127.0.0.1:9100: connection refused",
		},
		{
			"a reason of a newer version", func(r *auth.Refusal) { r.Reason = "moon_phase" }, live,
			"This version knows nothing about that reason.",
		},
		{
			"counted together", func(r *auth.Refusal) { r.Method, r.Path, r.Host, r.Route = "", "", "", "" }, live,
			"(method left out) (path left out)",
		},
	} {
		r := offList()
		c.change(&r)
		lines := Explain(r, c.d).Lines()
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasSuffix(line, c.want) || strings.Contains(line, c.want) }) {
			t.Errorf("%s: no line says %q:\n%s", c.name, c.want, strings.Join(lines, "\n"))
		}
	}
}

func TestExplainAsJSON(t *testing.T) {
	b, err := json.Marshal(Explain(offList(), live))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got["reason"] != "address_not_allowed" || got["account"] != "100001" || got["secret"] != 2.0 || got["address"] != "203.0.113.7" {
		t.Errorf("got %s", b)
	}
	if got["commands"].([]any)[0] != "gatehouse account allow-ip 100001 203.0.113.7" {
		t.Errorf("commands: %v", got["commands"])
	}
}

// Whatever lies in the store, nothing that a terminal obeys is printed, and no command holds more than it seems to.
func FuzzExplain(f *testing.F) {
	f.Add("/a\x1b[2J", "aB3; rm -rf /", "reason", "203.0.113.7")
	f.Add("\u202e", "$(id)", "wrong_environment", "fe80::1%`id`")
	f.Fuzz(func(t *testing.T, text, id, reason, address string) {
		r := auth.Refusal{
			At: noon, RequestIDs: []string{text}, Method: text, Host: text, Path: text, Route: text, Contract: auth.Contract(text), Reason: auth.Reason(reason),
			Subject: auth.Subject{Account: 100001, Credential: auth.CredentialID(id), Session: auth.SessionID(text)}, Type: verify.Type(text),
			Forwarded: text, UserAgent: text, Limit: text, Detail: text,
		}
		r.Address, _ = netip.ParseAddr(address)
		r.Peer = r.Address
		x := Explain(r, live)
		for _, line := range x.Lines() {
			for _, c := range line {
				if !unicode.IsPrint(c) {
					t.Fatalf("%U in %q", c, line)
				}
			}
		}
		for _, c := range x.Commands {
			if strings.ContainsAny(c, "$`;&|<>()'\"\\\n") {
				t.Fatalf("a command that does more than it says: %q", c)
			}
		}
	})
}
