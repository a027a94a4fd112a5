package deploy_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

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

var built struct {
	once sync.Once
	dir  string
	err  error
	said []byte
}

func TestMain(m *testing.M) {
	status := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(status)
}

// program is the server as it is shipped, built once, where every user can run it.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "gatehouse-deploy-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(built.dir, "gatehouse"), "../cmd/gatehouse")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		built.said, built.err = cmd.CombinedOutput()
	})
	if built.err != nil {
		t.Fatalf("build ../cmd/gatehouse: %v\n%s", built.err, built.said)
	}
	return filepath.Join(built.dir, "gatehouse")
}

// waitFor waits until a URL is answered with 200.
func waitFor(t *testing.T, url string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(url); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("nothing is ready at %s", url)
		}
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
