package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A terminal is standard input where a person sits at it.
type terminal struct{ file *os.File }

// terminal returns the terminal, if standard input is one.
func (sh *shell) terminal() (terminal, bool) {
	f, ok := sh.stdin.(*os.File)
	if !ok {
		return terminal{}, false
	}
	return terminal{f}, isTerminal(f)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// screen is standard error where a person sits at it; nil where what is written there is kept.
func (sh *shell) screen() io.Writer {
	if f, ok := sh.stderr.(*os.File); ok && isTerminal(f) {
		return f
	}
	return nil
}

// hidden asks for a line and does not show it while it is typed.
func (t terminal) hidden(prompt io.Writer, question string) ([]byte, error) {
	fd := int(t.file.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	// Not line by line as usual: a terminal's own line has at most 4096 letters, which is less than a long token.
	silent.Lflag &^= unix.ICANON
	silent.Cc[unix.VMIN], silent.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setTermios, &silent); err != nil {
		return nil, err
	}
	defer func() {
		_ = unix.IoctlSetTermios(fd, setTermios, before)
		fmt.Fprintln(prompt)
	}()
	fmt.Fprint(prompt, question)
	line, err := bufio.NewReader(io.LimitReader(t.file, mostRead+2)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}
