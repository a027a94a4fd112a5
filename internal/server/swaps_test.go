package server

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/feed"
)

// A tenant is an account with all that its OAuth client can be known by, and all that it can hold.
type tenant struct {
	w       *world
	account auth.AccountID
	id      string // of the client that has a secret,
	secret  string
	signer  *signingClient // and of the one that signs
	prover  *prover        // has the key that its bound tokens are bound to

	access  map[string]string // by what they are; those that say "bound" are
	refresh map[string]string // that the next pair can be had for
	spent   string            // a refresh token: whoever uses it again in the name of its account ends the session
	others  map[string]string // what else opens something
}

// newTenant makes one that holds a token of each kind, from each contract and by each way to get it.
func newTenant(w *world) *tenant {
	w.t.Helper()
	c := &tenant{
		w: w, account: w.account, access: make(map[string]string), refresh: make(map[string]string), others: make(map[string]string),
		signer: w.signingClient(generate(w.t, jose.EdDSA), "orders:read"), prover: &prover{w: w, key: generate(w.t, jose.EdDSA)},
	}
	own := w.client("orders:read")
	c.id, c.secret = own.id, own.secret
	ask := func(form string) tokenAnswer {
		var got tokenAnswer
		w.form("/oauth/token", c.id, c.secret, form, "DPoP", c.prover.proof("POST", "/oauth/token", "", nil)).decode(w.t, &got)
		return got
	}
	for _, kind := range auth.Kinds {
		h := w.holder(kind)
		c.access["of "+string(kind)] = h.access
		c.others["the secret of "+string(kind)] = h.secret
		c.others["what "+string(kind)+" is called"] = h.identifier
		if h.refresh == "" {
			continue
		}
		c.refresh["of a login"] = h.refresh

		bound := w.holder(kind)
		pair := ask("grant_type=refresh_token&refresh_token=" + bound.refresh)
		c.access["of a login, bound"], c.refresh["of a login, bound"] = pair.AccessToken, pair.RefreshToken
		c.spent = bound.refresh
	}
	c.access["of a client, bound"] = ask("grant_type=client_credentials").AccessToken
	c.others["an assertion"] = c.signer.assertion(nil)
	for name, token := range c.access {
		if token == "" {
			w.t.Fatalf("no access token %s", name)
		}
	}
	return c
}

// ways are all by which the tenant's client can be known: each asks with a form.
func (c *tenant) ways() map[string]func(path, form string, headers ...string) answer {
	return map[string]func(string, string, ...string) answer{
		"Basic": func(path, form string, headers ...string) answer {
			return c.w.form(path, c.id, c.secret, form, headers...)
		},
		"the form": func(path, form string, headers ...string) answer {
			return c.w.form(path, "", "", form+"&client_id="+c.id+"&client_secret="+c.secret, headers...)
		},
		"a signature": func(path, form string, headers ...string) answer {
			return c.w.form(path, "", "", form+jwtBearer+c.signer.assertion(nil), headers...)
		},
	}
}

// told is all that the tenant's own client is told of what it holds.
func (c *tenant) told() map[string]inspection {
	c.w.t.Helper()
	all := make(map[string]inspection)
	for _, held := range []map[string]string{c.access, c.refresh} {
		for name, token := range held {
			all[name+token[len(token)-8:]] = c.w.introspect(client{c.id, c.secret}, token)
		}
	}
	return all
}

// forged is a token as well spelled as this one, that nobody signed.
func forged(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

const nobodysID = "u_AAAAAAAAAAAA"

// tellingLimits are never reached, and full again before the next request. Which of them an answer names says what was
// charged.
const tellingLimits = `
limits:
  exchange_per_address:    {rate: 1000000/s, burst: 50}
  exchange_per_credential: {rate: 1000000/s, burst: 40}
  failures_per_address:    {rate: 1000000/s, burst: 20}
  failures_per_identifier: {rate: 1000000/s, burst: 10}
`

// One customer's OAuth client learns nothing of another's tokens and ends none, in whichever way it is known, at whichever
// address, and whatever it presents there: what it is answered are the bytes that it gets for what never was.
func TestOneCustomersClientLearnsNothingOfAnothersTokens(t *testing.T) {
	w := newWorld(t, strings.ReplaceAll(dpopRoutes, "%s", api(t, "the API"))+tellingLimits)
	first := newTenant(w)
	var second *tenant
	w.inAnotherAccount(func() { second = newTenant(w) })
	for name, swap := range map[string][2]*tenant{"the second's client, the first's tokens": {second, first}, "and the other way round": {first, second}} {
		t.Run(name, func(t *testing.T) {
			stranger, owner := swap[0], swap[1]
			before := owner.told()
			asAnother(t, stranger, owner)
			withTokens(t, stranger, owner)
			atRoutes(t, stranger, owner)
			atTheFeed(t, stranger, owner)

			for what, is := range owner.told() {
				if !is.Active || is != before[what] {
					t.Errorf("%s: its owner is told %+v, and was told %+v", what, is, before[what])
				}
			}
			trail, err := w.opened.DB.Audit(t.Context(), auth.AuditQuery{Most: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range trail {
				if entry.About.Account == owner.account && strings.HasPrefix(entry.Act.Actor, "credential ") {
					t.Errorf("a client did something: %+v", entry)
				}
			}
		})
	}
	// Nothing was spent either.
	for _, c := range []*tenant{first, second} {
		for name, token := range c.refresh {
			if _, code := w.refreshAs(client{c.id, c.secret}, token); code != http.StatusOK {
				t.Errorf("a refresh token %s has gone: %d", name, code)
			}
		}
	}
}

// same holds an answer about something of the owner's to that about something that never was.
func same(t *testing.T, what string, got, unknown answer, code int) {
	t.Helper()
	if got.Code != code || seen(got) != seen(unknown) {
		t.Errorf("%s:\n%s\n\nwhat never was:\n%s", what, seen(got), seen(unknown))
	}
}

// withTokens presents the owner's tokens, and whatever else the owner has, where a client names tokens.
func withTokens(t *testing.T, stranger, owner *tenant) {
	for way, ask := range stranger.ways() {
		for _, held := range []map[string]string{owner.access, owner.refresh, {"that was spent": owner.spent}, owner.others} {
			for name, token := range held {
				if token == "" {
					continue // an API key has no secret beside itself
				}
				never := strings.Repeat("x", len(token))
				if strings.Count(token, ".") == 2 {
					never = forged(token)
				}
				what := way + ": " + name
				for path, code := range map[string]int{"/oauth/introspect": http.StatusOK, "/oauth/revoke": http.StatusOK} {
					for _, hint := range []string{"", "&token_type_hint=access_token", "&token_type_hint=refresh_token"} {
						same(t, what+" at "+path, ask(path, "token="+token+hint), ask(path, "token="+never+hint), code)
					}
				}
				const grant = "grant_type=refresh_token&refresh_token="
				same(t, what+" spent", ask("/oauth/token", grant+token), ask("/oauth/token", grant+never), http.StatusBadRequest)
				for _, scope := range []string{"&scope=orders:read", "&scope=orders:delete"} {
					same(t, what+" spent for a scope", ask("/oauth/token", grant+token+scope), ask("/oauth/token", grant+never+scope), http.StatusBadRequest)
				}
				proof := func() []string { return []string{"DPoP", stranger.prover.proof("POST", "/oauth/token", "", nil)} }
				same(t, what+" spent with a proof", ask("/oauth/token", grant+token, proof()...), ask("/oauth/token", grant+never, proof()...), http.StatusBadRequest)
				key := []string{"Idempotency-Key", "0123456789abcdef"}
				same(t, what+" spent under a key", ask("/oauth/token", grant+token, key...), ask("/oauth/token", grant+never, key...), http.StatusBadRequest)
			}
		}
	}
}

// asAnother mixes what the two are known by.
func asAnother(t *testing.T, stranger, owner *tenant) {
	w := stranger.w
	nobody := *stranger.signer
	signedAs := func(id string) string { return stranger.signer.assertion(map[string]any{"iss": id, "sub": id}) }
	nobody.id = nobodysID
	for path, form := range map[string]string{
		"/oauth/token":      "grant_type=client_credentials",
		"/oauth/introspect": "token=" + owner.access["of login"],
		"/oauth/revoke":     "token=" + owner.access["of login"],
	} {
		refused := func(what string, code int, ask func(id string) answer) {
			t.Helper()
			for _, id := range []string{owner.id, owner.signer.id} {
				same(t, path+": "+what, ask(id), ask(nobodysID), code)
			}
		}
		refused("another's id, one's own secret", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, id, stranger.secret, form)
		})
		refused("another's id, one's own secret, in the form", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, "", "", form+"&client_id="+id+"&client_secret="+stranger.secret)
		})
		refused("oneself by Basic, another in the form", http.StatusBadRequest, func(id string) answer {
			return w.form(path, stranger.id, stranger.secret, form+"&client_id="+id)
		})
		refused("another by Basic, oneself in the form", http.StatusBadRequest, func(id string) answer {
			return w.form(path, id, stranger.secret, form+"&client_id="+stranger.id)
		})
		refused("signed by oneself for another", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, "", "", form+jwtBearer+signedAs(id))
		})
		refused("signed by oneself for another, who is named", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, "", "", form+jwtBearer+signedAs(id)+"&client_id="+id)
		})
		refused("signed by oneself, another named", http.StatusBadRequest, func(id string) answer {
			return w.form(path, "", "", form+jwtBearer+stranger.signer.assertion(nil)+"&client_id="+id)
		})
		refused("signed by oneself, another by Basic", http.StatusBadRequest, func(id string) answer {
			return w.form(path, id, stranger.secret, form+jwtBearer+stranger.signer.assertion(nil))
		})
		refused("signed by oneself about another", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, "", "", form+jwtBearer+stranger.signer.assertion(map[string]any{"sub": id}))
		})
		refused("signed by another's name about oneself", http.StatusUnauthorized, func(id string) answer {
			return w.form(path, "", "", form+jwtBearer+stranger.signer.assertion(map[string]any{"iss": id}))
		})
		// What the owner signed is good once, in the owner's name, and does not turn into another's.
		same(t, path+": another's signature, oneself named",
			w.form(path, "", "", form+jwtBearer+url.QueryEscape(owner.signer.assertion(nil))+"&client_id="+stranger.id),
			w.form(path, "", "", form+jwtBearer+url.QueryEscape(nobody.assertion(nil))+"&client_id="+stranger.id), http.StatusBadRequest)
		// A secret of another sort is no client's, and says nothing of whose it is.
		for name, secret := range owner.others {
			if secret == "" {
				continue
			}
			same(t, path+": "+name, w.form(path, owner.id, secret, form), w.form(path, nobodysID, secret, form), http.StatusUnauthorized)
			same(t, path+": "+name+", as one's own", w.form(path, stranger.id, secret, form), w.form(path, stranger.id, strings.Repeat("x", len(secret)), form), http.StatusUnauthorized)
		}
	}
}

// atRoutes presents the owner's bound tokens with a key that is not the owner's.
func atRoutes(t *testing.T, stranger, owner *tenant) {
	for name, token := range owner.access {
		if !strings.HasSuffix(name, "bound") {
			continue
		}
		for _, path := range []string{"/api/x", "/strict/x"} {
			call := func(token string) answer {
				return stranger.w.ask("GET", path, "", "Authorization", "DPoP "+token, "DPoP", stranger.prover.proof("GET", path, token, nil))
			}
			same(t, path+" with a token "+name, call(token), call(forged(token)), http.StatusUnauthorized)
		}
	}
}

// atTheFeed asks for what was revoked, which is told to those whom an operator let have it, whatever happened to whom.
func atTheFeed(t *testing.T, stranger, owner *tenant) {
	w := stranger.w
	ask := func(id, secret string) answer {
		return w.ask("GET", feed.Path, "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
	before := ask(stranger.id, stranger.secret)
	mine := w.account
	w.account = owner.account
	h := w.holder(auth.Login)
	w.account = mine
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, h.credential.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Registry().AllowIP(t.Context(), operator, owner.account, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	same(t, "the feed", ask(stranger.id, stranger.secret), before, http.StatusForbidden)
	same(t, "the feed, as another", ask(owner.id, stranger.secret), ask(nobodysID, stranger.secret), http.StatusUnauthorized)
}
