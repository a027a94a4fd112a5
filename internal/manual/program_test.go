package manual

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What somebody is given to start with is what stands on the page of the contract, and reads the variables that it says.
func TestPrograms(t *testing.T) {
	c := config(auth.Contracts...)
	all, err := Programs(c)
	if err != nil {
		t.Fatal(err)
	}
	m := newManual(t, c)
	for i, kind := range auth.Kinds {
		p := all[kind]
		var shown []string
		for _, s := range p.Samples {
			shown = append(shown, s.Language)
			if md := m.text(t, "/docs/"+programs[i].page+".md"); !strings.Contains(md, s.Code) {
				t.Errorf("%s in %s is not what stands on its page:\n%s", kind, s.Language, s.Code)
			}
			read := []string{p.Identifier, p.Secret}
			if s.Language != "curl" {
				read = append(read, PathVariable)
			}
			for _, name := range read {
				if !strings.Contains(s.Code, name) {
					t.Errorf("%s in %s does not read %s:\n%s", kind, s.Language, name, s.Code)
				}
			}
			if !strings.Contains(s.Code, c.PublicURL+"/") && !strings.Contains(s.Code, c.PublicURL+`"`) && !strings.Contains(s.Code, c.PublicURL+"'") {
				t.Errorf("%s in %s is for another server:\n%s", kind, s.Language, s.Code)
			}
		}
		if want := []string{"curl", "Go", "TypeScript", "PHP", "Python"}; !slices.Equal(shown, want) {
			t.Errorf("%s: there are %v, want %v", kind, shown, want)
		}
	}
	if some, err := Programs(config(auth.B2B)); err != nil || len(some) != 1 || len(some[auth.Login].Samples) == 0 {
		t.Errorf("of a server that speaks one contract: %v, %v", some, err)
	}
}
