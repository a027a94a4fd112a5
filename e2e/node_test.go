package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// needNode ends the test where there is no Node: as a failure on CI.
func needNode(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip("no Node here; install it with: sudo apt-get install --no-install-recommends nodejs npm")
		}
	}
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
