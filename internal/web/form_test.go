package web

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sent is what was sent, by name.
func (f Form) sent() map[string]string {
	all := make(map[string]string)
	for _, p := range f.parameters {
		if p.value != "" {
			all[p.name] = p.value
		}
	}
	return all
}

func TestForms(t *testing.T) {
	for body, want := range map[string]map[string]string{
		"":                                {},
		"a=1":                             {"a": "1"},
		"a=1&b=2&c":                       {"a": "1", "b": "2"},
		"a=":                              {},
		"a=b=c":                           {"a": "b=c"},
		"a=1+2%20%2B&%C3%A9=%f0%9f%94%91": {"a": "1 2 +", "é": "🔑"},
		"a=!$'()*,-./:;?@[]^_`{|}~\"<>\\": {"a": "!$'()*,-./:;?@[]^_`{|}~\"<>\\"},
		"A=1&a=2":                         {"A": "1", "a": "2"},
	} {
		got, ok := parseForm(body)
		if !ok {
			t.Errorf("parseForm(%q) is refused", body)
		} else if diff := cmp.Diff(want, got.sent()); diff != "" {
			t.Errorf("parseForm(%q) (-want +got)\n%s", body, diff)
		}
	}
}

// What is taken is read as url.ParseQuery reads it, and survives being written again.
func FuzzForm(f *testing.F) {
	f.Add("grant_type=client_credentials&scope=a+b%2Fc")
	f.Add("a=%ff&a&=")
	f.Fuzz(func(t *testing.T, body string) {
		form, ok := parseForm(body)
		if !ok {
			return
		}
		values := url.Values{}
		for name, value := range form.sent() {
			values.Set(name, value)
		}
		if again, ok := parseForm(values.Encode()); !ok || !cmp.Equal(form.sent(), again.sent()) {
			t.Fatalf("%q: %v, then %v", body, form, again)
		}
		other, err := url.ParseQuery(body)
		if err != nil {
			return // a semicolon, which separates nothing here
		}
		for name, all := range other {
			if len(all) != 1 || form.Get(name) != all[0] {
				t.Fatalf("%q: %s is %q here and %q there", body, name, form.Get(name), all)
			}
		}
	})
}

// Of what stands for itself in a form, at each place of texts of many lengths, no byte that does not is passed over, and none that
// does is held up.
func TestWhatStandsForItself(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte("~"), length)
				for i := range at {
					b[i] = '!'
				}
				b[at] = byte(c)
				want := c > ' ' && c <= '~' && c != '%' && c != '+'
				if got := standsForItself(string(b)); got != want {
					t.Fatalf("%q: got %v, want %v", b, got, want)
				}
			}
		}
	}
}

func BenchmarkForm(b *testing.B) {
	body := "token=" + strings.Repeat("eyJhbGciOiJFZERTQSJ9-_.", 26) + "&token_type_hint=access_token"
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseForm(body); !ok {
			b.Fatal("refused")
		}
	}
}
