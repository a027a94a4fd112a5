package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// The first signal lets what is under way end, however long it takes within the grace; the second does not.
func TestASecondSignalEndsTheServerAtOnce(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-leave
	}))
	defer api.Close()
	defer close(leave)
	listen, admin := beside.FreeAddress(t), beside.FreeAddress(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.yaml")
	text := fmt.Sprintf("listen: %s\nadmin_listen: %s\nshutdown_grace: 10m\nroutes:\n  - {path: /slow, upstream: %q, public: true}\n", listen, admin, api.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(beside.Said)
	cmd := exec.Command("gatehouse", "serve", "--config", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if !eventually(func() bool { return strings.Contains(log.String(), `"msg":"serving"`) }) {
		t.Fatalf("it does not serve: %s", log)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/slow", nil)
		if err != nil {
			return
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-arrived
	cmd.Process.Signal(syscall.SIGTERM)
	if !eventually(func() bool { return strings.Contains(log.String(), `"msg":"stopping"`) }) {
		t.Fatalf("it does not stop: %s", log)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	if got, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !got.Signaled() || got.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, want by the signal", cmd.ProcessState)
	}
}

// Files that root made in a data directory its owner could not write any more.
func TestACommandOfAnotherUserOpensNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	dir := filepath.Join(t.TempDir(), "data")
	environ := []string{"GATEHOUSE_DATA_DIR=" + dir}
	if got := gatehouse(t, environ, "migrate", "up"); got.status != done {
		t.Fatalf("%+v", got)
	}
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"account", "list"}, {"migrate", "status"}, {"migrate", "up"}, {"account", "create", "--name", "Acme"}, {"serve"}} {
		got := gatehouse(t, environ, args...)
		if want := "belongs to user 12345, and this runs as user 0: run it as that user"; got.status != failed || !strings.Contains(got.errors, want) {
			t.Errorf("%v: got %+v, want %q", args, got, want)
		}
	}
	if got := gatehouse(t, environ, "doctor"); got.status != failed || !strings.Contains(got.out, "sudo -u '#12345'") {
		t.Errorf("doctor: %+v", got)
	}
	after, err := os.ReadDir(dir)
	if err != nil || len(after) != len(before) {
		t.Errorf("%d files became %d (%v)", len(before), len(after), err)
	}
}
