package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A page is one file of documentation, taken apart.
type page struct {
	name   string // "docs/operate.md"
	blocks []block
	prose  []line // what is in no block
}

type line struct {
	number int
	text   string
}

// A block is code that stands by itself, between fences or indented.
type block struct {
	line  int      // of its first line of code
	lang  string   // "sh"; "" where it is indented
	words []string // what stands behind it: "sqlite3"
	text  string
}

// pages reads README.md and every page of this folder.
func pages(t *testing.T) []page {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) < 5 {
		t.Fatalf("%d pages, %v", len(names), err)
	}
	var all []page
	for _, name := range append(names, "../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(t, filepath.ToSlash(filepath.Join("docs", name)), string(text)))
	}
	return all
}

func parse(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name}
	var open *block
	blank := true
	for i, s := range strings.Split(text, "\n") {
		switch {
		case open != nil && open.lang != "" && strings.HasPrefix(s, "```"):
			p.blocks, open = append(p.blocks, *open), nil
		case open != nil && open.lang != "":
			open.text += s + "\n"
		case open != nil && (strings.HasPrefix(s, "    ") || s == ""):
			open.text += strings.TrimPrefix(s, "    ") + "\n"
		case strings.HasPrefix(s, "```"):
			if open != nil {
				p.blocks = append(p.blocks, *open)
			}
			words := strings.Fields(strings.TrimPrefix(s, "```"))
			if len(words) == 0 {
				t.Fatalf("%s:%d: a block that does not say what it is: sh is run, text is not", name, i+1)
			}
			open = &block{line: i + 2, lang: words[0], words: words[1:]}
		case blank && strings.HasPrefix(s, "    "):
			open = &block{line: i + 1, text: strings.TrimPrefix(s, "    ") + "\n"}
		default:
			if open != nil {
				p.blocks, open = append(p.blocks, *open), nil
			}
			p.prose = append(p.prose, line{i + 1, s})
		}
		blank = s == ""
	}
	if open != nil && open.lang != "" {
		t.Fatalf("%s:%d: a block without an end", name, open.line)
	}
	if open != nil {
		p.blocks = append(p.blocks, *open)
	}
	return p
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// spans calls f for every piece of code within the prose. One that goes over a line's end is one.
func (p page) spans(f func(number int, code string)) {
	for i := 0; i < len(p.prose); i++ {
		number, text := p.prose[i].number, p.prose[i].text
		for strings.Count(text, "`")%2 == 1 && i+1 < len(p.prose) && p.prose[i+1].number == p.prose[i].number+1 {
			i++
			text += " " + strings.TrimLeft(p.prose[i].text, " ")
		}
		for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
			f(number, m[1])
		}
	}
}

// table returns the rows under the heading, without what stands over them: of each its cells.
func (p page) table(t *testing.T, heading string) [][]string {
	t.Helper()
	var rows [][]string
	within := false
	for _, l := range p.prose {
		if strings.HasPrefix(l.text, "#") {
			within = strings.TrimLeft(l.text, "# ") == heading
		}
		if within && strings.HasPrefix(l.text, "|") {
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(l.text, "|"), "|") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) < 3 {
		t.Fatalf("%s has no table under %q", p.name, heading)
	}
	return rows[2:]
}

// named is what stands as code in a cell.
func named(cell string) []string {
	var all []string
	for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

func pageCalled(t *testing.T, name string) page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no page %s", name)
	return page{}
}
