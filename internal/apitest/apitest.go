// Package apitest holds the answers that tests get to the documents: the one that customers read, [api.OpenAPI], and that of
// the admin API, [api.Admin]. It is for tests alone, and knows no contract: what is right stands in the document.
//
// The invariant: an answer at a documented address passes only if its status, its headers, its media type, its body and, of
// a failure, its literal message stand in the document for that operation.
package apitest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatehouse/gatehouse/api"
)

// A Document is the document, and what tests of this process have seen of it.
type Document struct {
	*openapi3.T
	compiler *jsonschema.Compiler // of the document as a whole, so that a reference means what it says

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by pointer
	seen    map[string]bool               // rows
}

// resource is what the compiler calls the document.
const resource = "openapi:///document"

// Load returns the document that customers read, and LoadAdmin that of the admin API. Each is read once per process.
var (
	Load      = sync.OnceValues(func() (*Document, error) { return load(api.OpenAPI("https://auth.example.com", "X-LIQUID-API-KEY")) })
	LoadAdmin = sync.OnceValues(func() (*Document, error) { return load(api.Admin()) })
)

// of is how the document is loaded that an address would be in.
func of(target string) func() (*Document, error) {
	if strings.HasPrefix(target, "/admin/") {
		return LoadAdmin
	}
	return Load
}

func load(text []byte) (*Document, error) {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if text, err = doc.MarshalJSON(); err != nil {
		return nil, err
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &Document{T: doc, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	return d, d.compiler.AddResource(resource, whole)
}

// Validate holds a value of JSON to the schema at a pointer into the document.
func (d *Document) Validate(pointer string, value any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema := d.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = d.compiler.Compile(resource + pointer); err != nil {
			return err
		}
		d.schemas[pointer] = schema
	}
	return schema.Validate(value)
}

// An Answer is what came back from one of the server's own addresses.
type Answer struct {
	Method, Target string // of the request
	Status         int
	Header         http.Header
	Body           []byte
}

// Check fails the test for what is [Document.Wrong] with an answer, but not in a benchmark.
func Check(t testing.TB, a Answer) {
	t.Helper()
	if _, measured := t.(*testing.B); measured {
		return
	}
	d, err := of(a.Target)()
	if err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	for _, wrong := range d.Wrong(a) {
		t.Errorf("OpenAPI: %s %s answered %d: %v", a.Method, a.Target, a.Status, wrong)
	}
}

// Wrong says what of an answer is not as the document has it; nothing, of one at an address that is not documented, or to a preflight.
func (d *Document) Wrong(a Answer) (wrong []error) {
	path, _, _ := strings.Cut(a.Target, "?")
	path, item := d.path(path)
	if item == nil || a.Method == http.MethodOptions && a.Status == http.StatusNoContent {
		return nil
	}
	operations := item.Operations()
	method, operation := a.Method, operations[a.Method]
	if operation == nil { // what is said of other methods is said with those there are
		if a.Status < http.StatusBadRequest {
			return []error{fmt.Errorf("this method is not in the document")}
		}
		method = slices.Sorted(maps.Keys(operations))[0]
		operation = operations[method]
	}
	status := strconv.Itoa(a.Status)
	ref := operation.Responses.Value(status)
	if ref == nil {
		return []error{fmt.Errorf("this status is not in the document")}
	}
	at := ref.Ref
	if at == "" {
		at = pointer("paths", path, strings.ToLower(method), "responses", status)
	}
	wrong = d.checkHeaders(at, ref.Value, a)
	said, err := d.checkBody(at, ref.Value, a)
	if err != nil {
		return append(wrong, err)
	}
	if len(wrong) == 0 {
		d.mu.Lock()
		d.seen[row(method, path, status, said)] = true
		d.mu.Unlock()
	}
	return wrong
}

// path is the path of the document that stands for a target's, as it stands there; nil if there is none. One without names in
// braces goes before one with them.
func (d *Document) path(target string) (string, *openapi3.PathItem) {
	if item := d.Paths.Value(target); item != nil {
		return target, item
	}
	for path, item := range d.Paths.Map() {
		want, got := strings.Split(path, "/"), strings.Split(target, "/")
		if strings.Contains(path, "{") && slices.EqualFunc(want, got, func(want, got string) bool {
			return want == got || strings.HasPrefix(want, "{") && got != "" && d.Paths.Value(strings.Replace(path, want, got, 1)) == nil
		}) {
			return path, item
		}
	}
	return target, nil
}

// usual headers are told of once for all answers, or are HTTP's own.
var usual = []string{"Connection", "Content-Length", "Content-Type", "Date", "Vary", "X-Content-Type-Options"}

func (d *Document) checkHeaders(at string, r *openapi3.Response, a Answer) (wrong []error) {
	documented := map[string]bool{}
	for name, ref := range r.Headers {
		canonical := http.CanonicalHeaderKey(name)
		documented[canonical] = true
		values := a.Header[canonical]
		switch {
		case len(values) == 0 && ref.Value.Required:
			wrong = append(wrong, fmt.Errorf("there is no header %s", name))
		case len(values) > 1:
			wrong = append(wrong, fmt.Errorf("the header %s is there %d times", name, len(values)))
		case len(values) == 1:
			of := ref.Ref
			if of == "" {
				of = at + pointer("headers", name)[1:]
			}
			var value any = values[0]
			if ref.Value.Schema.Value.Type.Is("integer") {
				value = json.Number(values[0])
			}
			if err := d.Validate(of+"/schema", value); err != nil {
				wrong = append(wrong, fmt.Errorf("the header %s: %q: %w", name, values[0], err))
			}
		}
	}
	for name := range a.Header {
		if !documented[name] && !slices.Contains(usual, name) && !strings.HasPrefix(name, "Access-Control-") {
			wrong = append(wrong, fmt.Errorf("the header %s is not in the document", name))
		}
	}
	return wrong
}

// checkBody returns what the body says, as far as that tells one row from another.
func (d *Document) checkBody(at string, r *openapi3.Response, a Answer) (said string, err error) {
	if a.Method == http.MethodHead {
		return "", nil // the body that there would be is cut off by net/http
	}
	if len(r.Content) == 0 {
		if len(a.Body) > 0 {
			return "", fmt.Errorf("there is a body: %.100q", a.Body)
		}
		return "", nil
	}
	if got := a.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		return "", fmt.Errorf("X-Content-Type-Options is %q", got)
	}
	got := a.Header.Get("Content-Type")
	media, parameter, _ := strings.Cut(got, ";")
	content := r.Content[media]
	structured := media == "application/json" || strings.HasSuffix(media, "+json")
	if content == nil || media == "application/json" && parameter != " charset=utf-8" {
		return "", fmt.Errorf("the media type is %q", got)
	}
	var value any = string(a.Body)
	if structured {
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.Body)); err != nil {
			return "", fmt.Errorf("%.100q: %w", a.Body, err)
		}
	}
	if err := d.Validate(at+pointer("content", media, "schema")[1:], value); err != nil {
		return "", err
	}
	if a.Status < http.StatusBadRequest {
		return "", nil
	}
	said = saying(value)
	for _, example := range content.Examples {
		if saying(example.Value.Value) == said {
			return said, nil
		}
	}
	return "", fmt.Errorf("no example in the document says %q", said)
}

// saying is what a failure says in the words of its contract, "" for an answer that says nothing literally.
func saying(body any) string {
	members, ok := body.(map[string]any)
	if !ok {
		return ""
	}
	if inner, ok := members["error"].(map[string]any); ok {
		members = inner
	}
	var all []string
	for _, name := range []string{"statusCode", "name", "code", "message", "error_description"} {
		if value, ok := members[name]; ok {
			if name == "error_description" {
				all = append(all, fmt.Sprint(members["error"]))
			}
			all = append(all, fmt.Sprint(value))
		}
	}
	return strings.Join(all, " ")
}

func row(method, path, status, said string) string {
	return strings.TrimSpace(strings.Join([]string{method, path, status, said}, " "))
}

// Rows are what the document has under a tag: each operation with each status and, of failures, each literal message.
func (d *Document) Rows(tag string) []string {
	var rows []string
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			if !slices.Contains(operation.Tags, tag) {
				continue
			}
			for status, ref := range operation.Responses.Map() {
				says := map[string]bool{}
				for _, content := range ref.Value.Content {
					for _, example := range content.Examples {
						if status >= "400" {
							says[saying(example.Value.Value)] = true
						}
					}
				}
				if len(says) == 0 {
					says[""] = true
				}
				for said := range says {
					rows = append(rows, row(method, path, status, said))
				}
			}
		}
	}
	slices.Sort(rows)
	return rows
}

// Main runs the tests of a package that answers for the operations under some tags: it fails also if they were all run, and
// no answer showed a row of those operations. Exceptions are the rows that none can show, each with the reason.
func Main(m *testing.M, exceptions map[string]string, tags ...string) int {
	code := m.Run()
	if code != 0 || !everything() {
		return code
	}
	unused := maps.Clone(exceptions)
	for _, tag := range tags {
		d, err := LoadAdmin()
		if public, wrong := Load(); wrong == nil && public.Tags.Get(tag) != nil {
			d, err = public, nil
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		d.mu.Lock()
		rows := d.Rows(tag)
		d.mu.Unlock()
		if len(rows) == 0 {
			fmt.Fprintf(os.Stderr, "OpenAPI: nothing has the tag %q\n", tag)
			code = 1
		}
		for _, row := range rows {
			_, excepted := exceptions[row]
			if excepted && !d.seen[row] {
				delete(unused, row)
			}
			if !excepted && !d.seen[row] {
				fmt.Fprintf(os.Stderr, "OpenAPI: no answer of these tests was: %s\n", row)
				code = 1
			}
		}
	}
	for _, row := range slices.Sorted(maps.Keys(unused)) {
		fmt.Fprintf(os.Stderr, "OpenAPI: this is no exception any more: %s\n", row)
		code = 1
	}
	return code
}

// everything says whether all tests of the package were run.
func everything() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// pointer is a JSON pointer, as a fragment.
func pointer(names ...string) string {
	at := "#"
	for _, name := range names {
		at += "/" + escape.Replace(name)
	}
	return at
}
