package web

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ReadJSON reads the request's body for [Strict]; "" if there is none. The errors are those of [Decode] before it looks at what
// the body says.
func ReadJSON(r *Request) (string, error) {
	body, err := readBody(r)
	if err != nil || body == "" {
		return "", err
	}
	if !isMedia(r.Header, "application/json") {
		return "", &StatusError{Status: http.StatusUnsupportedMediaType}
	}
	return body, nil
}

// Strict reads text, one strict object of JSON, into a struct. Its members have exactly the names of the struct's tags, and each
// the type that it has there; null stands for a member that is left out, unless its type reads null itself. The error is of
// [auth.ErrInvalid] and says what to mend, without repeating a value; or it is [ErrSyntax].
func Strict(text string, into any) error {
	if !readObject(text, nil) || !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return ErrSyntax
	}
	var value any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // of whatever size
	if err := d.Decode(&value); err != nil {
		return ErrSyntax
	}
	if name, unknown := stranger(value, reflect.TypeOf(into)); unknown {
		return auth.ErrInvalid.Saying("the body has a member that is not known here: " + strconv.QuoteToASCII(name[:min(len(name), 64)]))
	}
	err := json.Unmarshal([]byte(text), into)
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) && wrong.Field != "" {
		return auth.ErrInvalid.Saying(wrong.Field + " is not of the type that it has to be")
	}
	if err != nil {
		return auth.ErrInvalid.Saying("a member is not of the type that it has to be: times are as 2027-01-31T10:00:00Z")
	}
	return nil
}

// stranger finds a member of a value, at any depth, whose name a type does not know. What reads its JSON by itself knows all.
func stranger(value any, t reflect.Type) (name string, found bool) {
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	if t.Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return "", false
	}
	t = t.Elem()
	switch value := value.(type) {
	case []any:
		if t.Kind() != reflect.Slice {
			return "", false
		}
		for _, one := range value {
			if name, found = stranger(one, t.Elem()); found {
				return name, true
			}
		}
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return "", false
		}
		known := members(t)
		for _, name := range slices.Sorted(maps.Keys(value)) {
			of, ok := known[name]
			if !ok {
				return name, true
			}
			if name, found := stranger(value[name], of); found {
				return name, true
			}
		}
	}
	return "", false
}

// members are the names that a struct has in JSON, and their types.
func members(t reflect.Type) map[string]reflect.Type {
	known := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[name] = t.Field(i).Type
	}
	return known
}
