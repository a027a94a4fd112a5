package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

func TestNothingSetIsTheDefaults(t *testing.T) {
	dir := t.TempDir()
	c := mustLoad(t, Options{Dir: dir})
	want := Default()
	want.Issuer, want.Audience = want.PublicURL, want.PublicURL
	want.DataDir = filepath.Join(dir, "gatehouse-data")
	want.Dashboard.AdminURL = "http://localhost:9000"
	if diff := cmp.Diff(want, c, but("origins", "dir")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c.File != "" {
		t.Errorf("file: got %q, want none", c.File)
	}
	for _, key := range Keys() {
		if got := c.Origin(key); got != "default" {
			t.Errorf("%s: got origin %q", key, got)
		}
	}
}

// Where operators reach their dashboard follows from where it listens, unless it is said.
func TestWhereOperatorsReachTheirs(t *testing.T) {
	for yaml, want := range map[string]string{
		"admin_listen: 10.0.0.5:9443": "http://localhost:9443",
		"admin_listen: :9000\nadmin_tls: {cert_file: a, key_file: b, client_ca_file: c}": "https://localhost:9000",
		"admin_listen: 127.0.0.1:0":                         "http://localhost",
		"dashboard: {admin_url: https://admin.example.com}": "https://admin.example.com",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "gatehouse.yaml"), yaml)
		if c := mustLoad(t, Options{Dir: dir}); c.Dashboard.AdminURL != want {
			t.Errorf("%s: %s, want %s", yaml, c.Dashboard.AdminURL, want)
		}
	}
}

func TestTheNearestFileIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"flag.yaml", "variable.yaml", "work/gatehouse.yaml", "etc/gatehouse.yaml"} {
		write(t, at(name), "realm: "+name+"\n")
	}
	options := Options{
		Path: at("flag.yaml"), Environ: []string{"GATEHOUSE_CONFIG=" + at("variable.yaml")},
		Dir: at("work"), system: at("etc/gatehouse.yaml"),
	}
	check := func(realm, origin string) {
		t.Helper()
		c := mustLoad(t, options)
		if c.Realm != realm || c.Origin("realm") != origin {
			t.Errorf("got %q from %q, want %q from %q", c.Realm, c.Origin("realm"), realm, origin)
		}
	}
	check("flag.yaml", at("flag.yaml")+":1")
	options.Path = ""
	check("variable.yaml", at("variable.yaml")+":1")
	options.Environ = nil
	check("work/gatehouse.yaml", "gatehouse.yaml:1")
	if err := os.Remove(at("work/gatehouse.yaml")); err != nil {
		t.Fatal(err)
	}
	check("etc/gatehouse.yaml", at("etc/gatehouse.yaml")+":1")
	options.system = at("nowhere.yaml")
	check("gatehouse", "default")

	for _, missing := range []Options{
		{Path: at("nowhere.yaml")},
		{Path: "nowhere.yaml", Dir: dir},
		{Environ: []string{"GATEHOUSE_CONFIG=" + at("nowhere.yaml")}},
		{Path: dir}, // a folder
	} {
		if c, err := load(missing); err == nil || c != nil || !strings.Contains(err.Error(), "cannot read the configuration") {
			t.Errorf("%+v: got %v, %v", missing, c, err)
		}
	}
	if err := os.Mkdir(at("work/gatehouse.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := load(Options{Dir: at("work")}); err == nil {
		t.Error("a file that cannot be read is passed over")
	}
}

func TestFlagsOverEnvironmentOverFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), `
realm: of the file
tokens:
  b2b:
    access_lifetime: 2h
    refresh_lifetime: 240h
trusted_proxies: [10.0.0.0/8]
`)
	c := mustLoad(t, Options{
		Dir: dir,
		Environ: []string{
			"PATH=/bin", "GATEHOUSE_CONFIG=", "GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME=30m", "GATEHOUSE_TRUSTED_PROXIES=private, 203.0.113.80",
			"GATEHOUSE_LIMITS_FAILURES_PER_ADDRESS_RATE=5/s", "GATEHOUSE_LOG_LEVEL=warn", "GATEHOUSE_CONTRACTS_OAUTH_ENABLED=false",
			"GATEHOUSE_CACHE_TOKENS=0", "GATEHOUSE_ACCEPT_ISSUERS=", "GATEHOUSE_TOKENS_ALGORITHM=ES256",
		},
		Flags: map[string]string{"log.level": "debug", "listen": "127.0.0.1:0"},
	})
	if got := c.Tokens.B2B; got.AccessLifetime != 30*time.Minute || got.RefreshLifetime != 240*time.Hour || got.ReuseLeeway != 10*time.Second {
		t.Errorf("tokens.b2b: got %+v", got)
	}
	if diff := cmp.Diff([]string{"private", "203.0.113.80"}, c.TrustedProxies); diff != "" {
		t.Errorf("trusted_proxies: (-want +got)\n%s", diff)
	}
	if got, want := c.Limits.FailuresPerAddress.AsRate(), (auth.Rate{Count: 5, Per: time.Second, Burst: 30}); got != want {
		t.Errorf("failures_per_address: got %+v, want %+v", got, want)
	}
	if !c.Limits.RequestsPerAccount.AsRate().None() {
		t.Error("requests_per_account is a limit")
	}
	if c.Contracts.Enabled(auth.OAuth2) || !c.Contracts.Enabled(auth.B2B) || c.Contracts.Enabled("soap") {
		t.Error("contracts enabled: not those that should be")
	}
	if c.Tokens.Algorithm != verify.ES256 || c.Cache.Tokens != 0 || c.Log.Level != "debug" || c.Listen != "127.0.0.1:0" {
		t.Errorf("got %v, %d, %s, %s", c.Tokens.Algorithm, c.Cache.Tokens, c.Log.Level, c.Listen)
	}
	for key, want := range map[string]string{
		"realm":                            "gatehouse.yaml:2",
		"tokens.b2b.access_lifetime":       "environment GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME",
		"tokens.b2b.refresh_lifetime":      "gatehouse.yaml:6",
		"tokens.b2b.reuse_leeway":          "default",
		"limits.failures_per_address.rate": "environment GATEHOUSE_LIMITS_FAILURES_PER_ADDRESS_RATE",
		"log.level":                        "flag --log.level",
		"log.format":                       "default",
	} {
		if got := c.Origin(key); got != want {
			t.Errorf("%s: got origin %q, want %q", key, got, want)
		}
	}
}

func TestRelativePathsAreWhereTheFileIs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc", "gatehouse.yaml"), "data_dir: data\n")
	write(t, filepath.Join(dir, "etc", "empty.yaml"), "# nothing\n")
	work := filepath.Join(dir, "work")
	for _, c := range []struct {
		story   string
		options Options
		want    string
	}{
		{"in the file", Options{Path: "../etc/gatehouse.yaml"}, "etc/data"},
		{"by default, with a file", Options{Path: "../etc/empty.yaml"}, "etc/gatehouse-data"},
		{"by default, without a file", Options{}, "work/gatehouse-data"},
		{"in the environment", Options{Path: "../etc/gatehouse.yaml", Environ: []string{"GATEHOUSE_DATA_DIR=./other"}}, "etc/other"},
		{"in the environment, without a file", Options{Environ: []string{"GATEHOUSE_DATA_DIR=other"}}, "work/other"},
		{"by a flag", Options{Path: "../etc/gatehouse.yaml", Flags: map[string]string{"data_dir": "mine"}}, "work/mine"},
		{"absolute", Options{Flags: map[string]string{"data_dir": filepath.Join(dir, "abs")}}, "abs"},
	} {
		c.options.Dir = work
		if got, want := mustLoad(t, c.options).DataDir, filepath.Join(dir, c.want); got != want {
			t.Errorf("%s: got %s, want %s", c.story, got, want)
		}
	}
}

func TestEveryKeyHasAVariableAndAFlag(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]string{}
	for _, key := range Keys() {
		value, ok := mustLoad(t, Options{Dir: dir}).Value(key)
		if !ok {
			t.Fatalf("%s has no value", key)
		}
		variable := Variable(key)
		if variable == "" {
			if key != "routes" && key != "dashboard.openid" && key != "webhooks" {
				t.Errorf("%s has no variable", key)
			}
			continue
		}
		if other := seen[variable]; other != "" {
			t.Errorf("%s is the variable of %s and %s", variable, key, other)
		}
		seen[variable] = key
		value = strings.NewReplacer("[", "", "]", "", `"`, "").Replace(value)
		c := mustLoad(t, Options{Dir: dir, Environ: []string{variable + "=" + value}})
		if got, want := c.Origin(key), "environment "+variable; got != want {
			t.Errorf("%s: got origin %q, want %q", key, got, want)
		}
		if IsSecret(key) {
			continue
		}
		c = mustLoad(t, Options{Dir: dir, Flags: map[string]string{key: value}})
		if got, want := c.Origin(key), "flag --"+key; got != want {
			t.Errorf("%s: got origin %q, want %q", key, got, want)
		}
	}
	if got, want := Variable("tokens.b2b.access_lifetime"), "GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatTheEnvironmentGetsWrong(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), " \n")
	for _, c := range []struct{ set, want string }{
		{"GATEHOUSE_LISTN=:80", "environment GATEHOUSE_LISTN: there is no such setting: did you mean GATEHOUSE_LISTEN?"},
		{"GATEHOUSE_TOKENS_B2B_ACCES_LIFETIME=1h", "environment GATEHOUSE_TOKENS_B2B_ACCES_LIFETIME: there is no such setting: did you mean GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME?"},
		{"GATEHOUSE_FOO=1", "environment GATEHOUSE_FOO: there is no such setting: `gatehouse config print` shows all there are"},
		{"GATEHOUSE_=1", "environment GATEHOUSE_: there is no such setting: `gatehouse config print` shows all there are"},
		{"GATEHOUSE_LISTEN_PORT=9000", "environment GATEHOUSE_LISTEN_PORT: there is no such setting: `gatehouse config print` shows all there are"},
		{"GATEHOUSE_ROUTES=[]", "environment GATEHOUSE_ROUTES: routes: can be set in the configuration file only"},
		{"GATEHOUSE_SHUTDOWN_GRACE=", `environment GATEHOUSE_SHUTDOWN_GRACE: shutdown_grace: "" is not a duration: write 90s, 15m, 24h or 30d`},
		{"GATEHOUSE_SHUTDOWN_GRACE=60", `environment GATEHOUSE_SHUTDOWN_GRACE: shutdown_grace: "60" has no unit: write 90s, 15m, 24h or 30d`},
		{"GATEHOUSE_CONTRACTS_B2B_ENABLED=yes", `environment GATEHOUSE_CONTRACTS_B2B_ENABLED: contracts.b2b.enabled: "yes" is neither true nor false`},
		{"GATEHOUSE_CACHE_TOKENS=1e3", `environment GATEHOUSE_CACHE_TOKENS: cache.tokens: "1e3" is not a whole number such as 20`},
		{"GATEHOUSE_REALM=a\xffb", "environment GATEHOUSE_REALM: realm: is not valid UTF-8"},
		{"GATEHOUSE_REALM=a\nb", `environment GATEHOUSE_REALM: realm: "a\nb" has a control character in it: leave it out`},
		{"GATEHOUSE_TRUSTED_PROXIES=10.1.2.3/8", `environment GATEHOUSE_TRUSTED_PROXIES: trusted_proxies[0]: "10.1.2.3/8" has bits beyond its mask: write 10.0.0.0/8; or write private for all private ranges`},
		{"GATEHOUSE_REALM_FILE=x", "environment GATEHOUSE_REALM_FILE: there is no such setting: `gatehouse config print` shows all there are"},
		{"GATEHOUSE_DATABASE_FILE=" + dir + "/none", "environment GATEHOUSE_DATABASE_FILE: database: cannot read the secret: stat " + dir + "/none: no such file or directory"},
		{"GATEHOUSE_DATABASE_FILE=" + dir + "/empty", "environment GATEHOUSE_DATABASE_FILE: database: " + dir + "/empty holds no text: write the secret into it, on one line"},
		{"GATEHOUSE_MASTER_KEY_FILE=" + dir + "/none", "environment GATEHOUSE_MASTER_KEY_FILE: master_key_file: cannot read the secret: stat " + dir + "/none: no such file or directory"},
		{"GATEHOUSE_MASTER_KEY_PREVIOUS_FILE=" + dir + "/none", "environment GATEHOUSE_MASTER_KEY_PREVIOUS_FILE: cannot read the secret: stat " + dir + "/none: no such file or directory"},
	} {
		got, err := load(Options{Dir: dir, Environ: []string{c.set}})
		if err == nil || err.Error() != c.want || got != nil {
			t.Errorf("%s: got\n%v\nwant\n%s", c.set, err, c.want)
		}
	}
}

// A cluster sets these for a service called gatehouse, and one called gatehouse-admin.
func TestAClustersVariablesAreNobodysMistake(t *testing.T) {
	c := mustLoad(t, Options{Dir: t.TempDir(), Environ: []string{
		"GATEHOUSE_SERVICE_HOST=10.96.0.7", "GATEHOUSE_SERVICE_PORT=8000", "GATEHOUSE_SERVICE_PORT_HTTP=8000", "GATEHOUSE_PORT=tcp://10.96.0.7:8000",
		"GATEHOUSE_PORT_8000_TCP=tcp://10.96.0.7:8000", "GATEHOUSE_PORT_8000_TCP_PROTO=tcp", "GATEHOUSE_PORT_8000_TCP_PORT=8000",
		"GATEHOUSE_PORT_8000_TCP_ADDR=10.96.0.7", "GATEHOUSE_ADMIN_SERVICE_HOST=fd00::7", "GATEHOUSE_ADMIN_PORT=tcp://[fd00::7]:9000",
	}})
	if c.Listen != Default().Listen {
		t.Errorf("listen: got %s", c.Listen)
	}
}

func TestWhatFlagsGetWrong(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"listn", ":80", "flag --listn: there is no such setting: did you mean --listen?"},
		{"log.level", "loud", `flag --log.level: log.level: "loud" is unknown: write debug, info, warn or error`},
		{"database", "postgres://u:hunter2@db/", "flag --database: database: is a secret, and flags are for everybody on the machine to read: set GATEHOUSE_DATABASE or GATEHOUSE_DATABASE_FILE"},
		{"routes", "x", "flag --routes: routes: can be set in the configuration file only"},
	} {
		_, err := load(Options{Dir: t.TempDir(), Flags: map[string]string{c.key: c.value}})
		if err == nil || err.Error() != c.want {
			t.Errorf("--%s=%s: got\n%v\nwant\n%s", c.key, c.value, err, c.want)
		}
	}
}

func TestWhatWinsIsWhatIsChecked(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), "log: {level: loud}\nshutdown_grace: soon\ntrusted_proxies: [nobody, {}]\n")
	c := mustLoad(t, Options{
		Dir:     dir,
		Environ: []string{"GATEHOUSE_LOG_LEVEL=quiet", "GATEHOUSE_SHUTDOWN_GRACE=5s", "GATEHOUSE_TRUSTED_PROXIES=private"},
		Flags:   map[string]string{"log.level": "warn"},
	})
	if c.Log.Level != "warn" || c.ShutdownGrace != 5*time.Second {
		t.Errorf("got %s, %s", c.Log.Level, c.ShutdownGrace)
	}
}

func TestTheMasterKey(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one"), "first key\n")
	write(t, filepath.Join(dir, "two"), " second key\r\n")
	write(t, filepath.Join(dir, "gatehouse.yaml"), "master_key_file: one\n")
	none := t.TempDir()
	for _, c := range []struct {
		story          string
		dir            string
		environ        []string
		want, previous string
		wrong          string
	}{
		{"nowhere", none, nil, "", "", ""},
		{"by the file", dir, nil, "first key", "", ""},
		{"by a variable", none, []string{"GATEHOUSE_MASTER_KEY= k "}, "k", "", ""},
		{"a variable over the file", dir, []string{"GATEHOUSE_MASTER_KEY=k"}, "k", "", ""},
		{"another file over the file", dir, []string{"GATEHOUSE_MASTER_KEY_FILE=two"}, "second key", "", ""},
		{"an empty variable is none", dir, []string{"GATEHOUSE_MASTER_KEY="}, "first key", "", ""},
		{"both", dir, []string{"GATEHOUSE_MASTER_KEY=k", "GATEHOUSE_MASTER_KEY_FILE=two"}, "", "", "GATEHOUSE_MASTER_KEY is set too"},
		{"the previous one", dir, []string{"GATEHOUSE_MASTER_KEY_PREVIOUS=p"}, "first key", "p", ""},
		{"the previous one in a file", dir, []string{"GATEHOUSE_MASTER_KEY_PREVIOUS_FILE=two"}, "first key", "second key", ""},
		{"the previous one twice", dir, []string{"GATEHOUSE_MASTER_KEY_PREVIOUS=p", "GATEHOUSE_MASTER_KEY_PREVIOUS_FILE=two"}, "", "", "GATEHOUSE_MASTER_KEY_PREVIOUS is set too"},
	} {
		got, err := load(Options{Dir: c.dir, Environ: c.environ})
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: got %v, want %s", c.story, err, c.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.story, err)
			continue
		}
		if got.MasterKey.Reveal() != c.want || got.MasterKeyPrevious.Reveal() != c.previous {
			t.Errorf("%s: got %q and %q, want %q and %q", c.story, got.MasterKey.Reveal(), got.MasterKeyPrevious.Reveal(), c.want, c.previous)
		}
	}
}

// Whatever is done with it, a secret is not to be seen.
func TestSecretsDoNotShow(t *testing.T) {
	const secret = "hunter2"
	dir := t.TempDir()
	write(t, filepath.Join(dir, "db"), "postgres://u:"+secret+"@db/\n")
	for _, environ := range [][]string{
		{"GATEHOUSE_DATABASE=postgres://u:" + secret + "@db/"},
		{"GATEHOUSE_DATABASE_FILE=db"},
		{"GATEHOUSE_REDIS=redis://:" + secret + "@r/x"},
		{"GATEHOUSE_DATABASE=postgres://u:" + secret + "@db/", "GATEHOUSE_DATABASE_FILE=db"},
	} {
		_, err := load(Options{Dir: dir, Environ: environ})
		if err == nil {
			t.Errorf("%v: no error", environ)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%v: it is in the error: %v", environ, err)
		}
	}
	for _, text := range []string{
		"database: postgres://u:" + secret + "@db/\n",
		"database: [" + secret + "]\n",
		"database: {" + secret + ": 1}\n",
		"database: \"" + secret + "\n",
		"database: " + secret + ": x\n",
		"database: " + secret + "\n  " + secret + ": x\n",
		"database: &a " + secret + "\n",
		"database: |\n  " + secret + "\n",
		"databse: " + secret + "\n",
		"routes:\n- {path: /a, public: true, upstream: \"http://u:" + secret + "@x/\"}\n",
	} {
		ps := problems(t, text)
		if len(ps) == 0 {
			t.Errorf("%q: nothing wrong", text)
		}
		for _, p := range ps {
			if strings.Contains(p.Error(), secret) {
				t.Errorf("%q: it is in the error: %v", text, p)
			}
		}
	}
	c := mustLoad(t, Options{Dir: dir, Environ: []string{"GATEHOUSE_MASTER_KEY=" + secret}})
	c.Database = NewSecret(secret)
	b, err := c.MasterKey.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Print() + string(b) + c.MasterKey.LogValue().String()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		shown += fmt.Sprintf(format, c) + fmt.Sprintf(format, *c) + fmt.Sprintf(format, c.MasterKey) + fmt.Sprintf(format, &c.MasterKey)
	}
	if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
		t.Error("a secret shows")
	}
	if !strings.Contains(c.Print(), "\ndatabase: \"***\"\n") || !strings.Contains(c.Print(), "\nredis: \"\"\n") {
		t.Errorf("print does not say which secrets are set:\n%s", c.Print())
	}
}

// but leaves fields out of a comparison.
func but(fields ...string) cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool { return slices.Contains(fields, p.String()) }, cmp.Ignore())
}
