package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// The image is built as `make image` builds it, by buildah without an engine, and the server runs in it.
func TestTheImageServes(t *testing.T) {
	t.Parallel()
	beside.Need(t, "buildah", "buildah")
	if os.Geteuid() != 0 {
		t.Skip("buildah isolates by chroot, which is for root")
	}
	dir := t.TempDir()
	storage := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	buildah := func(args ...string) string { return strings.TrimSpace(run(t, "buildah", append(storage, args...)...)) }
	build := exec.CommandContext(t.Context(), "../scripts/image", "gatehouse:test")
	build.Env = append(os.Environ(), "GATEHOUSE_BINARY="+program(t), "BUILDER_FLAGS="+strings.Join(storage, " "), "BUILD_FLAGS=--isolation chroot --quiet")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("scripts/image: %v\n%s", err, said)
	}

	type config struct {
		User         string
		Env, Cmd     []string
		Entrypoint   []string
		StopSignal   string
		ExposedPorts map[string]struct{}
	}
	var image struct{ OCIv1 struct{ Config config } }
	if err := json.Unmarshal([]byte(buildah("inspect", "--type", "image", "gatehouse:test")), &image); err != nil {
		t.Fatal(err)
	}
	want := config{
		User: "65532:65532", Env: []string{"PATH=/usr/local/bin", "GATEHOUSE_DATA_DIR=/var/lib/gatehouse"},
		Entrypoint: []string{"gatehouse"}, Cmd: []string{"serve"}, StopSignal: "SIGTERM",
		ExposedPorts: map[string]struct{}{"8000/tcp": {}, "9000/tcp": {}},
	}
	if diff := cmp.Diff(want, image.OCIv1.Config); diff != "" {
		t.Errorf("the image (-want +got):\n%s", diff)
	}

	container := buildah("from", "gatehouse:test")
	files := strings.Fields(run(t, "find", buildah("mount", container), "-type", "f", "-printf", "%P\n"))
	if diff := cmp.Diff([]string{"etc/ssl/certs/ca-certificates.crt", "usr/local/bin/gatehouse"}, files, cmp.Transformer("sorted", sorted)); diff != "" {
		t.Errorf("what is in the image (-want +got):\n%s", diff)
	}
	if said := buildah("run", "--isolation", "chroot", container, "--", "gatehouse", "version"); !strings.HasPrefix(said, "gatehouse ") {
		t.Errorf("gatehouse version: %s", said)
	}

	// Its network is that of this machine.
	public, admin := beside.FreeAddress(t), beside.FreeAddress(t)
	serve := exec.Command("buildah", append(storage, "run", "--isolation", "chroot", "--env", "GATEHOUSE_LISTEN="+public, "--env", "GATEHOUSE_ADMIN_LISTEN="+admin,
		container, "--", "gatehouse", "serve")...)
	serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	serve.Stdout, serve.Stderr = out, out
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-serve.Process.Pid, syscall.SIGKILL) // buildah passes no other on
		_ = serve.Wait()
		if text, err := os.ReadFile(out.Name()); t.Failed() && err == nil {
			t.Logf("the server in the image: %s", text)
		}
	})
	waitFor(t, "http://"+admin+"/readyz")
	healthy := []string{"run", "--isolation", "chroot", "--env", "GATEHOUSE_ADMIN_LISTEN=" + admin, container, "--", "gatehouse", "doctor", "--ready"}
	if said := buildah(healthy...); said != "" {
		t.Errorf("gatehouse doctor --ready, in the image: %s", said)
	}
}
