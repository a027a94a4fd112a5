package demo

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// A chapter is some lines to try, and what they show. A line is one command: it goes into a shell as it stands.
type chapter struct {
	title string
	lines []string
}

// member is the sed that takes a string out of one line of JSON: everybody has sed, and not everybody jq.
func member(name string) string {
	return `sed -n 's/.*"` + name + `": *"\([^"]*\)".*/\1/p'`
}

// chapters are the lines to try.
func chapters(c Config, dir string, at addresses, s sample) []chapter {
	base := url(at.public)
	const body = "-H 'Content-Type: application/json' "
	bearer := func(variable string) string { return `-H "Authorization: Bearer $` + variable + `"` }
	gatehouse := quoted(c.Program) + " --config " + quoted(filepath.Join(dir, configFile)) + " "
	return []chapter{
		{"An API key buys an access token. The API learns who is calling, and never sees key or token. The last line has the next\ntoken come with the API's answer, in \"auth\".", []string{
			`TOKEN=$(curl -sS ` + base + `/authentication -H 'X-LIQUID-API-KEY: ` + s.key + `' | ` + member("token") + `)`,
			`curl -sS ` + base + `/api/whoami ` + bearer("TOKEN"),
			`curl -sS -X POST ` + base + `/api/cart/update ` + bearer("TOKEN") + ` ` + body + `-d '{"id":"cart-1","items":[{"product":2,"count":3}],"refresh":true}' -w '\n'`,
		}},
		{"A user ID and a password buy a token for orders, which lives ten minutes.", []string{
			`ORDERS=$(curl -sS -u '` + s.basic.identifier + `:` + s.basic.secret + `' ` + base + `/order-authentication | ` + member("token") + `)`,
			`curl -sS ` + base + `/api/orders/7 ` + bearer("ORDERS"),
		}},
		{"A login gives a pair: an access token, and a refresh token that is good for the next pair, once. Under the same\nIdempotency-Key a lost answer can be had again.", []string{
			`PAIR=$(curl -sS -X POST ` + base + `/auth/login ` + body + `-d '{"username":"` + s.login.identifier + `","password":"` + s.login.secret + `"}')`,
			`ACCESS=$(printf '%s\n' "$PAIR" | ` + member("access_token") + `)`,
			`REFRESH=$(printf '%s\n' "$PAIR" | ` + member("refresh_token") + `)`,
			`curl -sS ` + base + `/api/v1/products ` + bearer("ACCESS"),
			`PAIR=$(curl -sS -X POST ` + base + `/auth/refresh ` + body + `-H "Idempotency-Key: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" -d "{\"refresh_token\":\"$REFRESH\"}")`,
			`ACCESS=$(printf '%s\n' "$PAIR" | ` + member("access_token") + `)`,
			`curl -sS ` + base + `/api/v1/categories ` + bearer("ACCESS"),
		}},
		{"A client of OAuth 2 gets a token the standard way.", []string{
			`TOKEN=$(curl -sS -u '` + s.oauth.identifier + `:` + s.oauth.secret + `' ` + base + `/oauth/token -d grant_type=client_credentials | ` + member("access_token") + `)`,
			`curl -sS ` + base + `/api/v1/products ` + bearer("TOKEN"),
		}},
		{"A logout ends all of the login at once. The last call is refused, and explain says why.", []string{
			`curl -sS -X POST ` + base + `/auth/logout ` + bearer("ACCESS") + ` -w '\n'`,
			`curl -sSi ` + base + `/api/v1/products ` + bearer("ACCESS") + ` -w '\n'`,
			`REQUEST=$(curl -sSi ` + base + `/api/v1/products ` + bearer("ACCESS") + ` | sed -n 's/^[Xx]-[Rr]equest-[Ii]d: *\([a-z0-9_]*\).*/\1/p')`,
			gatehouse + `explain "$REQUEST"`,
		}},
		{"A token opens the routes for its type and no others: this one is refused.", []string{
			`curl -sS ` + base + `/api/v1/products ` + bearer("ORDERS") + ` -w '\n'`,
		}},
		{"What operators do goes by the same program, while the server runs.", []string{
			gatehouse + `account show ` + s.account.ID.String(),
			gatehouse + `credential list --account ref:` + s.account.Ref,
			gatehouse + `refusal list`,
			`printf '%s' "$TOKEN" | ` + gatehouse + `token inspect -`,
			gatehouse + `doctor`,
		}},
	}
}

// quoted is s as one word of a shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+:@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// tell prints where everything is, and the lines to try. Those begin with two spaces, and nothing else does.
func tell(w io.Writer, c Config, dir string, at addresses, s sample) error {
	keep := "throwaway: it is removed when the demo ends (Ctrl-C)"
	if c.Dir != "" {
		keep = "kept when the demo ends (Ctrl-C)"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Gatehouse is running.

customers    %s
their pages  %s/docs
metrics      %s/metrics
sample API   http://%s, behind the gateway
data         %s, %s
log          %s

account      %d, "%s", ref:%s
api-key      %s
basic        %s
login        %s
oauth        %s

dashboards   of operators: %s
dashboards   of the account's people: %s
Each of these two links lets one person in, once, who signs in at /dashboard/ from then on.

Paste these lines into another terminal.
`, url(at.public), url(at.public), url(at.admin), at.api, dir, keep, filepath.Join(dir, "gatehouse.log"), s.account.ID, s.account.Name, s.account.Ref,
		s.key, s.basic.identifier, s.login.identifier, s.oauth.identifier, s.operators, s.members)
	for _, chapter := range chapters(c, dir, at, s) {
		fmt.Fprintf(&b, "\n%s\n\n", chapter.title)
		for _, line := range chapter.lines {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if c.Fixed {
		fmt.Fprintf(&b, "\nThis is a sandbox: these credentials are the same in every one. What each does is in docs/sandbox.md.\n\n%s", fixedTable())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
