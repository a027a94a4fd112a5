package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// needNode ends the test where there is no Node.
func needNode(t *testing.T) {
	t.Helper()
	beside.Need(t, "node", "nodejs")
	beside.Need(t, "npm", "npm")
}

// npmCI installs what dir's package-lock.json names, unless that has been done since it was changed.
func npmCI(t *testing.T, dir string) {
	t.Helper()
	locked, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")) // npm leaves it when it is done
	if err == nil && !installed.ModTime().Before(locked.ModTime()) {
		return
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
	}
}

// A nodeProgram is a Node process that does what it is told, a line at a time.
type nodeProgram struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Scanner
	said *beside.Said
}

// startNode runs client.mjs in dir, whose packages must be there.
func startNode(t *testing.T, dir string) *nodeProgram {
	t.Helper()
	s := &nodeProgram{t: t, said: new(beside.Said)}
	cmd := exec.Command("node", "client.mjs")
	cmd.Dir = dir
	cmd.Stderr = s.said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v\n%s", err, s.said.Tail())
		}
	})
	s.in, s.out = in, bufio.NewScanner(out)
	return s
}

// ask has it do something, and returns what came of it, or why nothing did.
func (s *nodeProgram) ask(act ...any) (ok json.RawMessage, refused string) {
	s.t.Helper()
	line, err := json.Marshal(act)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		s.t.Fatal(err)
	}
	if !s.out.Scan() {
		s.t.Fatalf("%v: node said nothing more: %v\n%s", act[0], s.out.Err(), s.said.Tail())
	}
	var answer struct {
		OK    json.RawMessage
		Error string
	}
	if err := json.Unmarshal(s.out.Bytes(), &answer); err != nil {
		s.t.Fatalf("%v: %v: %s", act[0], err, s.out.Bytes())
	}
	return answer.OK, answer.Error
}

// do has it do something that must go well.
func (s *nodeProgram) do(answer any, act ...any) {
	s.t.Helper()
	ok, refused := s.ask(act...)
	if refused != "" {
		s.t.Fatalf("%v: %s\n%s", act[0], refused, s.said.Tail())
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(ok, answer); err != nil {
		s.t.Fatalf("%v: %v: %s", act[0], err, ok)
	}
}

// refused has it do something that must not, and returns why.
func (s *nodeProgram) refused(act ...any) string {
	s.t.Helper()
	ok, refused := s.ask(act...)
	if refused == "" {
		s.t.Errorf("%v: got %s, want a refusal", act[0], ok)
	}
	return refused
}
