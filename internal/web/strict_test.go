package web_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/web"
)

// What is not known is refused at every depth, but for what reads its JSON by itself.
func TestStrictKnowsEveryMember(t *testing.T) {
	type entry struct {
		CIDR string    `json:"cidr"`
		Ends time.Time `json:"ends"`
	}
	type body struct {
		Name    *string         `json:"name"`
		Entries *[]entry        `json:"entries"`
		One     entry           `json:"one"`
		Keys    json.RawMessage `json:"keys"`
	}
	for text, want := range map[string]string{
		`{}`: "",
		`{"name":"n","entries":[{"cidr":"c","ends":"2027-01-31T10:00:00Z"},{}],"one":{"cidr":"c"},"keys":{"a":[{"b":1e999}]}}`: "",
		`{"name":null,"entries":null}`:          "",
		`{"entries":[{"cidr":"c"},{"note":1}]}`: `not known here: "note"`,
		`{"entries":[{"CIDR":"c"}]}`:            `not known here: "CIDR"`,
		`{"one":{"cidr":"c","x":{}}}`:           `not known here: "x"`,
		`{"Name":"n"}`:                          `not known here: "Name"`,
		`{"entries":{"x":1}}`:                   "entries is not of the type",
		`{"entries":[{"cidr":7}]}`:              "entries.cidr is not of the type",
		`{"name":{"x":1}}`:                      "name is not of the type",
	} {
		var b body
		err := web.Strict(text, &b)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
