package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load never looks at this machine's /etc.
func load(options Options) (*Config, error) {
	if options.system == "" {
		options.system = "/nonexistent/gatehouse.yaml"
	}
	return Load(options)
}

func mustLoad(t testing.TB, options Options) *Config {
	t.Helper()
	c, err := load(options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems are what is wrong with a file of this text.
func problems(t testing.TB, text string) []*Problem {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), text)
	_, err := load(Options{Dir: dir})
	return all(t, err)
}

// all are the problems that an error of Load joins.
func all(t testing.TB, err error) []*Problem {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v is not a list of problems", err)
	}
	var ps []*Problem
	for _, one := range joined.Unwrap() {
		var p *Problem
		if !errors.As(one, &p) {
			t.Fatalf("%v is not a problem", one)
		}
		ps = append(ps, p)
	}
	return ps
}
