package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/config"
)

type service struct {
	Image, Command any
	User           string
	DependsOn      any `json:"depends_on"`
	Networks       any
	Secrets        []string
	ReadOnly       bool     `json:"read_only"`
	CapDrop        []string `json:"cap_drop"`
	SecurityOpt    []string `json:"security_opt"`
	Ports          []string
	Healthcheck    map[string]any
	Volumes        []string
	Environment    map[string]string
}

type composition struct {
	Services map[string]service
	Networks map[string]any
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

func compose(t *testing.T) (any, composition) {
	t.Helper()
	text, err := os.ReadFile("compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := documents(t, string(text))
	return docs[0], into[composition](t, docs[0])
}

// names are the keys of a mapping, or the elements of a list.
func names(v any) []string {
	var all []string
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			all = append(all, name)
		}
	case []any:
		for _, name := range v {
			all = append(all, name.(string))
		}
	}
	return all
}

func TestComposeTakesTheFile(t *testing.T) {
	t.Parallel()
	of := schema(t, filepath.Join(module(t, composeSchema), "schema", "compose-spec.json"), "", false)
	doc, c := compose(t)
	if err := of.Validate(doc); err != nil {
		t.Fatal(err)
	}
	for name, s := range c.Services {
		for _, other := range names(s.DependsOn) {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s waits for %s, which there is not", name, other)
			}
		}
		for _, network := range names(s.Networks) {
			if _, ok := c.Networks[network]; !ok {
				t.Errorf("%s is on the network %s, which there is not", name, network)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("%s has the secret %s, which there is not", name, secret)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if file, ours := strings.CutPrefix(from, "./"); ours {
				if _, err := os.Stat(filepath.Join("compose", file)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("%s has the volume %s, which there is not", name, from)
			}
		}
		if !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) && name != "postgres" {
			t.Errorf("%s may gain privileges", name)
		}
		if strings.HasPrefix(name, "gatehouse-") && (!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.User != "65532:65532" || s.Ports != nil) {
			t.Errorf("%s may do more than it must: %+v", name, s)
		}
	}
}

// The replicas are told what the compose file makes true: they trust HAProxy and nobody else, and find Redis by its name.
func TestTheConfigurationFitsTheComposition(t *testing.T) {
	t.Parallel()
	_, c := compose(t)
	loaded, err := config.Load(config.Options{Path: "compose/gatehouse.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	address := into[map[string]struct {
		Address string `json:"ipv4_address"`
	}](t, c.Services["haproxy"].Networks)["edge"].Address
	if !slices.Equal(loaded.TrustedProxies, []string{address}) {
		t.Errorf("they trust %v, and HAProxy is %s", loaded.TrustedProxies, address)
	}
	if _, ok := c.Services["redis"]; !ok || loaded.Redis.Reveal() != "redis://redis:6379/0" || loaded.Listen != ":8000" || loaded.AdminListen != ":9000" {
		t.Errorf("they listen on %s and %s and ask %s", loaded.Listen, loaded.AdminListen, loaded.Redis.Reveal())
	}
	for name := range c.Services["gatehouse-1"].Environment {
		key, isFile := strings.CutSuffix(name, "_FILE")
		if !isFile || !slices.ContainsFunc(append(config.Keys(), "master.key"), func(k string) bool { return config.Variable(k) == key }) {
			t.Errorf("%s is no variable for a secret's file", name)
		}
	}
}

// The secrets that compose.yaml names are those that make-secrets makes, and it makes none anew.
func TestSecretsAreMadeOnce(t *testing.T) {
	beside.Need(t, "openssl", "openssl")
	if os.Geteuid() != 0 {
		t.Skip("it gives files away, which is for root")
	}
	dir := t.TempDir()
	script, err := os.ReadFile("compose/make-secrets")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "make-secrets"), script, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATEHOUSE", program(t))
	made := func() map[string]string {
		run(t, "sh", filepath.Join(dir, "make-secrets"))
		all := map[string]string{}
		entries, err := os.ReadDir(filepath.Join(dir, "secrets"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(dir, "secrets", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o400 {
				t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
			}
			all["secrets/"+e.Name()] = string(text)
		}
		return all
	}
	first := made()
	_, c := compose(t)
	for name, s := range c.Secrets {
		if first[s.File] == "" {
			t.Errorf("nobody makes the secret %s in %s", name, s.File)
		}
	}
	if len(first) != len(c.Secrets) {
		t.Errorf("it makes %d files for %d secrets", len(first), len(c.Secrets))
	}
	for file, text := range made() {
		if first[file] != text {
			t.Errorf("%s was made anew", file)
		}
	}
}
