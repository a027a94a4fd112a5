package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// A said is what a command said.
type said struct {
	status      int
	out, errors string
}

// gatehouse runs a command line in this process.
func gatehouse(t *testing.T, environ []string, args ...string) said {
	t.Helper()
	var out, errors bytes.Buffer
	status := run(t.Context(), args, surroundings{stdin: strings.NewReader(""), stdout: &out, stderr: &errors, environ: environ})
	return said{status, out.String(), errors.String()}
}

func TestEveryCommandSaysWhatItIsForAndShowsAnExample(t *testing.T) {
	parser, err := newParser(new(commands), newShell(t.Context(), surroundings{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}))
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(false)
	if len(leaves) < 40 {
		t.Errorf("there are %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		path := leaf.Path()
		if !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("%s: its line is no sentence: %q", path, leaf.Help)
		}
		if !strings.Contains(leaf.Detail, "gatehouse "+path) {
			t.Errorf("%s: its help has no example", path)
		}
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				if f.Help == "" {
					t.Errorf("%s --%s says nothing", path, f.Name)
				}
				if !f.IsBool() && f.PlaceHolder == "" {
					t.Errorf("%s --%s has no placeholder", path, f.Name)
				}
			}
		}
		for _, arg := range leaf.Positional {
			if arg.Help == "" {
				t.Errorf("%s %s says nothing", path, arg.Summary())
			}
		}
		if got := gatehouse(t, nil, append(strings.Fields(path), "--help")...); got.status != done || !strings.Contains(got.out, "Usage: gatehouse "+path) || got.errors != "" {
			t.Errorf("%s --help: status %d, stderr %q\n%s", path, got.status, got.errors, got.out)
		}
	}
}

// A flag that takes a value in one command and none in another would lead completion astray.
func TestFlagsOfOneNameAreOfOneSort(t *testing.T) {
	parser, err := newParser(new(commands), newShell(t.Context(), surroundings{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}))
	if err != nil {
		t.Fatal(err)
	}
	all := places(parser.Model.Node)
	withValue := withValue(all, "")
	for _, p := range all {
		for _, f := range p.flags {
			for _, s := range spellings(f) {
				if takes := slices.Contains(withValue, s); takes == f.IsBool() {
					t.Errorf("%q %s: takes a value elsewhere: %v", p.path, s, takes)
				}
			}
		}
	}
}

// A server that hangs holds the data directory and applies nothing. A command says that it was not confirmed, and is done.
func TestACommandSaysThatTheServerDidNotConfirm(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	environ := []string{"GATEHOUSE_DATA_DIR=" + dir, "GATEHOUSE_REVOCATION_WAIT=50ms"}
	for _, args := range [][]string{{"migrate", "up"}, {"account", "create", "--name", "Acme"}} {
		if got := gatehouse(t, environ, args...); got.status != done {
			t.Fatalf("%v: %+v", args, got)
		}
	}
	if got := gatehouse(t, environ, "account", "suspend", "100001"); got.status != done || strings.Contains(got.errors, "not every running server confirmed") {
		t.Errorf("without a server: %+v", got)
	}

	unlock, err := store.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "gatehouse.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Register(t.Context(), auth.Replica{ID: "hangs", Applied: 1}); err != nil {
		t.Fatal(err)
	}
	got := gatehouse(t, environ, "account", "resume", "100001")
	if got.status != done || !strings.Contains(got.out, "status      active") {
		t.Errorf("got %+v", got)
	}
	want := "not every running server confirmed within 50ms (revocation.wait) that it has applied it"
	if !strings.Contains(got.errors, want) {
		t.Errorf("stderr is %q, want %q in it", got.errors, want)
	}
	if err := db.Register(t.Context(), auth.Replica{ID: "hangs", Applied: 1000}); err != nil {
		t.Fatal(err)
	}
	if got := gatehouse(t, environ, "account", "suspend", "100001"); strings.Contains(got.errors, "not every running server confirmed") {
		t.Errorf("a server that has applied it: %+v", got)
	}
}

// A full disk behind standard output must not pass for success: the secret that was to be shown is lost.
func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var errors bytes.Buffer
	status := run(t.Context(), []string{"master-key", "generate"}, surroundings{stdin: strings.NewReader(""), stdout: full, stderr: &errors})
	if status != failed || !strings.Contains(errors.String(), "no space left") {
		t.Errorf("got status %d and %q", status, &errors)
	}
}

// What others wrote, in a name or a path, must not command the terminal.
func TestNothingCommandsTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"Böhm & <Söhne> 東京":        "Böhm & <Söhne> 東京",
		"red \x1b[31malert\x1b[0m": `red \u001b[31malert\u001b[0m`,
		"a\nb\tc":                  `a\u000ab\u0009c`,
		"right\u202eto left":       `right\u202eto left`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestErrorsDoNotRepeatKeysAndTokens(t *testing.T) {
	key := auth.FormatKey("gk", auth.Live, "abcdefghijkl", strings.Repeat("S", auth.SecretLength))
	for _, args := range [][]string{
		{"credential", "find", key},
		{"credential", "find", "-", key},
		{key},
		{"account", key},
		{"account", "show", key},
		{"credential", "show", key},
		{"explain", key},
		{"account", "list", "--" + key},
	} {
		got := gatehouse(t, []string{"GATEHOUSE_DATA_DIR=" + t.TempDir()}, args...)
		if got.status == done || strings.Contains(got.out+got.errors, strings.Repeat("S", auth.SecretLength)) {
			t.Errorf("%s …: %+v", strings.Join(args[:len(args)-1], " "), got)
		}
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string][2]time.Time{
		"90s":                       {now.Add(90 * time.Second), now.Add(-90 * time.Second)},
		"30d":                       {now.AddDate(0, 0, 30), now.AddDate(0, 0, -30)},
		"now":                       {now, now},
		"0":                         {now, now},
		"never":                     {},
		"2027-01-31":                {time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		"2027-01-31T10:00:00+02:00": {time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC), time.Date(2027, 1, 31, 8, 0, 0, 0, time.UTC)},
	} {
		var m moment
		if err := m.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := [2]time.Time{m.after(now), m.before(now)}; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "tomorrow", "30", "-1d", "1.5h", "2027-13-01", "31.1.2027", "2027-01-31 10:00"} {
		if err := new(moment).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a time", text)
		}
	}
	if unsaid := (moment{}); !unsaid.after(now).IsZero() || !unsaid.before(now).IsZero() {
		t.Error("nothing said is no time")
	}
}

func FuzzMoment(f *testing.F) {
	for _, s := range []string{"30d", "1h30m", "2027-01-31", "2027-01-31T10:00:00Z", "never", "now", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		var m moment
		if m.UnmarshalText([]byte(s)) != nil {
			return
		}
		if after, before := m.after(now), m.before(now); m.date.IsZero() && !m.never && after.Sub(now) != now.Sub(before) {
			t.Errorf("%q is %v from now and %v ago", s, after.Sub(now), now.Sub(before))
		}
	})
}

func FuzzAccountID(f *testing.F) {
	for _, s := range []string{"100001", "ref:C-4711", "ref:", "0", "-1", "0100001", "1e5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var id accountID
		if id.UnmarshalText([]byte(s)) == nil && string(id) != s {
			t.Errorf("%q became %q", s, id)
		}
	})
}
