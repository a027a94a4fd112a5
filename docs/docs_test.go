package docs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/gatehousetest"
	"github.com/gatehouse/gatehouse/internal/apitest"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
)

var (
	link   = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	noWord = regexp.MustCompile(`[^\pL\pN _-]`)
)

// anchors are what a page's headings can be reached by.
func anchors(p page) map[string]bool {
	all := map[string]bool{}
	for _, l := range p.prose {
		if title := strings.TrimLeft(l.text, "#"); title != l.text {
			title = noWord.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all[strings.ReplaceAll(title, " ", "-")] = true
		}
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := map[string]page{}
	for _, p := range pages(t) {
		all[p.name] = p
	}
	for _, p := range all {
		for _, l := range p.prose {
			for _, m := range link.FindAllStringSubmatch(l.text, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				path, anchor, _ := strings.Cut(m[1], "#")
				target := filepath.ToSlash(filepath.Join(filepath.Dir(p.name), path))
				if path == "" {
					target = p.name
				}
				if _, err := os.Stat(filepath.Join("..", target)); err != nil {
					t.Errorf("%s:%d: %s: %v", p.name, l.number, m[1], err)
				}
				if to, ok := all[target]; ok && anchor != "" && !anchors(to)[anchor] {
					t.Errorf("%s:%d: %s has no heading for #%s", p.name, l.number, target, anchor)
				}
			}
		}
	}
}

// help is what the program says of a command, with exit status 0.
func help(t *testing.T, command ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(binary, append(command, "--help")...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gatehouse %s --help: %v\n%s", strings.Join(command, " "), err, stderr.String())
	}
	return string(out)
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*(?: [a-z][a-z-]*){0,2})(?:  |$)`)
	flag        = regexp.MustCompile(`--[a-z][a-z-]*`)
	// called finds a command line of ours: what stands before the command, its one or two words, and the rest.
	called = regexp.MustCompile(`(?:^|[\s/("])gatehouse ((?:--?[a-z-]+ \S+ )*)([a-z][a-z-]*)(?: ([a-z][a-z-]*))?([^\n|;)#&]*)`)
)

// commands are all commands, with the flags of each.
func commands(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for _, m := range helpCommand.FindAllStringSubmatch(help(t), -1) {
		flags := map[string]bool{}
		for _, f := range flag.FindAllString(help(t, strings.Fields(m[1])...), -1) {
			flags[f] = true
		}
		all[m[1]] = flags
	}
	if len(all) < 30 {
		t.Fatalf("gatehouse --help names %d commands: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
	return all
}

func TestCommandsAndFlagsThatAreNamedExist(t *testing.T) {
	all := commands(t)
	groups := map[string]bool{}
	for c := range all {
		group, _, _ := strings.Cut(c, " ")
		groups[group] = true
	}
	seen := 0
	for _, p := range pages(t) {
		check := func(number int, code string) {
			code = strings.ReplaceAll(code, "-u gatehouse ", "")
			code = strings.ReplaceAll(code, "\\\n", " ")
			for _, m := range called.FindAllStringSubmatch(code, -1) {
				before, first, second, rest := m[1], m[2], m[3], m[4]
				third, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
				flags, ok := all[first+" "+second+" "+third]
				for _, shorter := range []string{first + " " + second, first} {
					if !ok {
						flags, ok = all[shorter]
					}
				}
				if !ok && (second == "" && groups[first] || first == "gatehouse") { // a group; the user of that name
					continue
				}
				if !ok {
					t.Errorf("%s:%d: there is no command gatehouse %s %s", p.name, number, first, second)
					continue
				}
				seen++
				for _, f := range flag.FindAllString(before+rest, -1) {
					if !flags[f] {
						t.Errorf("%s:%d: gatehouse %s %s has no flag %s", p.name, number, first, second, f)
					}
				}
			}
		}
		p.spans(check)
		for _, b := range p.blocks {
			check(b.line, b.text)
		}
	}
	if seen < 50 {
		t.Errorf("only %d command lines were found in all pages", seen)
	}
}

var (
	variable = regexp.MustCompile(`GATEHOUSE_[A-Z0-9_]+`)
	dotted   = regexp.MustCompile(`^[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+$`)
	snake    = regexp.MustCompile(`^[a-z0-9]+(?:_[a-z0-9]+)+$`)
	metric   = regexp.MustCompile(`gatehouse_[a-z0-9_]+`)
	ofMetric = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

// settings are all keys, their sections, and the keys of a route and of a provider.
func settings() map[string]bool {
	all := map[string]bool{}
	for _, key := range config.Keys() {
		for key != "" {
			all[key] = true
			i := max(0, strings.LastIndexByte(key, '.'))
			key = key[:i]
		}
	}
	for _, one := range []reflect.Type{reflect.TypeFor[config.Route](), reflect.TypeFor[config.OpenIDProvider]()} {
		for part := range fieldsOf(one) {
			all[part] = true
		}
	}
	return all
}

func fieldsOf(of reflect.Type) map[string]bool {
	all := map[string]bool{}
	for i := range of.NumField() {
		name, inner := of.Field(i).Tag.Get("yaml"), of.Field(i).Type
		all[name] = true
		if inner.Kind() == reflect.Struct {
			for part := range fieldsOf(inner) {
				all[name+"."+part] = true
			}
		}
	}
	return all
}

// otherWords are names with an underscore that are no setting, metric, reason or field of the log.
var otherWords = []string{
	"client_id", "access_token", "refresh_token", "access_expires_at", "error_description", "invalid_token",
	"insufficient_scope", "access_denied", "temporarily_unavailable", "server_error", "invalid_request",
	"invalid_client", "invalid_grant", "token_type", "invalid_scope", "unsupported_grant_type", "grant_type", "client_credentials", "client_secret_basic",
	"client_secret_post", "client_secret", "secret_file", "private_key_jwt", "invalid_dpop_proof", "use_dpop_nonce", "age_ms", "revoked_keys", "dead_below", "dead_below_of",
	"file_get_contents", "default_socket_timeout", "revoke_session", "gk_live_", "gk_test_", "auth_time",
	// of PostgreSQL
	"oldest_program", "synchronous_standby_names", "synchronous_commit", "cluster_name", "primary_conninfo",
	// of other proxies
	"auth_request", "auth_request_set", "default_type", "ignore_invalid_headers", "proxy_pass", "proxy_set_header",
	"underscores_in_headers", "copy_headers", "forward_auth", "handle_path", "reverse_proxy", "allowed_headers",
	"allowed_upstream_headers", "prefix_rewrite", "status_on_error",
}

// problems are the codes of the admin API's failures, by its document.
func problems(t *testing.T) map[string]bool {
	t.Helper()
	d, err := apitest.LoadAdmin()
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]bool{}
	for code := range d.Components.Examples {
		codes[code] = true
	}
	return codes
}

func TestTheTableOfProblemsIsTheDocuments(t *testing.T) {
	left := problems(t)
	for _, row := range pageCalled(t, "docs/admin-api.md").table(t, "Errors") {
		for _, code := range named(row[0]) {
			if !left[code] {
				t.Errorf("the table has %s, and the document has not", code)
			}
			delete(left, code)
		}
	}
	for code := range left {
		t.Errorf("the table has no %s", code)
	}
}

func TestSettingsThatAreNamedExist(t *testing.T) {
	keys := settings()
	known := maps.Clone(keys)
	for _, r := range auth.Reasons {
		known[string(r)] = true
	}
	for _, row := range pageCalled(t, "docs/operate.md").table(t, "Log") {
		for _, field := range named(row[0]) {
			known[field] = true
		}
	}
	for _, word := range otherWords {
		known[word] = true
	}
	variables := map[string]bool{"GATEHOUSE_CONFIG": true}
	for _, key := range config.Keys() {
		v := config.Variable(key)
		variables[v] = true
		if config.IsSecret(key) {
			variables[v+"_FILE"] = true
		}
	}
	for code := range problems(t) {
		known[code] = true
	}
	for _, v := range []string{config.ServerVariable, config.TokenVariable, "GATEHOUSE_MASTER_KEY", "GATEHOUSE_MASTER_KEY_PREVIOUS", "GATEHOUSE_MASTER_KEY_PREVIOUS_FILE"} {
		variables[v] = true
	}
	seen := 0
	for _, p := range pages(t) {
		p.spans(func(number int, code string) {
			section, _, _ := strings.Cut(code, ".")
			switch {
			case dotted.MatchString(code) && keys[section]:
				seen++
				if !keys[code] {
					t.Errorf("%s:%d: there is no setting %s", p.name, number, code)
				}
			case strings.HasPrefix(code, "test_u_"): // a user's name
			case snake.MatchString(code) && !metric.MatchString(code) && !known[code]:
				t.Errorf("%s:%d: %s is no setting, reason, or field of the log", p.name, number, code)
			}
			for _, v := range variable.FindAllString(code, -1) {
				if !variables[v] {
					t.Errorf("%s:%d: no setting has the variable %s", p.name, number, v)
				}
			}
		})
		for _, b := range p.blocks {
			for _, v := range variable.FindAllString(b.text, -1) {
				if !variables[v] {
					t.Errorf("%s:%d: no setting has the variable %s", p.name, b.line, v)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d settings were found in all pages", seen)
	}
}

// What the page says waits for a restart does, and nothing else.
func TestWhatWaitsForARestartIsSaid(t *testing.T) {
	var text strings.Builder
	for _, l := range pageCalled(t, "docs/operate.md").prose {
		text.WriteString(l.text + "\n")
	}
	_, told, found := strings.Cut(text.String(), "These wait for a restart")
	told, _, _ = strings.Cut(told, "Everything else")
	said := named(told)
	if !found || len(said) == 0 {
		t.Fatal("the page does not say what waits for a restart")
	}
	covers := func(name, key string) bool { return key == name || strings.HasPrefix(key, name+".") }
	for _, key := range config.Keys() {
		if listed := slices.ContainsFunc(said, func(name string) bool { return covers(name, key) }); listed != config.Fixed(key) {
			t.Errorf("%s waits for a restart: %v; the page says %v", key, config.Fixed(key), listed)
		}
	}
	for _, name := range said {
		if !slices.ContainsFunc(config.Keys(), func(key string) bool { return covers(name, key) }) {
			t.Errorf("there is no setting %s", name)
		}
	}
}

func TestConfigurationsThatAreShownAreGood(t *testing.T) {
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "yaml" {
				continue
			}
			file := filepath.Join(t.TempDir(), "gatehouse.yaml")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(config.Options{Path: file}); err != nil {
				t.Errorf("%s:%d: %v", p.name, b.line, err)
			}
		}
	}
}

func TestGoThatIsShownIsCompiled(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"../verify/*.go", "../verify/remote/example/*.go", "../gatehousetest/*.go", "../client/*.go", "../internal/webhook/receiver_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	all := flat(code.String())
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang == "go" && !strings.Contains(all, flat(b.text)) {
				t.Errorf("%s:%d: this is in none of the examples, which are compiled and run:\n%s", p.name, b.line, b.text)
			}
		}
	}
}

// flat is text without what begins its lines.
func flat(text string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(l, " \t"))
	}
	return b.String()
}

// A family is a metric as the table of operate.md has it.
type family struct {
	Kind   string
	Labels string
}

func TestTablesOfMetricsAndOfTheLog(t *testing.T) {
	page := pageCalled(t, "docs/operate.md")
	metrics, log := observe(t)

	want := map[string]family{}
	for _, row := range page.table(t, "Metrics") {
		for _, name := range named(row[0]) {
			labels := named(row[1])
			slices.Sort(labels)
			want[name] = family{row[2], strings.Join(labels, " ")}
		}
	}
	got := families(t, metrics)
	got["gatehouse_certificate_expiry_timestamp_seconds"] = family{Kind: "gauge"} // of a server with TLS, which this is not
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of metrics (-page +server):\n%s", diff)
	}
	for _, p := range pages(t) {
		check := func(number int, code string) {
			for _, name := range metric.FindAllString(code, -1) {
				if _, ok := got[ofMetric.ReplaceAllString(name, "")]; !ok {
					t.Errorf("%s:%d: there is no metric %s", p.name, number, name)
				}
			}
		}
		p.spans(check)
		for _, b := range p.blocks {
			check(b.line, b.text)
		}
	}

	fields := map[string]bool{}
	for _, row := range page.table(t, "Log") {
		for _, field := range named(row[0]) {
			fields[field] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(logged(t, log)))); diff != "" {
		t.Errorf("the table of the log's fields (-page +server):\n%s", diff)
	}
}

// observe lets a server do a little of everything, and returns what it says of itself.
func observe(t *testing.T) (metrics, log string) {
	t.Helper()
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	away := httptest.NewServer(nil)
	away.Close()
	s := gatehousetest.Start(t, gatehousetest.Config{YAML: `
redis: redis://` + away.Listener.Addr().String() + `
routes:
  - {path: /api/, upstream: "` + api.URL + `", accepts: [ACCESS_TOKEN]}
  - {path: /away, upstream: "` + away.URL + `", public: true}
  - {path: /watched, upstream: "` + away.URL + `", accepts: [ACCESS_TOKEN], observe_until: 2999-12-31}
`})
	get := func(url string, header ...string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	key := s.NewAPIKey(s.NewAccount("Acme Ltd"))
	var bought struct{ Data struct{ Token string } }
	if err := json.Unmarshal([]byte(get(s.URL+"/authentication", "X-LIQUID-API-KEY", key.Identifier)), &bought); err != nil {
		t.Fatal(err)
	}
	get(s.URL+"/api/products", "Authorization", "Bearer "+bought.Data.Token)
	get(s.URL+"/api/products", "Authorization", "Bearer nonsense")
	get(s.URL + "/away")
	get(s.URL + "/watched")
	metrics = get(s.AdminURL + "/metrics")
	s.Stop()
	return metrics, s.Log()
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (gatehouse_\S+) (\S+)$`)
	label    = regexp.MustCompile(`([a-z]+)="`)
)

// families reads Prometheus' text.
func families(t *testing.T, text string) map[string]family {
	t.Helper()
	all := map[string]family{}
	for _, m := range typeLine.FindAllStringSubmatch(text, -1) {
		name, kind := m[1], m[2]
		labels := map[string]bool{}
		series := regexp.MustCompile(`(?m)^`+name+`(?:_bucket|_sum|_count)?(\{[^}]*\})? `).FindAllStringSubmatch(text, -1)
		if len(series) == 0 {
			t.Errorf("%s has no series", name)
		}
		for _, s := range series {
			for _, l := range label.FindAllStringSubmatch(s[1], -1) {
				if l[1] != "le" {
					labels[l[1]] = true
				}
			}
		}
		all[name] = family{kind, strings.Join(slices.Sorted(maps.Keys(labels)), " ")}
	}
	return all
}

// logged are the fields of all lines about requests.
func logged(t *testing.T, log string) map[string]bool {
	t.Helper()
	fields := map[string]bool{}
	for l := range strings.Lines(log) {
		var one map[string]any
		if err := json.Unmarshal([]byte(l), &one); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		if one["msg"] != "request" {
			continue
		}
		for name := range one {
			fields[name] = true
		}
	}
	return fields
}
