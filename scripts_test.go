package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A run of the fuzzer that fails for its clock alone is made once more; whatever was found fails at once, and so does a clock that
// runs out twice.
func TestFuzzRunsOutOfTime(t *testing.T) {
	const (
		late  = "--- FAIL: FuzzReader (4.02s)\n    context deadline exceeded\nFAIL\n"
		found = "--- FAIL: FuzzReader (0.10s)\n    --- FAIL: FuzzReader (0.00s)\n        reader_test.go:12: context deadline exceeded\n\n    Failing input written to testdata/fuzz/FuzzReader/1\n"
		hung  = "--- FAIL: FuzzReader (4.02s)\n    context deadline exceeded\npanic: test timed out\n"
		fine  = "ok  \texample.com/reader\t3.1s\n"
	)
	for _, run := range []struct {
		name string
		said []string // by go test, one run after the other; all but fine fail
		runs int
		ok   bool
	}{
		{"fine", []string{fine}, 1, true},
		{"late once", []string{late, fine}, 2, true},
		{"late twice", []string{late, late}, 2, false},
		{"found", []string{found, fine}, 1, false},
		{"late, then found", []string{late, found}, 2, false},
		{"hung", []string{hung, fine}, 1, false},
		{"does not build", []string{"FAIL\texample.com/reader [build failed]\n"}, 0, false},
	} {
		t.Run(run.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, said := range run.said {
				write(t, filepath.Join(dir, "said."+string(rune('1'+i))), said)
			}
			// A go that knows one package with one target, and makes of it a test that says what was laid down for it.
			write(t, filepath.Join(dir, "reader_test.go"), "func FuzzReader(f *testing.F) {\n")
			write(t, filepath.Join(dir, "test"), `#!/bin/sh
echo run >>"$RUNS/runs"
said="$RUNS/said.$(wc -l <"$RUNS/runs" | tr -d ' ')"
cat "$said"
! grep -q FAIL "$said"
`)
			write(t, filepath.Join(dir, "go"), `#!/bin/sh
case "$1" in
env) echo "$RUNS" ;;
list) echo example.com/reader "$RUNS" ;;
test)
	while [ "$1" != -o ]; do shift; done
	if grep -q 'build failed' "$RUNS/said.1"; then
		cat "$RUNS/said.1"
		exit 1
	fi
	cp "$RUNS/test" "$2" ;;
esac
`)
			cmd := exec.CommandContext(t.Context(), "scripts/fuzz", "3s")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "RUNS="+dir)
			out, err := cmd.CombinedOutput()
			if ok := err == nil; ok != run.ok {
				t.Errorf("passed: %v, want %v\n%s", ok, run.ok, out)
			}
			counted, err := os.ReadFile(filepath.Join(dir, "runs"))
			if err != nil && run.runs > 0 {
				t.Fatal(err)
			}
			if runs := strings.Count(string(counted), "run"); runs != run.runs {
				t.Errorf("%d runs, want %d\n%s", runs, run.runs, out)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}
