package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
)

// surroundings are what a program is given by whoever starts it.
type surroundings struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

// A shell is what a command works with.
type shell struct {
	ctx     context.Context // of this one command
	stdin   io.Reader
	out     *output // data
	stderr  io.Writer
	environ []string
	global  global
}

func newShell(ctx context.Context, s surroundings) *shell {
	return &shell{ctx: ctx, stdin: s.stdin, out: &output{Writer: s.stdout}, stderr: s.stderr, environ: s.environ}
}

// config loads the configuration, with flags that stand for its keys.
func (sh *shell) config(flags map[string]string) (*config.Config, error) {
	if sh.global.Server != "" {
		return nil, usage("this works on the database itself, so run it where that is, without --server")
	}
	all := map[string]string{}
	if sh.global.DataDir != "" {
		all["data_dir"] = sh.global.DataDir
	}
	for key, value := range flags {
		if value != "" {
			all[key] = value
		}
	}
	return config.Load(config.Options{Path: sh.global.Config, Environ: sh.environ, Flags: all})
}

// open opens the database for a command that changes nothing.
func (sh *shell) open() (*server.Opened, error) {
	c, err := sh.config(nil)
	if err != nil {
		return nil, err
	}
	return server.Open(sh.ctx, c, server.OpenOptions{Unheard: func(err error) { sh.note("note: %v; this is what the database has", err) }})
}

// change opens the database for a command that changes something, and names it, for there may be more than one on a machine.
func (sh *shell) change() (*server.Opened, error) {
	op, err := sh.open()
	if err == nil {
		sh.note("database: %s", op.DB.Path())
	}
	return op, err
}

// note tells something that belongs to no data.
func (sh *shell) note(format string, args ...any) {
	fmt.Fprintf(sh.stderr, "%s\n", clean(fmt.Sprintf(format, args...)))
}

// actor is who the audit trail names.
func actor() auth.Actor {
	name := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name += ", sudo by " + strings.Map(printable, by)
	}
	return auth.Actor{Name: "command line (user " + name + ")", Role: auth.RoleOwner, Machine: true}
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// account finds the account that an argument names.
func (sh *shell) account(o *visit, id accountID) (auth.AccountID, error) {
	a, err := o.Account(sh.ctx, string(id))
	return auth.AccountID(a.ID), err
}

// accountIfAny is [shell.account] where an argument names one, and else 0.
func (sh *shell) accountIfAny(o *visit, id accountID) (auth.AccountID, error) {
	if id == "" {
		return 0, nil
	}
	return sh.account(o, id)
}

// json prints v on one line.
func (sh *shell) json(v any) error {
	e := json.NewEncoder(sh.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows in columns, the first of them the heading.
func (sh *shell) table(rows [][]string) error {
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if cell = clean(cell); cell == "" {
				cell = "-"
			}
			if i > 0 {
				cell = "\t" + cell
			}
			if _, err := io.WriteString(w, cell); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// showList prints a list: for programs as it is, and else a row of each under the heading, or that there are none.
func showList[T any](sh *shell, all []T, forProgram bool, none string, heading []string, row func(T) []string) error {
	if forProgram {
		return sh.json(all)
	}
	if len(all) == 0 {
		sh.note("%s", none)
		return nil
	}
	rows := [][]string{heading}
	for _, one := range all {
		rows = append(rows, row(one))
	}
	return sh.table(rows)
}

// facts prints names and values, one a line; those without a value are left out.
func (sh *shell) facts(pairs ...string) error {
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", pairs[i], clean(pairs[i+1])); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printf prints data for a person.
func (sh *shell) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(sh.out, format, args...)
	return err
}

// mostRead is how much of standard input is looked at: a token has at most 4 KiB.
const mostRead = 64 << 10

// read reads what must not be an argument from standard input, without the white space around it. At a terminal it asks, and
// shows nothing of what is typed or pasted.
func (sh *shell) read(what string) (string, error) {
	var text []byte
	var err error
	if terminal, ok := sh.terminal(); ok {
		text, err = terminal.hidden(sh.stderr, what+", then Enter: ")
	} else {
		text, err = io.ReadAll(io.LimitReader(sh.stdin, mostRead+1))
	}
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	s := strings.TrimSpace(string(text))
	switch {
	case len(text) > mostRead:
		return "", fmt.Errorf("standard input holds more than %d bytes: it should be %s and nothing else", mostRead, what)
	case s == "":
		return "", fmt.Errorf("standard input is empty: it should be %s", what)
	}
	return s, nil
}

// confirm asks at a terminal, and answers yes only if somebody types it. Without a terminal it is an error: how to do
// without the question.
func (sh *shell) confirm(question, instead string) error {
	if _, ok := sh.terminal(); !ok {
		return usage("this cannot be undone, and there is no terminal to ask at: say %s", instead)
	}
	fmt.Fprintf(sh.stderr, "%s Type yes to do it: ", clean(question))
	line, err := bufio.NewReader(io.LimitReader(sh.stdin, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed: the answer was not yes")
	}
	return nil
}

// utc is a time as JSON has it: RFC 3339 in UTC, whole seconds.
type utc time.Time

// IsZero is for omitzero.
func (t utc) IsZero() bool { return time.Time(t).IsZero() }

// MarshalText implements encoding.TextMarshaler.
func (t utc) MarshalText() ([]byte, error) { return []byte(stamp(time.Time(t))), nil }

// stamp is a time as it is printed; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// or is s, or what stands for nothing.
func or(s, nothing string) string {
	if s == "" {
		return nothing
	}
	return s
}
