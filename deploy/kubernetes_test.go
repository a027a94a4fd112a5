package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/config"
)

// An object is one of Kubernetes', as far as it is looked at here.
type object struct {
	APIVersion, Kind string
	Metadata         struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas     int
		MinAvailable int
		Selector     any
		PodSelector  struct{ MatchLabels map[string]string }
		Template     struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type pod struct {
	EnableServiceLinks, AutomountServiceAccountToken *bool
	TerminationGracePeriodSeconds                    int
	SecurityContext                                  map[string]any
	Containers                                       []container
	Volumes                                          []struct {
		Name   string
		Secret struct{ SecretName string }
	}
}

type container struct {
	Image           string
	Args            []string
	Env             []struct{ Name, Value string }
	SecurityContext map[string]any
	Lifecycle       struct {
		PreStop struct{ Sleep struct{ Seconds int } }
	}
	StartupProbe, ReadinessProbe, LivenessProbe struct {
		HTTPGet struct {
			Path string
			Port any
		}
	}
	Ports        []struct{ Name string }
	VolumeMounts []struct{ Name, MountPath string }
}

// manifests are what an installation applies: what kustomize makes of both folders, and the example of the secret.
func manifests(t *testing.T) []any {
	t.Helper()
	example, err := os.ReadFile("kubernetes/secret.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(
		documents(t, run(t, "kubectl", "kustomize", "kubernetes")),
		documents(t, run(t, "kubectl", "kustomize", "kubernetes/migrate")),
		documents(t, string(example)))
}

func TestKubernetesTakesTheManifests(t *testing.T) {
	t.Parallel()
	beside.Need(t, "kubectl", "kubernetes-client")
	dir := filepath.Join(module(t, kubernetesSchemas), "pkg", "openapiclient", "builtins", "1.30")
	const core, meta = "io.k8s.api.", "#/components/schemas/"
	of := map[string]struct{ file, name string }{
		"Namespace":           {"api/v1.json", "core.v1.Namespace"},
		"ConfigMap":           {"api/v1.json", "core.v1.ConfigMap"},
		"Secret":              {"api/v1.json", "core.v1.Secret"},
		"Service":             {"api/v1.json", "core.v1.Service"},
		"Deployment":          {"apis/apps/v1.json", "apps.v1.Deployment"},
		"Job":                 {"apis/batch/v1.json", "batch.v1.Job"},
		"PodDisruptionBudget": {"apis/policy/v1.json", "policy.v1.PodDisruptionBudget"},
		"NetworkPolicy":       {"apis/networking.k8s.io/v1.json", "networking.v1.NetworkPolicy"},
	}
	seen := map[string]bool{}
	for _, doc := range manifests(t) {
		o := into[object](t, doc)
		known, ok := of[o.Kind]
		if group := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(known.file, "apis/"), "api/"), ".json"); !ok || o.APIVersion != group {
			t.Errorf("%s %s of %s: this test knows no such kind", o.Kind, o.Metadata.Name, o.APIVersion)
			continue
		}
		seen[o.Kind] = true
		if err := schema(t, filepath.Join(dir, known.file), meta+core+known.name, true).Validate(doc); err != nil {
			t.Errorf("%s %s: %v", o.Kind, o.Metadata.Name, err)
		}
		if o.Metadata.Namespace != "gatehouse" && o.Kind != "Namespace" {
			t.Errorf("%s %s is in the namespace %q", o.Kind, o.Metadata.Name, o.Metadata.Namespace)
		}
	}
	if len(seen) != len(of) {
		t.Errorf("there are only %v", seen)
	}

	// That it can fail.
	wrong := documents(t, strings.Replace(run(t, "kubectl", "kustomize", "kubernetes/migrate"), "restartPolicy:", "restartPolitcs:", 1))
	if err := schema(t, filepath.Join(dir, of["Job"].file), meta+core+of["Job"].name, true).Validate(wrong[0]); err == nil {
		t.Error("a member that there is not was taken")
	}
}

// What the schemas do not know: that the pods may do little, that the manifests fit one another, and that they fit the server.
func TestTheManifestsFitTheServer(t *testing.T) {
	t.Parallel()
	beside.Need(t, "kubectl", "kubernetes-client")
	var server, migrate object
	var yamlText string
	var budget, service, policies []object
	for _, doc := range manifests(t) {
		switch o := into[object](t, doc); o.Kind {
		case "Deployment":
			server = o
		case "Job":
			migrate = o
		case "ConfigMap":
			yamlText = o.Data["gatehouse.yaml"]
		case "PodDisruptionBudget":
			budget = append(budget, o)
		case "Service":
			service = append(service, o)
		case "NetworkPolicy":
			policies = append(policies, o)
		}
	}
	file := filepath.Join(t.TempDir(), "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(yamlText), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{Path: file})
	if err != nil {
		t.Fatal(err)
	}

	for _, o := range []object{server, migrate} {
		p := o.Spec.Template.Spec
		if p.EnableServiceLinks == nil || *p.EnableServiceLinks || p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
			t.Errorf("%s: the names of services are in its environment, or a token of the cluster's", o.Kind)
		}
		if p.SecurityContext["runAsNonRoot"] != true || p.SecurityContext["runAsUser"] != 65532.0 || !cmp.Equal(p.SecurityContext["seccompProfile"], map[string]any{"type": "RuntimeDefault"}) {
			t.Errorf("%s: %v", o.Kind, p.SecurityContext)
		}
		if len(p.Containers) != 1 {
			t.Fatalf("%s has %d containers", o.Kind, len(p.Containers))
		}
		want := map[string]any{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}}}
		if diff := cmp.Diff(want, p.Containers[0].SecurityContext); diff != "" {
			t.Errorf("%s (-want +got):\n%s", o.Kind, diff)
		}
		for _, e := range p.Containers[0].Env {
			key, isFile := strings.CutSuffix(e.Name, "_FILE")
			if isFile && !strings.HasPrefix(e.Value, "/run/secrets/gatehouse/") || !slices.ContainsFunc(append(config.Keys(), "master.key"), func(k string) bool { return config.Variable(k) == key }) {
				t.Errorf("%s: %s=%s", o.Kind, e.Name, e.Value)
			}
		}
		if o.Spec.Template.Spec.Containers[0].Image != server.Spec.Template.Spec.Containers[0].Image {
			t.Errorf("%s is of another image than the replicas", o.Kind)
		}
		if !slices.ContainsFunc(policies, func(n object) bool {
			return cmp.Equal(n.Spec.PodSelector.MatchLabels, o.Spec.Template.Metadata.Labels)
		}) {
			t.Errorf("no network policy is for the pods of %s", o.Kind)
		}
	}
	if got := migrate.Spec.Template.Spec.Containers[0].Args; !slices.Equal(got, []string{"migrate", "up"}) {
		t.Errorf("the job runs %v", got)
	}

	p := server.Spec.Template.Spec
	one := p.Containers[0]
	grace := time.Duration(p.TerminationGracePeriodSeconds)*time.Second - time.Duration(one.Lifecycle.PreStop.Sleep.Seconds)*time.Second
	if one.Lifecycle.PreStop.Sleep.Seconds < 1 || grace < c.ShutdownGrace+5*time.Second {
		t.Errorf("a replica that stops has %v after %d s, and wants %v", grace, one.Lifecycle.PreStop.Sleep.Seconds, c.ShutdownGrace)
	}
	for path, probe := range map[string]any{
		"/readyz": one.ReadinessProbe.HTTPGet, "/healthz": one.LivenessProbe.HTTPGet,
	} {
		if got := into[struct{ Path, Port string }](t, probe); got.Path != path || got.Port != "admin" {
			t.Errorf("%s is asked at %+v", path, got)
		}
	}
	if !strings.HasSuffix(c.Listen, ":8000") || !strings.HasSuffix(c.AdminListen, ":9000") {
		t.Errorf("it listens on %s and %s", c.Listen, c.AdminListen)
	}
	if len(budget) != 1 || budget[0].Spec.MinAvailable != server.Spec.Replicas-1 {
		t.Errorf("%d replicas, and budgets %+v", server.Spec.Replicas, budget)
	}
	labels := map[string]any{"app.kubernetes.io/name": "gatehouse"}
	if len(service) != 1 || !cmp.Equal(service[0].Spec.Selector, any(labels)) || server.Spec.Template.Metadata.Labels["app.kubernetes.io/name"] != "gatehouse" {
		t.Errorf("services %+v", service)
	}
}
