package dashboard

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

//go:embed templates/*.html
var pages embed.FS

// shared are the templates that pages are made with; every other one is a page, and defines "main".
var shared = []string{"templates/base.html", "templates/parts.html", "templates/start-parts.html", "templates/ways.html"}

// A pageTemplate reads a page together with what all share when somebody first asks for it: an idle server holds none.
type pageTemplate func() (*template.Template, error)

// newTemplates knows every page by its name.
func newTemplates() (map[string]pageTemplate, error) {
	found, err := fs.Glob(pages, "templates/*.html")
	if err != nil {
		return nil, err
	}
	all := make(map[string]pageTemplate)
	for _, file := range found {
		if slices.Contains(shared, file) {
			continue
		}
		all[strings.TrimSuffix(path.Base(file), ".html")] = sync.OnceValues(func() (*template.Template, error) {
			return template.New("").Funcs(functions).Option("missingkey=error").ParseFS(pages, append(slices.Clone(shared), file)...)
		})
	}
	return all, nil
}

// functions are what templates call.
var functions = template.FuncMap{
	"day":    func(t time.Time) string { return shown(t, "2 Jan 2006") },
	"minute": func(t time.Time) string { return shown(t, "2 Jan 2006, 15:04 UTC") },
	"second": func(t time.Time) string { return shown(t, "2 Jan 2006, 15:04:05 UTC") },
	"clock":  func(t time.Time) string { return shown(t, "15:04:05 UTC on 2 Jan") },
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"ago":    func(now, t time.Time) string { return distance(now.Sub(t)) },
	"number": number,
	"kind":   kindName,
	"reason": func(r auth.Reason) string { return reasonName(r) },
	"beside": beside,
	"fields": strings.Fields,
	"plural": plural,
}

// shown writes a time in UTC, and nothing for none.
func shown(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// distance says how long ago something was, or how long it still is, in one unit.
func distance(d time.Duration) string {
	in := d < 0
	if in {
		d = -d
	}
	said := "a moment"
	for _, u := range []struct {
		is   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if d >= u.is {
			said = fmt.Sprintf("%d %s", d/u.is, u.name)
			break
		}
	}
	if in {
		return "in " + said
	}
	return said + " ago"
}

// number writes a number with its thousands apart.
func number(n any) string {
	s := fmt.Sprint(n)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	if strings.HasPrefix(s, "-") {
		return "-" + digits
	}
	return digits
}

// plural counts something: "1 account", "3 accounts", "2 entries".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if stem, ok := strings.CutSuffix(one, "ry"); ok {
		return strconv.Itoa(n) + " " + stem + "ries"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// kindName is what people call a kind of credential.
func kindName(k auth.Kind) string {
	switch k {
	case auth.APIKey:
		return "API key"
	case auth.Basic:
		return "User ID and password"
	case auth.Login:
		return "Username and password"
	case auth.OAuth:
		return "OAuth client"
	}
	return string(k)
}

// reasonName says a reason with spaces.
func reasonName(r auth.Reason) string { return strings.ReplaceAll(string(r), "_", " ") }

// beside puts what a template needs beside its frame into one value: {{template "x" (beside . "Field" .Form.Text …)}}.
func beside(frame any, pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("beside: %d values are no pairs", len(pairs))
	}
	all := map[string]any{"Frame": frame}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("beside: %v is no name", pairs[i])
		}
		all[name] = pairs[i+1]
	}
	return all, nil
}
