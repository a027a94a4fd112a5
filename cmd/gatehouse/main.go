// Command gatehouse is the one binary: the server, and the commands that operators look after it with. Here is how the
// commands are spelled and what they print; what they do a desk answers, on the database through server, or elsewhere through adminclient.
//
// The invariants: no secret is ever taken from the command line, or shown in an error; only serve, demo, migrate up
// and restore make or migrate a database; the exit status is 0 when it was done, 1 when it failed, 2 when it was not understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/gatehouse/gatehouse/internal/auth"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], surroundings{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
	}))
}

// The exit statuses.
const (
	done       = 0
	failed     = 1
	wrongUsage = 2
)

// run runs one command line and returns its exit status.
func run(ctx context.Context, args []string, s surroundings) (status int) {
	sh := newShell(ctx, s)
	var commands commands
	parser, err := newParser(&commands, sh)
	if err != nil {
		return sh.fail(err)
	}
	defer func() { // --help has printed its page, and kong wants to exit
		if code, exiting := recover().(exit); exiting {
			status = sh.finish(int(code))
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return sh.misunderstood(err)
	}
	sh.global = commands.global
	if err := parsed.Run(sh); err != nil {
		return sh.fail(err)
	}
	return sh.finish(done)
}

// exit is what kong's wish to exit travels as.
type exit int

func newParser(c *commands, sh *shell) (*kong.Kong, error) {
	parser, err := kong.New(c,
		kong.Name("gatehouse"),
		kong.Description("Gatehouse turns the long-lived credentials of your API's customers into short-lived tokens, and checks every call in front of the API.\n\n"+
			"Start with \"gatehouse demo\", which needs nothing, or with \"gatehouse serve\"."),
		kong.Writers(sh.out, sh.stderr),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Run it:"},
			{Key: "customers", Title: "Customers and their credentials:"},
			{Key: "people", Title: "Persons who look after it:"},
			{Key: "tokens", Title: "Tokens and keys:"},
			{Key: "why", Title: "What is going on:"},
			{Key: "house", Title: "The installation:"},
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("the commands themselves: %w", err)
	}
	return parser, nil
}

// printHelp is kong's own page, but for an argument that can be a dash and nothing else: that is no name to be replaced.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	to := ctx.Stdout
	var page strings.Builder
	ctx.Stdout = &page
	defer func() { ctx.Stdout = to }()
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	_, err := io.WriteString(to, strings.ReplaceAll(page.String(), "<->", "-"))
	return err
}

// A usageError is a command line that was not understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// misunderstood tells what is wrong with the command line, and where its spelling is explained.
func (sh *shell) misunderstood(err error) int {
	path, leaf := "gatehouse", false
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			path, leaf = node.FullPath(), node.Leaf()
		}
	}
	msg := err.Error()
	// What is one argument too many may be a secret that somebody pasted: it is not repeated.
	if word, unexpected := strings.CutPrefix(msg, "unexpected argument "); unexpected {
		switch {
		case leaf:
			msg = "one argument too many"
		case isCommandWord(word):
			msg = "unknown command " + word
		default:
			msg = "unknown command"
		}
	}
	if names, missing := strings.CutPrefix(msg, "expected one of "); missing {
		msg = "a command is missing: one of " + strings.ReplaceAll(names, `"`, "")
	}
	msg = strings.TrimPrefix(strings.ReplaceAll(msg, `"<->"`, "-, and the rest on standard input"), "<->: ")
	sh.say("%s; see %s --help", msg, path)
	return wrongUsage
}

// isCommandWord says whether a word could be a command, mistyped, with what kong says after it.
func isCommandWord(s string) bool {
	word, _, _ := strings.Cut(s, ",")
	return len(word) <= 24 && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-") == ""
}

// fail tells why a command was not done.
func (sh *shell) fail(err error) int {
	status := failed
	var wrong usageError
	if errors.As(err, &wrong) {
		status = wrongUsage
	}
	// A refusal of a flag's value or an argument is about how the command was written.
	if e := new(auth.Error); errors.As(err, &e) && e.Kind == auth.Invalid && e.Err == nil {
		status = wrongUsage
	}
	for line := range strings.Lines(message(err)) {
		sh.say("%s", strings.TrimSuffix(line, "\n"))
	}
	return status
}

// message is what a person should read of an error.
func message(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines []string
		for _, one := range joined.Unwrap() {
			lines = append(lines, message(one))
		}
		return strings.Join(lines, "\n")
	}
	if e := new(auth.Error); errors.As(err, &e) && e.Err == nil && e.Msg != "" {
		return e.Msg // without the reason, which is for logs
	}
	return err.Error()
}

// finish is the status of a command that did what it should, unless nobody could read what it said.
func (sh *shell) finish(status int) int {
	if sh.out.err != nil && status == done {
		sh.say("what was to be printed could not be written: %v; what the command changed stays changed", sh.out.err)
		return failed
	}
	return status
}

// say writes one line for a person to standard error.
func (sh *shell) say(format string, args ...any) {
	fmt.Fprintf(sh.stderr, "gatehouse: %s\n", clean(auth.Masked(fmt.Sprintf(format, args...))))
}

// clean shows text that others wrote on one line of a terminal, and lets nothing of it command the terminal.
func clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// An output remembers whether writing to it failed.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
