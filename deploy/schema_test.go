package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// The modules that carry the schemas. They are read, not compiled.
const (
	kubernetesSchemas = "sigs.k8s.io/kubectl-validate@v0.0.4"
	composeSchema     = "github.com/compose-spec/compose-go/v2@v2.9.0"
)

// module is the folder of a module, from the cache of modules or by the proxy, checked as every module is.
func module(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", name)
	cmd.Dir = t.TempDir() // this is none of our own module's affair
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if bad := json.Unmarshal(out, &m); err != nil || bad != nil || m.Dir == "" {
		beside.Lack(t, "go mod download %s: %v %s", name, err, m.Error)
	}
	return m.Dir
}

// schema compiles one of a file's schemas. With strict, members that a schema does not name are errors, as for kubeconform.
func schema(t *testing.T, file, pointer string, strict bool) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if strict {
		shut(doc)
	}
	c := jsonschema.NewCompiler()
	url := "file://" + filepath.ToSlash(file)
	if err := c.AddResource(url, doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(url + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// documents are those of a YAML text, as JSON would have them.
func documents(t *testing.T, text string) []any {
	t.Helper()
	var all []any
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var v any
		if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON)); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// into takes v apart as a T.
func into[T any](t *testing.T, v any) T {
	t.Helper()
	var to T
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &to); err != nil {
		t.Fatal(err)
	}
	return to
}

// shut has every object within a document of schemas take no members but those it names.
func shut(schemas any) {
	switch s := schemas.(type) {
	case map[string]any:
		_, named := s["properties"].(map[string]any)
		if _, told := s["additionalProperties"]; named && !told {
			s["additionalProperties"] = false
		}
		for _, inner := range s {
			shut(inner)
		}
	case []any:
		for _, inner := range s {
			shut(inner)
		}
	}
}
