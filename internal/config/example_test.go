package config

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/verify"
)

var update = flag.Bool("update", false, "write example.yaml and the golden files anew")

const exampleHead = `# Everything that can be set in gatehouse.yaml, with its default. Keep what you change and leave out the rest: a key that
# is not there has its default, and one that is unknown is an error.
#
# Every key but routes, webhooks and dashboard.openid can be set by a variable too: GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME for
# tokens.b2b.access_lifetime, a list with commas. The environment wins over this file, and flags over the environment.
# database and redis can come from a file, named by GATEHOUSE_DATABASE_FILE and GATEHOUSE_REDIS_FILE.
#
# Durations are 90s, 15m, 24h or 30d, or several as 1h30m, or 0. Rates are 10/s, 600/min, 100/h or 5000/d, or 0 for none. A
# path that is not absolute is relative to the folder of this file.
#
# "gatehouse config check" says what is wrong with it, "gatehouse config print" what holds, "gatehouse config origin" why.

`

// writeExample makes example.yaml of the comments in config.go.
func writeExample(t *testing.T) string {
	t.Helper()
	docs := docsOf(t)
	p := printer{doc: func(of reflect.Type, name string) []string { return docs[of.Name()+"."+name] }}
	p.section(reflect.ValueOf(Default()).Elem(), "")

	sample := Config{Routes: []Route{defaultRoute()}}
	r := &sample.Routes[0]
	r.Path, r.Upstream = "/api/v1/", URLs{"http://127.0.0.1:9100"}
	r.Accepts = []verify.Type{verify.B2BAccess, verify.OAuthAccess}
	route := printer{doc: p.doc}
	route.section(reflect.ValueOf(&sample).Elem(), "")
	_, lines, _ := strings.Cut(route.String(), "\nroutes:\n")

	out := exampleHead + p.String() + "\n# A route with every key that it can have, all but `path` and `accepts` optional:\n#\n# routes:\n"
	for line := range strings.Lines(lines) {
		out += "# " + line
	}
	return out
}

// docsOf reads the comments of the fields of all structs in config.go, by the struct's name and the field's key.
func docsOf(t *testing.T) map[string][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string][]string{}
	key := regexp.MustCompile(`yaml:"([a-z0-9_]+)"`)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				if f.Tag == nil || f.Doc == nil {
					continue
				}
				if m := key.FindStringSubmatch(f.Tag.Value); m != nil {
					docs[spec.Name.Name+"."+m[1]] = strings.Split(strings.TrimSpace(f.Doc.Text()), "\n")
				}
			}
		}
		return false
	})
	return docs
}

func TestTheExampleIsTheManual(t *testing.T) {
	want := writeExample(t)
	if *update {
		if err := os.WriteFile("example.yaml", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, Example()); diff != "" {
		t.Errorf("example.yaml is out of date, run the test with -update: (-want +got)\n%s", diff)
	}
}

func TestTheExampleChangesNothing(t *testing.T) {
	dir := t.TempDir()
	want := mustLoad(t, Options{Dir: dir})
	write(t, filepath.Join(dir, "gatehouse.yaml"), Example())
	got := mustLoad(t, Options{Dir: dir})
	if diff := cmp.Diff(want, got, but("File", "origins", "dir")); diff != "" {
		t.Errorf("(-default +example)\n%s", diff)
	}
	for _, key := range Keys() {
		if !strings.HasPrefix(got.Origin(key), "gatehouse.yaml:") {
			t.Errorf("%s is not in the example: it comes from %s", key, got.Origin(key))
		}
	}
}

func TestTheExamplesRouteIsARoute(t *testing.T) {
	_, sample, ok := strings.Cut(Example(), "\n# routes:\n")
	if !ok {
		t.Fatal("there is no sample of a route")
	}
	text := "routes:\n"
	for line := range strings.Lines(sample) {
		text += strings.TrimPrefix(line, "# ")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), text)
	c := mustLoad(t, Options{Dir: dir})
	if len(c.Routes) != 1 || c.Routes[0].Path != "/api/v1/" || c.Routes[0].Errors != "b2b" {
		t.Errorf("got %+v", c.Routes)
	}
}
