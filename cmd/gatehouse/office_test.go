package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/contract/admin"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/server"
	"github.com/gatehouse/gatehouse/internal/web"
)

// oneToken knows one operator token: that of an owner with every scope.
type oneToken struct{}

const goodToken = "gko_good"

func (oneToken) Machine(_ context.Context, token string, _ auth.Caller) (auth.Actor, error) {
	if token != goodToken {
		return auth.Actor{}, auth.ErrBadToken
	}
	return auth.Actor{Name: "token ci", Role: auth.RoleOwner, Machine: true, Token: "ot_ci", Scopes: registry.Scopes()}, nil
}

// serveAdmin serves the admin API of the database in a directory.
func serveAdmin(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	c, err := config.Load(config.Options{Dir: t.TempDir(), Environ: []string{"GATEHOUSE_DATA_DIR=" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := server.Open(t.Context(), c, server.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { op.Close() })
	desks, err := op.Desks(op.Config)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := admin.New(admin.Config{Desks: desks, Tokens: oneToken{}, Repeats: op.DB, Digest: op.Rings.HandedOut, Realm: "gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	here := netip.MustParseAddr("127.0.0.1")
	floor, err := web.New(web.Config{
		Own: contract.Addresses(), Fallbacks: []web.Fallback{{Refuse: contract.Refuse}},
		Resolve: func(*http.Request) (netip.Addr, netip.Addr, string) { return here, here, "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(floor)
	t.Cleanup(s.Close)
	return s
}

// What commands say of different databases is different here alone.
var (
	times       = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	hashes      = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	links       = regexp.MustCompile(`#\w+|gko_\w+`)
	makers      = regexp.MustCompile(`command line \([^)]*\)|token ci`)
	identifiers = regexp.MustCompile(`(gk_live_|u_|p_|ot_)?[0-9A-Za-z]{12}(…|[0-9A-Za-z]{32}_[0-9A-Za-z]{6})?\b`)
	passwords   = regexp.MustCompile(`\b[0-9A-Za-z]{32}\b`)
	spaces      = regexp.MustCompile(`  +`)
)

// The same session on a database and through the admin API of another comes to the same, word for word.
func TestCommandsSayTheSameThroughAServer(t *testing.T) {
	here, there := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	for _, dir := range []string{here, there} {
		if got := gatehouse(t, []string{"GATEHOUSE_DATA_DIR=" + dir}, "migrate", "up"); got.status != done {
			t.Fatalf("%+v", got)
		}
	}
	s := serveAdmin(t, there)
	jwks := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(jwks, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	environs := map[string][]string{
		"database": {"GATEHOUSE_DATA_DIR=" + here},
		"server":   {"GATEHOUSE_SERVER=" + s.URL, "GATEHOUSE_TOKEN=" + goodToken},
	}
	// $C is the credential, $K a signing key that is next, $T an operator token, of each.
	ids := map[string]map[string]string{"database": {}, "server": {}}
	for _, step := range []struct{ line, stdin, as string }{
		{line: "account list"},
		{line: "account create --name Acme --ref C-4711"},
		{line: "account create --name Böhm&<Söhne> --json"},
		{line: "account create --name Other --ref C-4711"},
		{line: "account create --name= --json"},
		{line: "account list"},
		{line: "account list --json"},
		{line: "account show ref:C-4711"},
		{line: "account show ref:nobody"},
		{line: "account show 100009"},
		{line: "account rename 100001 --ref= --name Acme2 --json"},
		{line: "account suspend 100001 --revoke-tokens"},
		{line: "account resume 100001"},
		{line: "account limit 100001 --requests 600/min --burst 7"},
		{line: "account allow-ip 100001 192.0.2.0/24 2001:db8::1 --note office --dry-run"},
		{line: "account allow-ip 100001 192.0.2.0/24 2001:db8::1 --note office --dry-run --json"},
		{line: "account allow-ip 100001 192.0.2.0/24 2001:db8::1 --note office --expires 7d"},
		{line: "account remove-ip 100001 192.0.2.0/24 2001:db8::1"},
		{line: "account remove-ip 100001 192.0.2.0/24 2001:db8::1 --allow-everyone --json"},
		{line: "credential list --account 100001"},
		{line: "credential create --account 100001 --kind api-key --name shop --scope a --scope b --expires 90d"},
		{line: "credential create --account ref:nobody --kind basic"},
		{line: "credential create --account 100001 --kind login --expires 2020-01-01"},
		{line: "credential create --account 100001 --kind oauth --jwks " + jwks},
		{line: "credential create --account 100001 --kind login --json", as: "C"},
		{line: "credential show $C"},
		{line: "credential show u_$C --json"},
		{line: "credential find -", stdin: "u_$C"},
		{line: "credential find - --json", stdin: "u_$C:wrong"},
		{line: "credential find -", stdin: "u_AAAAAAAAAAAA"},
		{line: "credential update $C --name other --scope x --expires never"},
		{line: "credential update $C"},
		{line: "credential rotate $C --finish"},
		{line: "credential rotate $C"},
		{line: "credential rotate $C"},
		{line: "credential rotate $C --undo --json"},
		{line: "credential rotate $C --old-expires now --end-sessions --json"},
		{line: "credential list --account 100001 --json"},
		{line: "credential revoke $C"},
		{line: "credential rotate $C"},
		{line: "session list --account 100001"},
		{line: "session list --account 100001 --all --json"},
		{line: "token inspect -", stdin: "a.b.c"},
		{line: "token inspect - --json --address 192.0.2.1", stdin: "Bearer a.b.c"},
		{line: "token revoke -", stdin: "a.b.c"},
		{line: "signing-key list"},
		{line: "signing-key rotate --json", as: "K"},
		{line: "signing-key revoke $K"},
		{line: "signing-key revoke $K"},
		{line: "webhook list"},
		{line: "webhook list --json"},
		{line: "webhook test nobody.example.com"},
		{line: "refusal list --since 1h"},
		{line: "refusal list --json --account 100001"},
		{line: "explain reqid_00000000000"},
		{line: "usage --account 100001 --since 7d"},
		{line: "usage --account 100001 --json"},
		{line: "operator list"},
		{line: "operator create --email jane@example.com --name Jane"},
		{line: "operator create --email jane@example.com --name Jane"},
		{line: "operator create --email jane --name Jane"},
		{line: "operator create --email joe@example.com --name Joe --role viewer --expires 1h --json"},
		{line: "operator role joe@example.com admin"},
		{line: "operator role joe@example.com admin --json"},
		{line: "operator reset joe@example.com --expires 2d"},
		{line: "operator list"},
		{line: "operator remove joe@example.com --json"},
		{line: "operator remove nobody@example.com"},
		{line: "operator remove nobody@"},
		{line: "member remove --account 100001 nobody"},
		{line: "member list --account 100001"},
		{line: "member invite --account 100001 --email jane@example.com"},
		{line: "member invite --account ref:nobody --email jane@example.com"},
		{line: "member role --account 100001 jane@example.com developer"},
		{line: "member list --account 100001 --json"},
		{line: "member remove --account 100001 jane@example.com"},
		{line: "operator token create --name ci --scope accounts:read --json", as: "T"},
		{line: "operator token create --name ci --scope everything"},
		{line: "operator token list"},
		{line: "operator token revoke $T"},
		{line: "operator token revoke ot_AAAAAAAAAAAA"},
		{line: "operator token list --json"},
		{line: "audit list --since 1d --json --account 100009"},
		{line: "audit verify"},
		{line: "audit verify --json"},
		{line: "audit verify --key SHA256:NHUPmL1Z/PyUbaRaqr6TO+FUpLUJThxKv0KGZQXzyX4"},
		{line: "audit verify --json --checkpoint 1:" + strings.Repeat("ab", 32)},
		{line: "audit verify --checkpoint 7"},
		{line: "audit export"},
		{line: "audit export -"},
		{line: "account delete 100002 --yes --json"},
		{line: "account delete 100001 --yes"},
		{line: "account show 100001"},
	} {
		said := map[string]said{}
		for name, environ := range environs {
			fill := strings.NewReplacer("$C", ids[name]["C"], "$K", ids[name]["K"], "$T", ids[name]["T"])
			var out, errors bytes.Buffer
			status := run(t.Context(), strings.Fields(fill.Replace(step.line)), surroundings{
				stdin: strings.NewReader(fill.Replace(step.stdin)), stdout: &out, stderr: &errors, environ: environ,
			})
			if step.as != "" {
				all := regexp.MustCompile(`"id":"(\w+)"`).FindAllStringSubmatch(out.String(), -1)
				if len(all) == 0 {
					t.Fatalf("%s: %s %s", step.line, &out, &errors)
				}
				ids[name][step.as] = all[len(all)-1][1]
			}
			said[name] = saidAlike(status, out.String(), errors.String())
		}
		if diff := cmp.Diff(fmt.Sprintf("%+v", said["database"]), fmt.Sprintf("%+v", said["server"])); diff != "" {
			t.Errorf("%s: %s", step.line, diff)
		}
	}
}

// saidAlike leaves out what is different of two databases.
func saidAlike(status int, out, errors string) said {
	alike := func(s string) string {
		s = times.ReplaceAllString(s, "TIME")
		s = hashes.ReplaceAllString(s, "HASH")
		s = links.ReplaceAllString(s, "LINK")
		s = makers.ReplaceAllString(s, "MAKER")
		s = passwords.ReplaceAllString(s, "SECRET")
		s = identifiers.ReplaceAllString(s, "ID")
		return spaces.ReplaceAllString(s, " ")
	}
	if line, rest, _ := strings.Cut(errors, "\n"); strings.HasPrefix(line, "database: ") || strings.HasPrefix(line, "server: ") {
		errors = rest
	}
	return said{status, alike(out), alike(errors)}
}

func TestWhereACommandFindsItsServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if got := gatehouse(t, []string{"GATEHOUSE_DATA_DIR=" + dir}, "migrate", "up"); got.status != done {
		t.Fatalf("%+v", got)
	}
	s := serveAdmin(t, dir)
	file, open := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "open")
	for path, mode := range map[string]os.FileMode{file: 0o600, open: 0o644} {
		if err := os.WriteFile(path, []byte(goodToken+"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := httptest.NewServer(http.RedirectHandler("http://evil.example.com/", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	token, wrong := "GATEHOUSE_TOKEN="+goodToken, "GATEHOUSE_TOKEN=gko_wrong"
	key := auth.FormatKey("gk", auth.Live, "abcdefghijkl", strings.Repeat("S", auth.SecretLength))
	for name, c := range map[string]struct {
		environ []string
		args    []string
		status  int
		want    string // on stderr
	}{
		"by flag":                    {[]string{token}, []string{"account", "list", "--server", s.URL}, done, "there are no accounts yet"},
		"with a slash":               {[]string{token}, []string{"account", "list", "--server", s.URL + "/"}, done, "there are no accounts yet"},
		"by a file":                  {nil, []string{"account", "list", "--server", s.URL, "--token-file", file}, done, "there are no accounts yet"},
		"by a file that all read":    {nil, []string{"account", "list", "--server", s.URL, "--token-file", open}, failed, "chmod 600"},
		"by no file":                 {nil, []string{"account", "list", "--server", s.URL, "--token-file", file + "x"}, failed, "no such file"},
		"without a token":            {nil, []string{"account", "list", "--server", s.URL}, wrongUsage, "GATEHOUSE_TOKEN or --token-file"},
		"with a wrong token":         {[]string{wrong}, []string{"account", "list", "--server", s.URL}, failed, "does not take the token"},
		"in clear text":              {[]string{token}, []string{"account", "list", "--server", "http://admin.example.com:9000"}, wrongUsage, "--insecure-http"},
		"a name like the loopback's": {[]string{token}, []string{"account", "list", "--server", "http://127.0.0.1.example.com"}, wrongUsage, "--insecure-http"},
		"no URL":                     {[]string{token}, []string{"account", "list", "--server", "127.0.0.1:9000"}, wrongUsage, "as https://"},
		"a token in the URL":         {nil, []string{"account", "list", "--server", "https://gko_x@127.0.0.1:9000"}, wrongUsage, "neither user"},
		"two places":                 {[]string{token}, []string{"account", "list", "--server", s.URL, "--data-dir", dir}, wrongUsage, "leave out the one or the other"},
		"nobody there":               {[]string{token}, []string{"account", "list", "--server", "http://127.0.0.1:1"}, failed, "is the server running"},
		"something else there":       {[]string{token}, []string{"account", "list", "--server", elsewhere.URL}, failed, "there is no admin API at"},
		"what wants the database":    {[]string{token}, []string{"migrate", "status", "--server", s.URL}, wrongUsage, "without --server"},
		"a key where an id belongs":  {[]string{token}, []string{"credential", "show", key, "--server", s.URL}, failed, "there is no credential"},
		"the same in another place":  {[]string{token}, []string{"session", "revoke", key, "--server", s.URL}, failed, "there is no session"},
	} {
		got := gatehouse(t, c.environ, c.args...)
		if got.status != c.status || !strings.Contains(got.errors, c.want) || strings.Contains(got.errors+got.out, goodToken) || strings.Contains(got.errors, "SSSS") {
			t.Errorf("%s: status %d, want %d; stderr %q, want %q in it", name, got.status, c.status, got.errors, c.want)
		}
	}
}
