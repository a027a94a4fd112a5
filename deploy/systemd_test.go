package deploy_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// mostExposed is the most that systemd may find the unit exposed, in tenths: under 2.0 it says OK.
const mostExposed = 19

func TestTheUnitIsSound(t *testing.T) {
	t.Parallel()
	beside.Need(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("systemd")); err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(dir, "gatehouse.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// verify wants the program and the user to be there.
	text = bytes.ReplaceAll(text, []byte("/usr/local/bin/gatehouse"), []byte(program(t)))
	text = bytes.ReplaceAll(text, []byte("=gatehouse\nGroup=gatehouse"), []byte("=daemon\nGroup=daemon"))
	if err := os.WriteFile(unit, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := run(t, "systemd-analyze", "verify", "--man=no", unit); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold="+strconv.Itoa(mostExposed), unit)
}

// systemCalls are those of a set of systemd's, "@system-service" for one.
func systemCalls(t *testing.T, set string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for line := range strings.Lines(run(t, "systemd-analyze", "syscall-filter", set)) {
		name := strings.TrimSpace(line)
		switch {
		case line == name+"\n" || strings.HasPrefix(name, "#") || name == "":
		case strings.HasPrefix(name, "@"):
			for call := range systemCalls(t, name) {
				all[call] = true
			}
		default:
			all[name] = true
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s names no system call", set)
	}
	return all
}

// What the filter of the unit shuts out, the server never asks for: as another user than root, from its first start to its
// end, under strace.
func TestTheUnitLetsTheServerDoWhatItDoes(t *testing.T) {
	t.Parallel()
	beside.Need(t, "systemd-analyze", "systemd")
	beside.Need(t, "strace", "strace")
	allowed := systemCalls(t, "@system-service")
	unit, err := os.ReadFile("systemd/gatehouse.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n") {
		t.Fatal("the unit has another filter than this test knows")
	}
	for call := range systemCalls(t, "@default") {
		allowed[call] = true
	}
	for _, set := range []string{"@privileged", "@resources"} {
		for call := range systemCalls(t, set) {
			delete(allowed, call)
		}
	}

	dir, err := os.MkdirTemp("", "gatehouse-deploy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	counts := filepath.Join(dir, "counts")
	public, admin := beside.FreeAddress(t), beside.FreeAddress(t)
	cmd := exec.Command("strace", "-f", "-qq", "-c", "-U", "name,calls", "-o", counts,
		program(t), "serve", "--data-dir", filepath.Join(dir, "data"), "--listen", public, "--admin-listen", admin)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 { // what SQLite does for root alone is not the unit's affair
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	}()
	waitFor(t, "http://"+admin+"/readyz")
	for _, url := range []string{"http://" + public + "/docs", "http://" + public + "/authentication", "http://" + admin + "/metrics"} {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	// strace itself blocks the signal, and ends when the server has.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	ended = true
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	text, err := os.ReadFile(counts)
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		// A line that begins with a number is strace's about a process.
		if name != "" && name[0] >= 'a' && name != "syscall" && name != "total" {
			used = append(used, name)
		}
	}
	if !slices.Contains(used, "fsync") || !slices.Contains(used, "accept4") {
		t.Fatalf("this is not all that the server did: %v", used)
	}
	for _, call := range used {
		if !allowed[call] {
			t.Errorf("the unit's SystemCallFilter does not allow %s", call)
		}
	}
}

// nobody is a user with no rights.
const nobody = 65534
