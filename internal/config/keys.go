package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A leaf is one key that has a value of its own, and where its value lies.
type leaf struct {
	key   string // "tokens.b2b.access_lifetime"
	value reflect.Value
}

// leaves returns every key of c, in the order of [Config]. A list of sections, as the routes are, is one leaf.
func leaves(c *Config) []leaf { return leavesOf(reflect.ValueOf(c).Elem(), "") }

func leavesOf(v reflect.Value, under string) []leaf {
	var all []leaf
	for _, f := range fields(v.Type()) {
		key, value := join(under, f.name), v.FieldByIndex(f.index)
		if section(value.Type()) {
			all = append(all, leavesOf(value, key)...)
		} else {
			all = append(all, leaf{key, value})
		}
	}
	return all
}

// A field is a field of a struct that can be set, under its name in the file.
type field struct {
	name  string
	index []int
}

func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			all = append(all, field{name, t.Field(i).Index})
		}
	}
	return all
}

func join(under, name string) string {
	if under == "" {
		return name
	}
	return under + "." + name
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	rateType     = reflect.TypeFor[auth.Rate]()
	secretType   = reflect.TypeFor[Secret]()
	timeType     = reflect.TypeFor[time.Time]()
	urlsType     = reflect.TypeFor[URLs]()
)

// section says whether a value of type t holds keys of its own.
func section(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != rateType && t != secretType && t != timeType
}

// sections says whether a value of type t is a list of what holds keys of its own.
func sections(t reflect.Type) bool { return t.Kind() == reflect.Slice && section(t.Elem()) }

// Keys returns every key that can be set, in the order of [Config]: "listen", …, "tokens.b2b.access_lifetime", …,
// "routes".
func Keys() []string {
	var all []string
	for _, l := range leaves(Default()) {
		all = append(all, l.key)
	}
	return all
}

// Variable is the environment variable of a key: GATEHOUSE_TOKENS_B2B_ACCESS_LIFETIME. Lists of sections, as the routes are,
// have none.
func Variable(key string) string {
	for _, l := range leaves(Default()) {
		if l.key == key && sections(l.value.Type()) {
			return ""
		}
	}
	return variableName(key)
}

func variableName(key string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// IsSecret says whether a key's value is one that is never shown.
func IsSecret(key string) bool {
	for _, l := range leaves(Default()) {
		if l.key == key {
			return l.value.Type() == secretType
		}
	}
	return false
}

// parseScalar sets v to what s says. The error goes on from the quoted text; a secret's does not show it.
func parseScalar(v reflect.Value, s string) error {
	switch v.Type() {
	case durationType:
		d, err := ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%s %w", quote(s), err)
		}
		v.SetInt(int64(d))
		return nil
	case rateType:
		r, err := auth.ParseRate(s)
		if err != nil {
			return fmt.Errorf("%s: %w", quote(s), err)
		}
		v.Set(reflect.ValueOf(r))
		return nil
	case secretType:
		v.Set(reflect.ValueOf(NewSecret(s)))
		return nil
	case timeType:
		t, err := parseUntil(s)
		if err != nil {
			return fmt.Errorf("%s %w", quote(s), err)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%s has a control character in it: leave it out", quote(s))
		}
		v.SetString(s)
	case reflect.Bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("%s is neither true nor false", quote(s))
		}
		v.SetBool(s == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != s || v.OverflowInt(n) {
			return fmt.Errorf("%s is not a whole number such as 20", quote(s))
		}
		v.SetInt(n)
	default:
		panic("config: a key of type " + v.Type().String())
	}
	return nil
}

var errInFile = errors.New("can be set in the configuration file only")

// parseText sets v to what a variable or a flag says: as the file, and lists with commas.
func parseText(v reflect.Value, s string) error {
	if sections(v.Type()) {
		return errInFile
	}
	if v.Kind() != reflect.Slice {
		return parseScalar(v, s)
	}
	list := reflect.Zero(v.Type())
	if strings.TrimSpace(s) != "" {
		for part := range strings.SplitSeq(s, ",") {
			one := reflect.New(v.Type().Elem()).Elem()
			if err := parseScalar(one, strings.TrimSpace(part)); err != nil {
				return err
			}
			list = reflect.Append(list, one)
		}
	}
	v.Set(list)
	return nil
}

// formatScalar is parseScalar the other way round. A secret is "***".
func formatScalar(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case auth.Rate:
		return x.String()
	case Secret:
		return x.String()
	case time.Time:
		if x.IsZero() {
			return ""
		}
		return x.Format(time.RFC3339)
	}
	return fmt.Sprint(v.Interface())
}

// quote shows what somebody wrote, on one line and not all of a long one.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

// nearest is the known name that is spelled almost as unknown, "" if none is.
func nearest(unknown string, known []string) string {
	best, at := "", 2+len(unknown)/5
	for _, k := range known {
		if len(unknown) > 2*len(k) {
			continue
		}
		if d := distance(strings.ToLower(unknown), strings.ToLower(k)); d < at {
			best, at = k, d
		}
	}
	return best
}

// distance is how many letters one has to change, add or leave out to come from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(before+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// same says whether two values of a key are the same; a list with nothing in it is one that is not there.
func same(a, b reflect.Value) bool {
	if s, ok := a.Interface().(Secret); ok { // which is a function: no two of these are equal
		return s.Equal(b.Interface().(Secret))
	}
	switch {
	case a.Kind() == reflect.Slice:
		for i := range min(a.Len(), b.Len()) {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case a.Kind() == reflect.Map:
		for _, key := range a.MapKeys() {
			if other := b.MapIndex(key); !other.IsValid() || !same(a.MapIndex(key), other) {
				return false
			}
		}
		return a.Len() == b.Len()
	case section(a.Type()):
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
