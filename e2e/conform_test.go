package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
)

// conform runs the kit against url and returns its exit status and what it printed.
func conform(t *testing.T, url string, args ...string) (status int, out string) {
	t.Helper()
	cmd := program.Command(binary, nil, append([]string{"conform", url}, args...)...)
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if complained.Len() > 0 {
		t.Logf("conform %s: %s", strings.Join(args, " "), complained.String())
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// A verdicts is the JUnit that CI systems read.
type verdicts struct {
	Suites []struct {
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// readJUnit returns the names of the rows, and of those that failed.
func readJUnit(t *testing.T, path string) (all, failed []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v verdicts
	if err := xml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	for _, suite := range v.Suites {
		for _, c := range suite.Cases {
			all = append(all, c.Name)
			if c.Failure != nil {
				failed = append(failed, c.Name)
			}
		}
	}
	return all, failed
}

// judged is a file of credentials for the kit, with everything in it that the kit can use, made by the program's own commands.
func judged(t *testing.T, s *server) string {
	t.Helper()
	own, elsewhere, another := s.newAccount(t, "Sample Customer"), s.newAccount(t, "Elsewhere"), s.newAccount(t, "Another")
	if err := s.run(nil, "account", "allow-ip", elsewhere, "203.0.113.0/24"); err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "main"}}})
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, set, 0o600); err != nil {
		t.Fatal(err)
	}
	made := func(account, kind string, more ...string) credential {
		return s.newCredential(t, account, kind, more...)
	}
	revoked := func(kind string) credential {
		c := made(own, kind)
		if err := s.run(nil, "credential", "revoke", c.ID); err != nil {
			t.Fatal(err)
		}
		return c
	}
	user := func(c credential) map[string]any { return map[string]any{"user_id": c.UserID, "password": c.Password} }
	login := func(c credential) map[string]any {
		return map[string]any{"username": c.Username, "password": c.Password}
	}
	client := func(c credential) map[string]any {
		return map[string]any{"client_id": c.ClientID, "client_secret": c.ClientSecret}
	}
	each := func(kind string, as func(credential) map[string]any) map[string]any {
		all := as(made(own, kind))
		all["revoked"], all["blocked"] = as(revoked(kind)), as(made(elsewhere, kind))
		return all
	}
	oauth := each("oauth", client)
	oauth["other"] = client(made(another, "oauth"))
	oauth["signer"] = map[string]any{"client_id": made(own, "oauth", "--jwks", keys).ClientID, "key": jose.JSONWebKey{Key: private, KeyID: "main"}}
	text, err := json.Marshal(map[string]any{
		"liquid": map[string]any{"key": made(own, "api-key").Key, "revoked_key": revoked("api-key").Key, "blocked_key": made(elsewhere, "api-key").Key},
		"orders": each("basic", user), "b2b": each("login", login), "oauth": oauth,
		"routes": map[string]any{"liquid": "POST /liquid", "orders": "GET /orders", "b2b": "GET /both", "oauth": "GET /both"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "conform.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The program judges itself, as a customer's CI would run it: every row of every contract holds, in both formats, and the exit
// status says so; a server that is configured otherwise fails the row about that and no other.
func TestTheProgramSpeaksItsContracts(t *testing.T) {
	api := newUpstream(t, func(call) string { return `{"ok":true}` })
	routes := strings.ReplaceAll(`
cors: {allowed_origins: [https://shop.example.com]}
routes:
  - {path: /liquid, upstream: 'WHERE', accepts: [ACCESS_TOKEN]}
  - {path: /orders, upstream: 'WHERE', accepts: [ORDER_API]}
  - {path: /both,   upstream: 'WHERE', accepts: [B2B_ACCESS, OAUTH_ACCESS]}
`, "WHERE", api.URL) + wideLimits
	s := startServer(t, routes)
	credentials := []string{"--credentials", judged(t, s), "--origin", "https://shop.example.com"}
	all := append([]string{"--contract", "liquid", "--contract", "orders", "--contract", "b2b", "--contract", "oauth"}, credentials...)

	status, out := conform(t, s.URL, all...)
	if status != 0 || !regexp.MustCompile(`\n\d{3} rows hold, 0 do not, \d+ were skipped\n$`).MatchString(out) {
		t.Errorf("exit status %d:\n%s", status, out[max(0, len(out)-4000):])
	}
	rows := 0
	for line := range strings.Lines(out) {
		verdict, name, _ := strings.Cut(line, " ")
		switch verdict {
		case "ok":
			rows++
		case "skipped":
			rows++
			if !strings.Contains(name, "--slow)") && !strings.Contains(name, "--limits)") {
				t.Errorf("skipped, with everything at hand: %s", name)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "conform.xml")
	status, out = conform(t, s.URL, append(all, "--format", "junit", "--out", file)...)
	if names, failed := readJUnit(t, file); status != 0 || out != "" || len(names) != rows || len(failed) > 0 {
		t.Errorf("as JUnit: exit status %d, %d rows and not %d, failed are %q, and printed is %q", status, len(names), rows, failed, out)
	}
	if status, _ := conform(t, s.URL, "--contract", "oauth2"); status != 2 {
		t.Errorf("no such contract: exit status %d", status)
	}

	other := startServer(t, "tokens: {oauth: {lifetime: 2h}}"+routes)
	credentials = []string{"--credentials", judged(t, other), "--contract", "oauth"}
	status, out = conform(t, other.URL, credentials...)
	if status != 1 || strings.Count(out, "FAILED") != 1 || !strings.Contains(out, "FAILED   oauth: the token: header, claims, its life of 3600 s") {
		t.Errorf("tokens that live for two hours: exit status %d:\n%s", status, out[max(0, len(out)-4000):])
	}
	status, _ = conform(t, other.URL, append(credentials, "--format", "junit", "--out", file)...)
	if _, failed := readJUnit(t, file); status != 1 || len(failed) != 1 || !strings.Contains(failed[0], "its life of 3600 s") {
		t.Errorf("as JUnit: exit status %d, failed are %q", status, failed)
	}
}

// What docs/conform.md begins with: a sandbox, and nothing else at hand. Nothing is waited for, as its limits are wide.
func TestASandboxSpeaksTheContracts(t *testing.T) {
	listen := beside.FreeAddress(t)
	sandbox, err := program.Serve(program.Command(binary, nil, "demo", "--fixed", "--listen", listen, "--origin", "http://localhost:3000"), listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sandbox.Stop(); err != nil {
			t.Errorf("the sandbox stopped with %v; it said:\n%s", err, sandbox.Said.Tail())
		}
	})
	if err := sandbox.WaitReady(); err != nil {
		t.Fatalf("%v; it said:\n%s", err, sandbox.Said.Tail())
	}
	status, out := conform(t, "http://"+listen, "--sandbox", "--origin", "http://localhost:3000")
	if status != 0 || !regexp.MustCompile(`\n[3-9]\d\d rows hold, 0 do not, `).MatchString(out) || strings.Contains(out, "--origin") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
}
