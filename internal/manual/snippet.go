package manual

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

// languages are those of the snippets, as they are chosen from.
var languages = []struct{ name, shown string }{
	{"curl", "curl"}, {"go", "Go"}, {"ts", "TypeScript"}, {"php", "PHP"}, {"python", "Python"},
}

// mostEnvironments is how many deployments a snippet can be switched between.
const mostEnvironments = 8

// A snippet is the same in several languages: the code of each, "" where there is none.
type snippet map[string]string

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```\n")

// split takes the snippets out of a page's source: fenced blocks in the snippets' languages, of which those that stand one
// after the other are one. In their place stands a mark. Other blocks stay.
func split(source string) (prose string, all []snippet) {
	var b strings.Builder
	at := 0
	open := false // the last block was one, and only white space has come since
	for _, found := range fence.FindAllStringSubmatchIndex(source, -1) {
		language, code := source[found[2]:found[3]], source[found[4]:found[5]]
		between := source[at:found[0]]
		if !isLanguage(language) {
			b.WriteString(source[at:found[1]])
			at, open = found[1], false
			continue
		}
		if !open || strings.TrimSpace(between) != "" || all[len(all)-1][language] != "" {
			b.WriteString(between)
			b.WriteString("\n" + markOf(len(all)) + "\n")
			all = append(all, snippet{})
		}
		all[len(all)-1][language] = code
		at, open = found[1], true
	}
	b.WriteString(source[at:])
	return b.String(), all
}

// markOf stands where a snippet was.
func markOf(i int) string { return fmt.Sprintf("SNIPPET%dSTANDSHERE", i) }

func isLanguage(name string) bool {
	for _, l := range languages {
		if l.name == name {
			return true
		}
	}
	return false
}

// snippet is the HTML of a snippet: the code in every language for every environment, of which the style sheet shows the one
// that is chosen. It needs no script.
func (m *Manual) snippet(p page, number int, s snippet) (string, error) {
	var b, code strings.Builder
	b.WriteString(`<div class="snippet">`)
	choice := func(legend, group, class string, shown []string) {
		fmt.Fprintf(&b, `<fieldset class="choice"><legend>%s</legend>`, legend)
		for i, name := range shown {
			if name == "" {
				continue
			}
			checked := ""
			if i == 0 {
				checked = " checked"
			}
			fmt.Fprintf(&b, `<label><input type="radio" name="%s%d" class="%s%d"%s> <span>%s</span></label>`, group, number, class, i, checked, html.EscapeString(name))
		}
		b.WriteString("</fieldset>")
	}
	var shown []string
	for _, l := range languages {
		if s[l.name] == "" {
			shown = append(shown, "")
			continue
		}
		shown = append(shown, l.shown)
	}
	choice("Language", "l", "pl", shown)
	if len(m.config.Environments) > 1 {
		var names []string
		for _, e := range m.config.Environments {
			names = append(names, e.Name)
		}
		choice("Environment", "e", "pe", names)
	}
	for i, l := range languages {
		if s[l.name] == "" {
			continue
		}
		for j, e := range m.config.Environments {
			text, err := m.fill(p, s[l.name], e)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&code, `<pre class="l%d e%d" tabindex="0"><code>%s</code></pre>`, i, j, html.EscapeString(text))
		}
	}
	b.WriteString(code.String())
	b.WriteString("</div>")
	return b.String(), nil
}

// choices is the part of the style sheet that shows what is chosen.
func choices(environments int) string {
	var b strings.Builder
	b.WriteString("\n")
	for i := range languages {
		if environments == 1 {
			fmt.Fprintf(&b, ".snippet:has(.pl%d:checked) .l%d { display: block; }\n", i, i)
			continue
		}
		for j := range environments {
			fmt.Fprintf(&b, ".snippet:has(.pl%d:checked):has(.pe%d:checked) .l%d.e%d { display: block; }\n", i, j, i, j)
		}
	}
	return b.String()
}
