package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
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
	known := members(reflect.TypeOf(into).Elem())
	unknown := ""
	ok := readObject(text, func(name string) *string {
		if !known[name] && unknown == "" {
			unknown = name
		}
		return nil
	})
	switch {
	case !ok || !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{"):
		return ErrSyntax
	case unknown != "":
		return auth.ErrInvalid.Saying("the body has a member that is not known here: " + strconv.QuoteToASCII(unknown[:min(len(unknown), 64)]))
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

// members are the names that a struct has in JSON.
func members(t reflect.Type) map[string]bool {
	known := make(map[string]bool, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[name] = true
	}
	return known
}
