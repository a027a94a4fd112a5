package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// startDemo starts the real program and returns what it printed once it is up. stop ends it as Ctrl-C does.
func startDemo(t *testing.T, args ...string) (printed string, stop func()) {
	t.Helper()
	out, errors := new(beside.Said), new(beside.Said)
	cmd := exec.Command("gatehouse", append([]string{"demo"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, errors
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cmd.Process.Signal(syscall.SIGINT)
			if err := <-ended; err != nil || errors.String() != "" {
				t.Errorf("the demo ended with %v and said %q", err, errors)
			}
		})
	}
	t.Cleanup(stop)
	if !eventually(func() bool { return strings.Contains(out.String(), "doctor\n") }) {
		t.Fatalf("the demo is not up; it printed:\n%s%s", out, errors)
	}
	t.Logf("up after %v", time.Since(began).Round(time.Millisecond))
	return out.String(), stop
}

// Every line that the demo prints goes into sh as it stands, one after the other, and does what its chapter says.
func TestTheLinesOfTheDemoWork(t *testing.T) {
	beside.Need(t, "sh", "dash")
	beside.Need(t, "curl", "curl")
	beside.Need(t, "sed", "sed")
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("no_proxy", "*")
	printed, stop := startDemo(t, "--listen", "127.0.0.1:0")
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "gatehouse-demo-*")); len(left) != 1 {
		t.Errorf("the data of the demo lies in %v", left)
	}

	var script strings.Builder
	var lines []string
	for line := range strings.Lines(printed) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			command = strings.TrimSuffix(command, "\n")
			lines = append(lines, command)
			// A line is over with its last word: its status and what it printed are told apart by this.
			script.WriteString(command + "\nprintf '\\n@@@ %d\\n' $?\n")
		}
	}
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sh: %v\n%s", err, out)
	}
	results := strings.Split(strings.TrimSpace(string(out)), "@@@ ")
	if len(results) != len(lines)+1 {
		t.Fatalf("%d lines gave %d results:\n%s", len(lines), len(results)-1, out)
	}
	// What some lines must show, by what is in them, in their order.
	expected := []struct{ line, shows string }{
		{"/api/whoami", `"X-Auth-Type": "ACCESS_TOKEN"`},
		{"/api/cart/update", `"auth":{"token":"`},
		{"/api/orders/7", `"account": "100001"`},
		{"/api/v1/products", "Envelopes"},
		{"/api/v1/categories", "Paper"},
		{"/api/v1/products", "Envelopes"},
		{"/auth/logout", "Successfully logged out"},
		{"curl -sSi", "HTTP/1.1 401 Unauthorized"},
		{"explain", "token_revoked"},
		{"$ORDERS", "Authentication required"},
		{"account show", "Sample Customer"},
		{"credential list", "api-key"},
		{"refusal list", "token_wrong_type"},
		{"token inspect", "It would be accepted now"},
		{"doctor", "running, and ready by"},
	}
	for i, line := range lines {
		shown, status := strings.TrimSpace(results[i]), strings.Fields(results[i+1])[0]
		if i > 0 {
			_, shown, _ = strings.Cut(shown, "\n")
		}
		if status != "0" {
			t.Errorf("%s\nended with status %s and printed:\n%s", line, status, shown)
		}
		if len(expected) > 0 && strings.Contains(line, expected[0].line) {
			if !strings.Contains(shown, expected[0].shows) {
				t.Errorf("%s\nprinted, without %q:\n%s", line, expected[0].shows, shown)
			}
			expected = expected[1:]
		}
		if assigns := strings.Contains(strings.SplitN(line, " ", 2)[0], "=$("); assigns && strings.TrimSpace(shown) != "" {
			t.Errorf("%s\nprinted:\n%s", line, shown)
		}
	}
	if len(expected) > 0 {
		t.Errorf("no line was about %v", expected)
	}

	stop()
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "gatehouse-demo-*")); len(left) != 0 {
		t.Errorf("the demo left behind %v", left)
	}
}

// What is kept is an installation like any other.
func TestADemoCanBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "its own folder")
	printed, stop := startDemo(t, "--listen", "127.0.0.1:0", "--keep", dir)
	if !strings.Contains(printed, "kept when the demo ends") {
		t.Errorf("it printed:\n%s", printed)
	}
	stop()
	got := gatehouse(t, nil, "account", "list", "--config", filepath.Join(dir, "gatehouse.yaml"))
	if got.status != done || !strings.Contains(got.out, "Sample Customer") {
		t.Errorf("got %+v", got)
	}
}
