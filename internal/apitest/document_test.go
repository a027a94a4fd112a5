package apitest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/apitest"
)

func document(t *testing.T) *apitest.Document {
	t.Helper()
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// documents are both.
func documents(t *testing.T) map[string]*apitest.Document {
	t.Helper()
	admin, err := apitest.LoadAdmin()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*apitest.Document{"for customers": document(t), "for operators": admin}
}

func TestTheDocumentsAreValid(t *testing.T) {
	for name, d := range documents(t) {
		if err := d.T.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every schema can be compiled, and everything that has both a schema and examples is what the schema says.
func TestExamplesAreWhatTheySay(t *testing.T) {
	for name, d := range documents(t) {
		t.Run(name, func(t *testing.T) { examplesAreWhatTheySay(t, d) })
	}
}

func examplesAreWhatTheySay(t *testing.T, d *apitest.Document) {
	text, err := d.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	examples := 0
	var walk func(at string, node any)
	walk = func(at string, node any) {
		switch node := node.(type) {
		case []any:
			for i, one := range node {
				walk(fmt.Sprintf("%s/%d", at, i), one)
			}
		case map[string]any:
			if _, ok := node["schema"]; ok {
				values, _ := node["examples"].(map[string]any)
				for name, example := range values {
					e := example.(map[string]any)
					if ref, ok := e["$ref"].(string); ok {
						e = whole["components"].(map[string]any)["examples"].(map[string]any)[strings.TrimPrefix(ref, "#/components/examples/")].(map[string]any)
					}
					examples++
					if err := d.Validate(at+"/schema", e["value"]); err != nil {
						t.Errorf("%s, the example %s: %v", at, name, err)
					}
				}
				if example, ok := node["example"]; ok {
					examples++
					if err := d.Validate(at+"/schema", example); err != nil {
						t.Errorf("%s: %v", at, err)
					}
				}
				if len(values) == 0 && node["example"] == nil && strings.Contains(at, "/content/") {
					t.Errorf("%s has no example", at)
				}
			}
			for name, one := range node {
				walk(at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), one)
			}
		}
	}
	walk("#", whole)
	if examples < 60 {
		t.Errorf("only %d examples were found", examples)
	}
	for name := range d.Components.Schemas {
		if err := d.Validate("#/components/schemas/"+name, nil); err == nil {
			t.Errorf("the schema %s takes null", name)
		}
	}
}

// Each operation belongs to one package, whose tests show every row of it (see its TestMain).
func TestEveryOperationIsSomebodys(t *testing.T) {
	owners := map[string]string{
		"API keys": "contract/liquid", "Orders": "contract/liquid", "Login": "contract/b2b", "OAuth 2": "contract/oauth",
		"Published": "server", "Revocations": "server", "Health": "server",
		"Accounts": "contract/admin", "Credentials": "contract/admin", "Sessions and tokens": "contract/admin",
		"Signing keys": "contract/admin", "Webhooks": "contract/admin", "People": "contract/admin", "What is going on": "contract/admin", "Document": "contract/admin",
	}
	for _, d := range documents(t) {
		everyOperationIsSomebodys(t, d, owners)
	}
}

func everyOperationIsSomebodys(t *testing.T, d *apitest.Document, owners map[string]string) {
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			if len(operation.Tags) != 1 || owners[operation.Tags[0]] == "" {
				t.Errorf("%s %s has the tags %q", method, path, operation.Tags)
			}
			if operation.Security == nil {
				t.Errorf("%s %s does not say what it takes for security", method, path)
			}
		}
	}
}

func TestWhatIsTheServersOwnStandsInTheDocument(t *testing.T) {
	example := string(api.OpenAPI("https://auth.example.com", "X-LIQUID-API-KEY"))
	for _, own := range []string{"  - url: \"https://auth.example.com\"\n", "X-LIQUID-API-KEY"} {
		if n := strings.Count(example, own); n != 1 {
			t.Fatalf("%s stands there %d times", own, n)
		}
	}
	for url, header := range map[string]string{
		"https://login.example.org/eu": "X-Api-Key", "http://127.0.0.1:8000": "~", `https://x/"` + "\n  - url: evil\\": "on", "https://x/#&: {a}'é$1\u2028": "1", "": "",
	} {
		var got struct {
			OpenAPI    string
			Servers    []struct{ URL string }
			Tags       []any
			Components struct {
				SecuritySchemes struct {
					APIKey struct{ Name string } `yaml:"apiKey"`
				} `yaml:"securitySchemes"`
			}
		}
		if err := yaml.Unmarshal(api.OpenAPI(url, header), &got); err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		if len(got.Servers) != 1 || got.Servers[0].URL != url || got.OpenAPI != "3.1.0" || len(got.Tags) < 5 {
			t.Errorf("%q: got %+v", url, got.Servers)
		}
		if name := got.Components.SecuritySchemes.APIKey.Name; name != header {
			t.Errorf("%q: keys come in %q", header, name)
		}
	}
}

// What is not in the document is found.
func TestAnswersThatAreNotAsDocumented(t *testing.T) {
	const good = `{"error":{"name":"UnauthorizedError","code":"UNAUTHORIZED","message":"Invalid credentials"}}`
	answer := func(change func(*apitest.Answer)) apitest.Answer {
		a := apitest.Answer{Method: "POST", Target: "/auth/login?x", Status: 401, Body: []byte(good), Header: http.Header{
			"X-Request-Id": {"reqid_123abc45def"}, "Cache-Control": {"no-store"}, "Content-Type": {"application/json; charset=utf-8"},
			"X-Content-Type-Options": {"nosniff"}, "Www-Authenticate": {`Bearer realm="gatehouse"`}, "Date": {"x"},
		}}
		change(&a)
		return a
	}
	header := func(name string, values ...string) func(*apitest.Answer) {
		return func(a *apitest.Answer) { a.Header[name] = values }
	}
	body := func(old, with string) func(*apitest.Answer) {
		return func(a *apitest.Answer) { a.Body = []byte(strings.Replace(good, old, with, 1)) }
	}
	for name, c := range map[string]struct {
		change func(*apitest.Answer)
		want   string // in what is said; "": nothing
	}{
		"as documented":       {func(*apitest.Answer) {}, ""},
		"elsewhere":           {func(a *apitest.Answer) { a.Target, a.Status = "/auth/x", 299 }, ""},
		"a preflight":         {func(a *apitest.Answer) { a.Method, a.Status = "OPTIONS", 204 }, ""},
		"another status":      {func(a *apitest.Answer) { a.Status = 418 }, "this status is not in the document"},
		"another method":      {func(a *apitest.Answer) { a.Method, a.Status = "PUT", 200 }, "this method is not in the document"},
		"no challenge":        {header("Www-Authenticate"), "there is no header WWW-Authenticate"},
		"another challenge":   {header("Www-Authenticate", "Digest"), "the header WWW-Authenticate"},
		"a header twice":      {header("Cache-Control", "no-store", "no-store"), "2 times"},
		"a bad limit":         {header("Ratelimit", "x"), "the header RateLimit"},
		"a header of its own": {header("X-Powered-By", "x"), "X-Powered-By is not in the document"},
		"an unquoted id":      {header("X-Request-Id", "7"), "the header X-Request-Id"},
		"sniffing":            {header("X-Content-Type-Options"), "X-Content-Type-Options"},
		"another charset":     {header("Content-Type", "application/json"), "the media type"},
		"another media type":  {header("Content-Type", "text/html"), "the media type"},
		"another message":     {body("Invalid credentials", "Unknown user"), "no example"},
		"another's message":   {body("Invalid credentials", "Authentication required"), "no example"},
		"one more member":     {body("}}", `,"why":1}}`), "additional properties 'why' not allowed"},
		"a member missing":    {body(`"code":"UNAUTHORIZED",`, ""), "missing property 'code'"},
		"no JSON":             {body("}}", ""), "EOF"},
	} {
		recorded := &recorder{TB: t}
		apitest.Check(recorded, answer(c.change))
		got := strings.Join(recorded.said, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A recorder is a test that keeps what is wrong to itself.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}
