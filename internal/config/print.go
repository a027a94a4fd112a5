package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Print writes the configuration as YAML, with every key and what it is now. Secrets are "***".
func (c *Config) Print() string {
	var p printer
	p.section(reflect.ValueOf(c).Elem(), "")
	return p.String()
}

// Value is the value of a key on one line, as [Config.Print] writes it; ok says whether there is such a key. Of a list of
// sections, as the routes are, it is how many there are.
func (c *Config) Value(key string) (value string, ok bool) {
	for _, l := range leaves(c) {
		if l.key == key {
			if sections(l.value.Type()) {
				return fmt.Sprint(l.value.Len()), true
			}
			return inline(l.value), true
		}
	}
	return "", false
}

// A printer writes YAML. We write it ourselves: it is little, and comments go where they belong.
type printer struct {
	strings.Builder
	// doc returns the lines of comment of a field; nil: there are none.
	doc func(of reflect.Type, name string) []string
}

func (p *printer) section(v reflect.Value, indent string) {
	for i, f := range fields(v.Type()) {
		if p.doc != nil {
			lines := p.doc(v.Type(), f.name)
			if indent == "" && i > 0 {
				p.WriteString("\n")
			}
			for _, line := range lines {
				p.WriteString(strings.TrimRight(indent+"# "+line, " ") + "\n")
			}
		}
		value := v.FieldByIndex(f.index)
		switch {
		case section(value.Type()):
			p.WriteString(indent + f.name + ":\n")
			p.section(value, indent+"  ")
		case sections(value.Type()) && value.Len() > 0:
			p.WriteString(indent + f.name + ":\n")
			for i := range value.Len() {
				item := printer{doc: p.doc}
				item.section(value.Index(i), indent+"    ")
				lines := item.String()
				for strings.HasPrefix(lines, indent+"    # ") { // the comment stands before the dash
					end := strings.Index(lines, "\n") + 1
					p.WriteString(lines[:end])
					lines = lines[end:]
				}
				p.WriteString(indent + "  - " + strings.TrimPrefix(lines, indent+"    "))
			}
		default:
			p.WriteString(indent + f.name + ": " + inline(value) + "\n")
		}
	}
}

// inline writes a value on one line.
func inline(v reflect.Value) string {
	if v.Type() == urlsType && v.Len() < 2 {
		one, _ := v.Interface().(URLs)
		return scalarText(strings.Join(one, ""), false)
	}
	var parts []string
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, scalarText(formatScalar(v.Index(i)), true))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		m := map[string]string{}
		for _, k := range v.MapKeys() {
			m[k.String()] = formatScalar(v.MapIndex(k))
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, scalarText(k, true)+": "+scalarText(m[k], true))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return scalarText(formatScalar(v), false)
}

// scalarText writes a text so that it is read back as it is: plain where that is safe beyond doubt, else in double quotes,
// whose escapes are JSON's.
func scalarText(s string, inList bool) string {
	plain := s != "" && (auth.Alphanumeric(s[:1]) || s[0] == '/' || strings.HasPrefix(s, "./")) && !strings.HasSuffix(s, ":")
	for i := range len(s) {
		plain = plain && (auth.Alphanumeric(s[i:i+1]) || strings.IndexByte("._/-", s[i]) >= 0 || s[i] == ':' && !inList)
	}
	if plain && strings.ToLower(s) != "null" {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("config: a string that is none: " + err.Error())
	}
	return strings.TrimRight(b.String(), "\n")
}
