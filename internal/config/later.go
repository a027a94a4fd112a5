package config

import (
	"reflect"
	"strings"
)

// A postponed is a key, or a section, of a feature that is not there yet. It has its default in the configuration, so that
// files written for the release that has it are understood, and any other value is an error: what is set must hold.
type postponed struct {
	key     string // "[]" in it stands for any index
	instead string // what this release does
}

// later is all that comes in a later release, which deletes its row.
func later() []postponed {
	return []postponed{
		{"database", "keeps everything in the embedded database in data_dir"},
		{"database_pool", "keeps everything in the embedded database in data_dir"},
		{"redis", "keeps limits in memory"},
		{"tls.acme", "reads certificates from files, see tls.cert_file"},
		{"cors", "answers no cross-origin calls"},
		{"dashboard", "has none, and the command line for everything"},
		{"docs", "has none"},
		{"routes[].cors", "leaves CORS headers as the API sets them"},
	}
}

// comesLater says what is wrong with setting a key, "" if nothing is.
func comesLater(key string) string {
	for _, p := range later() {
		if k := anyIndex(key); k == p.key || strings.HasPrefix(k, p.key+".") {
			return "comes in a later release; this one " + p.instead
		}
	}
	return ""
}

// anyIndex takes the numbers out of a key: routes[3].cors is routes[].cors.
func anyIndex(key string) string {
	var b strings.Builder
	inside := false
	for _, r := range key {
		if r == ']' {
			inside = false
		}
		if !inside {
			b.WriteRune(r)
		}
		if r == '[' {
			inside = true
		}
	}
	return b.String()
}

// checkLater refuses what is not there yet.
func (l *loader) checkLater() {
	usual := leaves(Default())
	for i, leaf := range leaves(l.c) {
		if msg := comesLater(leaf.key); msg != "" && !same(leaf.value, usual[i].value) {
			l.problem(leaf.key, "%s", msg)
		}
	}
	for i := range l.c.Routes {
		want := reflect.ValueOf(defaultRoute())
		for _, leaf := range leavesOf(reflect.ValueOf(&l.c.Routes[i]).Elem(), routeKey(i)) {
			name := strings.TrimPrefix(leaf.key, routeKey(i)+".")
			if msg := comesLater(leaf.key); msg != "" && !same(leaf.value, fieldNamed(want, name)) {
				l.problem(leaf.key, "%s", msg)
			}
		}
	}
}

func fieldNamed(v reflect.Value, name string) reflect.Value {
	for _, f := range leavesOf(v, "") {
		if f.key == name {
			return f.value
		}
	}
	return reflect.Value{}
}

// same says whether two values of a key are the same; a list with nothing in it is one that is not there.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	if s, ok := a.Interface().(Secret); ok {
		return s.Equal(b.Interface().(Secret))
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
