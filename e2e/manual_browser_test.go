package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// screenshotsTo is a folder that a picture of every page goes to, if it is set.
const screenshotsTo = "GATEHOUSE_SCREENSHOTS"

// The pages for customers in Chromium, as they are read on a desk and on a telephone, by day and by night: nothing is wider than
// the window, comes from elsewhere, or is stopped by their policies; and what can be chosen can be chosen without a mouse.
func TestManualInBrowser(t *testing.T) {
	const here = "https://things.example.com"
	s := startServer(t, `
public_url: `+here+`
docs: {title: Things API, environments: ["Staging=https://staging.example.com", "Production=`+here+`"]}
`)
	b := startBrowser(t, s.Listen, "")
	w := watch(b)
	b.open(s.URL + "/docs")
	var pages []string
	b.reads(&pages, `[...document.querySelectorAll('nav a')].map(a => a.href)`)
	if len(pages) < 14 {
		t.Fatalf("the pages: %v", pages)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			b.looksLike(scheme, width)
			for _, page := range pages {
				name := fmt.Sprintf("%s-%s-%d", page[strings.LastIndexByte(page, '/')+1:], scheme, width)
				b.open(page)
				if strings.HasSuffix(page, "/reference") {
					b.operations(s)
				}
				b.fits(name)
				if width > 1000 { // the colours of a telephone are the same
					b.readable(name)
				}
				b.picture(name)
			}
		}
	}
	b.looksLike("light", 1280)
	b.open(s.URL + "/docs/login")
	b.chooses(s.URL, here)
	w.check(s.URL)
}

// A watcher hears what a browser asks for, and what it complains of.
type watcher struct {
	t     *testing.T
	mu    sync.Mutex
	asked []string
	wrong []string

	refusals bool // it was led to pages that say no, of which Chromium tells
}

func watch(b *browser) *watcher {
	b.t.Helper()
	w := &watcher{t: b.t}
	err := chromedp.Listen(b.ctx, func(event any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			w.asked = append(w.asked, e.Request.URL)
		case *log.EventEntryAdded: // a policy that was broken is one
			w.wrong = append(w.wrong, e.Entry.Text+" "+e.Entry.URL)
		case *runtime.EventExceptionThrown:
			w.wrong = append(w.wrong, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				w.wrong = append(w.wrong, fmt.Sprint(e.Type, e.Args))
			}
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// check wants that all it asked for was of one server, and that it had nothing to complain of.
func (w *watcher) check(server string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.asked, server+"/docs/login") {
		w.t.Errorf("nobody heard what was asked for: %v", w.asked)
	}
	for _, url := range w.asked {
		if !strings.HasPrefix(url, server+"/") && !strings.HasPrefix(url, "data:") {
			w.t.Errorf("a page asked for %s", url)
		}
	}
	slices.Sort(w.wrong)
	for _, complaint := range slices.Compact(w.wrong) {
		w.t.Error(complaint)
	}
}

// steps does something with the page.
func (b *browser) steps(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// reads evaluates an expression in the page.
func (b *browser) reads(value any, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("JSON.stringify("+expression+")"))
	if err != nil && strings.Contains(err.Error(), "target navigated") { // away from the page that was asked: the next one is
		text, err = chromedp.Run(ctx, chromedp.Evaluate[string]("JSON.stringify("+expression+")"))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	if err := json.Unmarshal([]byte(text), value); err != nil {
		b.t.Fatalf("%s: %v: %s", expression, err, text)
	}
}

// looksLike makes the window as wide, and the system of a scheme of colours.
func (b *browser) looksLike(scheme string, width int64) {
	b.t.Helper()
	b.steps(chromedp.EmulateViewport(width, 800), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// fits wants a page to be no wider than its window, and its scheme of colours to be the system's.
func (b *browser) fits(name string) {
	b.t.Helper()
	var got struct {
		Width, Window int
		Paper         string
	}
	b.reads(&got, `{width: document.documentElement.scrollWidth, window: innerWidth, paper: getComputedStyle(document.body).backgroundColor}`)
	if got.Width > got.Window {
		b.t.Errorf("%s is %d wide in a window of %d", name, got.Width, got.Window)
	}
	if dark := got.Paper != "rgb(255, 255, 255)"; dark != strings.Contains(name, "-dark-") {
		b.t.Errorf("%s has the background %s", name, got.Paper)
	}
}

// picture keeps what a page looks like, if somebody wants to know.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(screenshotsTo)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// operations waits for the reference to be drawn, and wants it to have those of the document; it opens the first.
func (b *browser) operations(s *server) {
	b.t.Helper()
	var document struct {
		Paths map[string]map[string]any
	}
	c := customer{t: b.t, server: s}
	if err := yaml.Unmarshal([]byte(c.get("/openapi.yaml")), &document); err != nil {
		b.t.Fatal(err)
	}
	var want, got []string
	for path, methods := range document.Paths {
		for method := range methods {
			if method != "parameters" && method != "summary" && method != "description" {
				want = append(want, strings.ToUpper(method)+" "+path)
			}
		}
	}
	b.steps(chromedp.WaitVisible(chromedp.CSS(".opblock-summary-path")))
	b.reads(&got, `[...document.querySelectorAll('.opblock')].map(o =>
		o.querySelector('.opblock-summary-method').textContent + ' ' + o.querySelector('.opblock-summary-path').dataset.path)`)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
		b.t.Errorf("the operations of the reference (-want +got):\n%s", diff)
	}
	// One of each kind, and some of what they are made of.
	for _, open := range []string{"[id$=-exchangeKey] .opblock-summary-control", "[id$=-oauthToken] .opblock-summary-control", ".models .json-schema-2020-12-accordion"} {
		var opened int
		if b.reads(&opened, `[...document.querySelectorAll('`+open+`')].slice(0, 5).map(e => e.click()).length`); opened == 0 {
			b.t.Errorf("the reference has no %s", open)
		}
	}
	b.steps(chromedp.WaitVisible(chromedp.CSS("[id$=-exchangeKey] .responses-table")), chromedp.WaitVisible(chromedp.CSS("[id$=-oauthToken] .responses-table")))
}

// readable wants all text of a page to stand out from what is behind it (WCAG 2.2, success criterion 1.4.3).
func (b *browser) readable(name string) {
	b.t.Helper()
	var faint []string
	b.reads(&faint, `(() => {
		const parts = (s) => { const [r, g, b, a = 1] = s.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
		const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
		const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
		const found = new Map();
		const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; (n = texts.nextNode()); ) {
			const e = n.parentElement;
			if (!n.data.trim() || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || e.closest('option, script, style')) continue;
			const style = getComputedStyle(e);
			const behind = [];
			let opacity = 1;
			for (let at = e; at; at = at.parentElement) {
				behind.unshift(parts(getComputedStyle(at).backgroundColor));
				opacity *= Number(getComputedStyle(at).opacity);
			}
			const paper = behind.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
			const ink = parts(style.color);
			ink[3] *= opacity;
			const [a, b] = [light(paper), light(over(ink, paper))];
			const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			const size = parseFloat(style.fontSize);
			const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
			if (contrast < least) {
				const where = e.tagName.toLowerCase() + '.' + [...e.classList].join('.') + ' in .' + (e.parentElement?.className ?? '');
				found.set(where, where + ': ' + contrast.toFixed(2) + ' of ' + JSON.stringify(n.data.trim().slice(0, 30)) + ' ' + style.color + ' on ' + paper.slice(0, 3).map(Math.round));
			}
		}
		return [...found.values()];
	})()`)
	for _, text := range faint {
		b.t.Errorf("%s: the contrast of %s", name, text)
	}
}

// chooses switches the language and the environment of the first snippet.
func (b *browser) chooses(server, here string) {
	b.t.Helper()
	shows := func(doing string, want ...string) {
		b.t.Helper()
		var shown []string
		b.reads(&shown, `[...document.querySelectorAll('.snippet:first-of-type pre')].filter(p => p.offsetParent).map(p => p.textContent)`)
		if len(shown) != 1 {
			b.t.Fatalf("%s: %d snippets are shown", doing, len(shown))
		}
		for _, part := range want {
			if !strings.Contains(shown[0], part) {
				b.t.Errorf("%s: %q is not in\n%s", doing, part, shown[0])
			}
		}
	}
	shows("at first", "curl -sS", here)
	b.steps(chromedp.Click(chromedp.CSS(".snippet label:has(.pl4) span")))
	shows("Python, by mouse", "import json", here)
	b.steps(chromedp.Click(chromedp.CSS(".snippet label:has(.pe1) span")))
	shows("another environment, by mouse", "import json", "https://staging.example.com")
	b.open(server + "/docs/login")
	b.steps(chromedp.Focus(chromedp.CSS(".snippet .pl0")), chromedp.KeyEvent(kb.ArrowRight))
	shows("Go, by keyboard", "package main", here)
	b.steps(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.ArrowRight))
	shows("another environment, by keyboard", "package main", "https://staging.example.com")
}
