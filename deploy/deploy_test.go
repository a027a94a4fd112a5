package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/goccy/go-yaml"
)

// needs skips a test where a program is missing, and fails it in CI, where none may be.
func needs(t *testing.T, program, from string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no %s here; install it with: sudo apt-get install %s", program, from)
	}
}

// run runs a program to its end and returns what it said, on both outputs. Any other exit status than 0 fails the test.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
	return said.String()
}

// read reads of a YAML file what v has a place for.
func read(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
