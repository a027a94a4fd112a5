package manual

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/api"
)

// Every error on the page stands in the document that all answers are held to, and every message there is explained on the page.
func TestTheErrorsAreThoseOfTheDocument(t *testing.T) {
	document := string(api.OpenAPI("https://api.example.com", "X-LIQUID-API-KEY"))
	explained := map[string]bool{}
	for _, f := range families {
		for _, r := range f.Rows {
			explained[r.Message] = true
			if r.Message != "" && !strings.Contains(document, r.Message) {
				t.Errorf("%s: the document knows no %q", f.Title, r.Message)
			}
			if r.Message == "" && !strings.Contains(document, r.Code) {
				t.Errorf("%s: the document knows no %q", f.Title, r.Code)
			}
		}
	}
	found := 0
	for _, m := range regexp.MustCompile(`message: "?([A-Z][A-Za-z0-9 ,.'/-]+?)"?[,}\n]`).FindAllStringSubmatch(document, -1) {
		message := strings.TrimSpace(m[1])
		if found++; !explained[message] && message != "OK" && message != "Successfully logged out" {
			t.Errorf("the page does not explain %q", message)
		}
	}
	if found < 20 {
		t.Error(fmt.Sprint("only ", found, " messages were found in the document"))
	}
}
