package config

import (
	"reflect"
	"strings"
)

// A postponed is a key, or a section, of a feature that is not there yet. It has its default in the configuration, so that
// files written for the release that has it are understood, and any other value is an error: what is set must hold.
type postponed struct {
	key     string
	instead string // what this release does
}

// later is all that comes in a later release, which deletes its row.
func later() []postponed {
	return []postponed{
		{"dashboard", "has none, and the command line for everything"},
	}
}

// comesLater says what is wrong with setting a key, "" if nothing is.
func comesLater(key string) string {
	for _, p := range later() {
		if key == p.key || strings.HasPrefix(key, p.key+".") {
			return "comes in a later release; this one " + p.instead
		}
	}
	return ""
}

// checkLater refuses what is not there yet.
func (l *loader) checkLater() {
	usual := leaves(Default())
	for i, leaf := range leaves(l.c) {
		if msg := comesLater(leaf.key); msg != "" && !same(leaf.value, usual[i].value) {
			l.problem(leaf.key, "%s", msg)
		}
	}
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
