package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A check says what of an answer does not hold.
type check func(a answer) error

// all joins checks: whatever does not hold is told, not the first alone.
func all(checks ...check) check {
	return func(a answer) error {
		var problems []error
		for _, c := range checks {
			problems = append(problems, c(a))
		}
		return errors.Join(problems...)
	}
}

// expect asks and checks.
func (p *probe) expect(r request, c check) error {
	a, err := p.ask(r)
	if err != nil {
		return err
	}
	return c(a)
}

// asks is a row of one exchange.
func asks(name string, r request, c check) row {
	return row{name: name, run: func(p *probe) error { return p.expect(r, c) }}
}

func status(want int) check {
	return func(a answer) error {
		if a.status != want {
			return fmt.Errorf("the status is %d, wanted %d", a.status, want)
		}
		return nil
	}
}

// header wants one value, literally.
func header(name, want string) check {
	return func(a answer) error {
		got, err := a.only(name)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, wanted %q", name, got, want)
		}
		return err
	}
}

func without(name string) check {
	return func(a answer) error {
		if got := a.header.Values(name); len(got) > 0 {
			return fmt.Errorf("%s is %q, wanted none", name, got)
		}
		return nil
	}
}

// told is what every answer carries.
func told(a answer) error {
	_, noID := a.only("X-Request-Id")
	date, noDate := a.only("Date")
	if noDate == nil {
		_, noDate = http.ParseTime(date)
	}
	return errors.Join(noID, noDate)
}

var (
	isJSON  = all(header("Content-Type", "application/json; charset=utf-8"), header("X-Content-Type-Options", "nosniff"))
	noStore = header("Cache-Control", "no-store")
)

// answers is an answer in JSON about a token.
func answers(code int, body check) check { return all(status(code), told, isJSON, noStore, body) }

// refuses is an error in JSON. Who is refused with 401 is told how to come, and nobody else.
func refuses(code int, body check) check {
	if code == http.StatusUnauthorized {
		return answers(code, body)
	}
	return all(answers(code, body), without("WWW-Authenticate"))
}

// A challenge is what WWW-Authenticate must be.
func challenge(pattern string) check {
	re := regexp.MustCompile("^" + pattern + "$")
	return func(a answer) error {
		got, err := a.only("WWW-Authenticate")
		if err == nil && !re.MatchString(got) {
			err = fmt.Errorf("WWW-Authenticate is %q, wanted %s", got, strings.ReplaceAll(pattern, `[^"]*`, "…"))
		}
		return err
	}
}

const (
	basicRealm  = `Basic realm="[^"]*", charset="UTF-8"`
	bearerRealm = `Bearer realm="[^"]*"`
)

// because is the challenge where a token was sent.
func because(description string) check {
	return challenge(bearerRealm + `, error="invalid_token", error_description="` + regexp.QuoteMeta(description) + `"`)
}

// allows wants Allow to have the one method.
func allows(method string) check {
	return func(a answer) error {
		got, err := a.only("Allow")
		if err == nil && !slices.Contains(strings.Split(strings.ReplaceAll(got, " ", ""), ","), method) {
			err = fmt.Errorf("%s is %q, wanted %s", "Allow", got, method)
		}
		return err
	}
}

// bodiless is an answer to HEAD: nothing comes behind its head.
func bodiless(a answer) error {
	if a.body != "" || a.after != "" {
		return errors.New("a body came, wanted none: it was HEAD")
	}
	return nil
}

// A shape is what JSON must be: a string, int or bool stands for itself, object for exactly these members (one whose name ends in
// "?" may be missing), a func for whatever it lets through.
type (
	object map[string]any
	list   []any
	some   func(v any) error
)

// body wants JSON of this shape, strictly read.
func body(shape any) check {
	return func(a answer) error {
		v, err := decode(a.body)
		if err != nil {
			return fmt.Errorf("the body is not JSON as it should be: %w", err)
		}
		return fits("", shape, v)
	}
}

func fits(at string, shape, v any) error {
	wrong := func(want any) error { return fmt.Errorf("%s is %s, wanted %v", name(at), show(v), want) }
	switch want := shape.(type) {
	case some:
		if err := want(v); err != nil {
			return fmt.Errorf("%s is %s, wanted %w", name(at), show(v), err)
		}
	case string:
		if v != want {
			return wrong(strconv.Quote(want))
		}
	case bool:
		if v != want {
			return wrong(want)
		}
	case int:
		if n, ok := v.(json.Number); !ok || n.String() != strconv.Itoa(want) {
			return wrong(want)
		}
	case list:
		got, ok := v.([]any)
		if !ok || len(got) != len(want) {
			return wrong(fmt.Sprintf("a list of %d", len(want)))
		}
		var problems []error
		for i := range want {
			problems = append(problems, fits(fmt.Sprintf("%s[%d]", at, i), want[i], got[i]))
		}
		return errors.Join(problems...)
	case object:
		got, ok := v.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		return want.fits(at, got)
	default:
		return fmt.Errorf("conform: no shape: %T", shape)
	}
	return nil
}

func (o object) fits(at string, got map[string]any) error {
	if at != "" {
		at += "."
	}
	var problems []error
	known := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(o)) {
		member, optional := strings.CutSuffix(key, "?")
		known[member] = true
		v, there := got[member]
		switch {
		case there:
			problems = append(problems, fits(at+member, o[key], v))
		case !optional:
			problems = append(problems, fmt.Errorf("%s is missing", at+member))
		}
	}
	for _, member := range slices.Sorted(maps.Keys(got)) {
		if !known[member] {
			problems = append(problems, fmt.Errorf("%s is there, which the contract does not have", at+member))
		}
	}
	return errors.Join(problems...)
}

func name(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	if len(text) > 200 {
		text = append(text[:200], "…"...)
	}
	return string(text)
}

// What members can be.
var (
	text = some(func(v any) error {
		if s, ok := v.(string); !ok || s == "" {
			return errors.New("a string")
		}
		return nil
	})
	number = some(func(v any) error {
		if _, err := integer(v); err != nil {
			return err
		}
		return nil
	})
	texts = some(func(v any) error {
		all, ok := v.([]any)
		for _, one := range all {
			_, is := one.(string)
			ok = ok && is
		}
		if !ok || len(all) == 0 {
			return errors.New("a list of strings")
		}
		return nil
	})
	whenever = some(func(v any) error {
		s, ok := v.(string)
		if t, err := time.Parse(time.RFC3339, s); !ok || err != nil || s != t.UTC().Format("2006-01-02T15:04:05Z") {
			return errors.New("a time as 2024-01-15T10:30:00Z")
		}
		return nil
	})
)

func integer(v any) (int64, error) {
	if n, ok := v.(json.Number); ok {
		if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
			return i, nil
		}
	}
	return 0, errors.New("a whole number")
}

// decode reads one JSON value strictly: no member twice, nothing behind it.
func decode(s string) (any, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	v, err := value(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind it")
	}
	return v, nil
}

func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := map[string]any{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			member, _ := key.(string)
			if _, twice := o[member]; twice {
				return nil, fmt.Errorf("%s is there twice", member)
			}
			if o[member], err = value(d); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for d.More() {
			v, err := value(d)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := d.Token()
		return l, err
	}
	return t, nil
}

// at is what stands at a path of members; nil if nothing does.
func (a answer) at(path ...string) any {
	v, err := decode(a.body)
	if err != nil {
		return nil
	}
	for _, member := range path {
		o, _ := v.(map[string]any)
		v = o[member]
	}
	return v
}

// str is the string there; "" for none.
func (a answer) str(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// int is the number there; 0 for none.
func (a answer) int(path ...string) int64 {
	n, _ := integer(a.at(path...))
	return n
}

// The envelope of contracts 1 and 2.
var requestID = regexp.MustCompile(`^reqid_[a-z0-9]{11}$`)

// skew is how far times that are one may be apart: Date has whole seconds, and answers travel.
const skew = 5

func metadata(path string) any {
	where := any(path)
	if path == "" {
		where = text
	}
	return object{"languages": texts, "timestamp": number, "timezone": "UTC", "requestId": text, "path": where, "version": text}
}

// stamped checks what the metadata say of this one answer.
func stamped(a answer) error {
	id, err := a.only("X-Request-Id")
	if err != nil {
		return nil //nolint:nilerr // told says so
	}
	var problems []error
	if got := a.str("metadata", "requestId"); got != id {
		problems = append(problems, fmt.Errorf("metadata.requestId is %q, wanted that of X-Request-Id, %q", got, id))
	}
	if !requestID.MatchString(id) {
		problems = append(problems, fmt.Errorf("X-Request-Id is %q, wanted reqid_ and 11 lower-case letters or digits", id))
	}
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		if off := a.int("metadata", "timestamp")/1000 - date.Unix(); off < -skew || off > skew {
			problems = append(problems, fmt.Errorf("metadata.timestamp is %d s away from Date, wanted Unix milliseconds of the answer", off))
		}
	}
	return errors.Join(problems...)
}

// enveloped is a success of contracts 1 and 2.
func enveloped(code int, path string, data any) check {
	return answers(code, all(body(object{"statusCode": 200, "message": "OK", "metadata": metadata(path), "data": data}), stamped))
}

// liquidRefuses is a failure of contracts 1 and 2; path "" is any.
func liquidRefuses(code, inside int, message, path string) check {
	return refuses(code, all(body(object{"statusCode": inside, "message": message, "metadata": metadata(path), "errors": list{}}), stamped))
}

func b2bRefuses(code int, name, word, message string) check {
	return refuses(code, body(object{"error": object{"name": name, "code": word, "message": message}}))
}

func oauthRefuses(code int, word string) check {
	return refuses(code, body(object{"error": word, "error_description?": text, "error_uri?": text}))
}

// refusal is a failure that all contracts share, in the words of one.
func refusal(contract string, code int) check {
	words := map[int]struct{ liquid, name, code, message, oauth string }{
		400: {"Bad Request", "BadRequestError", "BAD_REQUEST", "Bad request", "invalid_request"},
		401: {"Unauthorized", "UnauthorizedError", "UNAUTHORIZED", "Authentication required", "invalid_token"},
		403: {"IP address not authorized", "ForbiddenError", "FORBIDDEN", "IP address not authorized", "access_denied"},
		404: {"Not Found", "NotFoundError", "NOT_FOUND", "Not found", "invalid_request"},
		405: {"Method Not Allowed", "MethodNotAllowedError", "METHOD_NOT_ALLOWED", "Method not allowed", "invalid_request"},
		413: {"Payload Too Large", "PayloadTooLargeError", "PAYLOAD_TOO_LARGE", "Request body too large", "invalid_request"},
		429: {"Too Many Requests", "TooManyRequestsError", "TOO_MANY_REQUESTS", "Too many requests. Please try again later.", "temporarily_unavailable"},
	}[code]
	switch contract {
	case B2B:
		return b2bRefuses(code, words.name, words.code, words.message)
	case OAuth:
		return oauthRefuses(code, words.oauth)
	}
	return liquidRefuses(code, code, words.liquid, "")
}
