package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// decode reads a file's YAML into the configuration. We walk the tree ourselves, so that every problem is told, not only
// the first, each with its line; and so that a value is taken as it is written, 1.10 for a version included. It says
// whether the file was YAML at all.
func (l *loader) decode(name string, data []byte) bool {
	wrong := func(line int, format string, args ...any) bool {
		l.problemAt(origin{file: name, line: line}, "", format, args...)
		return false
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) // else lines after comments count twice
	for i, line := range bytes.Split(data, []byte("\n")) {
		if !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return wrong(i+1, "not text: the file must be valid UTF-8 without control characters")
		}
	}
	file, err := parse(data)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return wrong(at.GetToken().Position.Line, "not YAML: %s", at.GetMessage()) // not its excerpt: a secret may be in it
		}
		return wrong(0, "not YAML")
	}
	if len(file.Docs) > 1 {
		line := 0
		if start := file.Docs[1].Start; start != nil {
			line = start.Position.Line
		}
		return wrong(line, "a second YAML document, or a directive: a configuration is one document, so take out the line with --- or %%")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return true // nothing but comments
	}
	if _, ok := pairs(file.Docs[0].Body); !ok {
		return wrong(lineOf(file.Docs[0].Body), "not a configuration: write lines such as listen: 127.0.0.1:8000")
	}
	d := decoder{l, name}
	d.section(file.Docs[0].Body, reflect.ValueOf(l.c).Elem(), "")
	return true
}

// parse is the library's parser. It has panicked on strange input before, and a configuration that does that is wrong.
func parse(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errors.New("the parser gave up")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // we tell of them ourselves
}

type decoder struct {
	*loader
	file string
}

func (d decoder) at(n ast.Node) origin { return origin{file: d.file, line: lineOf(n)} }

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// pairs are the keys and values of a mapping.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// section reads a mapping into the struct v, whose key is under.
func (d decoder) section(n ast.Node, v reflect.Value, under string) {
	values, ok := pairs(n)
	if !ok {
		d.problemAt(d.at(n), under, "holds keys of its own: write them below it, indented")
		return
	}
	all := fields(v.Type())
	seen := map[string]int{}
	for _, pair := range values {
		name, where := keyOf(pair.Key), d.at(pair.Key)
		key := join(under, name)
		if line := seen[name]; line > 0 {
			d.problemAt(where, "", "%s is set in line %d already: leave out one of them", key, line)
			continue
		}
		seen[name] = where.line
		i := slices.IndexFunc(all, func(f field) bool { return f.name == name })
		if i < 0 {
			d.problemAt(where, "", "there is no key %s: %s", key, d.suggest(name, all))
			continue
		}
		d.origins()[key] = where
		d.value(pair.Value, v.FieldByIndex(all[i].index), key)
	}
}

func (d decoder) origins() map[string]origin { return d.c.origins }

// suggest says how an unknown name is put right: a key of the section that is spelled almost so, or the key of that name
// somewhere else, or all that there are.
func (d decoder) suggest(name string, all []field) string {
	var known []string
	for _, f := range all {
		known = append(known, f.name)
	}
	if near := nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	for _, key := range Keys() {
		if strings.HasSuffix(key, "."+name) {
			return "did you mean " + key + "?"
		}
	}
	return "known are " + strings.Join(known, ", ")
}

func keyOf(n ast.MapKeyNode) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return n.GetToken().Value
}

// value reads n into v, the value of a key.
func (d decoder) value(n ast.Node, v reflect.Value, key string) {
	wrong := func(format string, args ...any) { d.problem(key, format, args...) }
	switch n.(type) {
	case nil, *ast.NullNode:
		wrong("has no value: write one, or leave the line out")
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		wrong("anchors, aliases and tags are not read here: write the value itself")
		return
	}
	switch {
	case section(v.Type()):
		d.section(n, v, key)
	case v.Type() == urlsType:
		d.urls(n, v, key)
	case v.Kind() == reflect.Slice:
		d.list(n, v, key)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, key)
	default:
		text, ok := scalar(n)
		if !ok {
			wrong("takes one value, on the same line")
			return
		}
		if err := parseScalar(v, text); err != nil {
			wrong("%w", err)
		}
	}
}

// urls reads one URL, or a list of them. An empty text stands for none.
func (d decoder) urls(n ast.Node, v reflect.Value, key string) {
	text, ok := scalar(n)
	if !ok {
		d.list(n, v, key)
		return
	}
	one := URLs{""}
	if err := parseScalar(reflect.ValueOf(one).Index(0), text); err != nil {
		d.problem(key, "%w", err)
	} else if text != "" {
		v.Set(reflect.ValueOf(one))
	}
}

// list reads a sequence: of single values, or of sections.
func (d decoder) list(n ast.Node, v reflect.Value, key string) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(key, "takes a list: write [one, another]")
		return
	}
	list := reflect.Zero(v.Type())
	for i, item := range sequence.Values {
		one := reflect.New(v.Type().Elem()).Elem()
		switch one.Type() {
		case reflect.TypeFor[Route]():
			one.Set(reflect.ValueOf(defaultRoute()))
		case reflect.TypeFor[OpenIDProvider]():
			one.Set(reflect.ValueOf(defaultProvider()))
		}
		at := fmt.Sprintf("%s[%d]", key, i)
		d.origins()[at] = d.at(item)
		d.value(item, one, at)
		list = reflect.Append(list, one)
	}
	v.Set(list)
}

// mapping reads names and single values.
func (d decoder) mapping(n ast.Node, v reflect.Value, key string) {
	values, ok := pairs(n)
	if !ok {
		d.problem(key, "takes names and values: write {X-Customer: ref}")
		return
	}
	if len(values) == 0 {
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, pair := range values {
		name := keyOf(pair.Key)
		at := join(key, name)
		if d.origins()[at] != (origin{}) {
			d.problemAt(d.at(pair.Key), "", "%s is set twice: leave out one of them", at)
			continue
		}
		d.origins()[at] = d.at(pair.Key)
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(pair.Value, one, at)
		m.SetMapIndex(reflect.ValueOf(name), one)
	}
	v.Set(m)
}

// scalar is a single value as it is written, quotes and escapes taken away.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}
