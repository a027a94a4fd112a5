package deploy_test

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goreleaserSchema is of the release that the Makefile runs.
const goreleaserSchema = "github.com/goreleaser/goreleaser/v2@v2.13.3"

func TestGoReleaserTakesTheConfiguration(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), goreleaserSchema+" ") {
		t.Errorf("the Makefile does not run %s", goreleaserSchema)
	}
	of := schema(t, filepath.Join(module(t, goreleaserSchema), "www", "docs", "static", "schema.json"), "", false)
	text, err := os.ReadFile("../.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc := documents(t, string(text))[0]
	if err := of.Validate(doc); err != nil {
		t.Error(err)
	}
	c := into[struct {
		Builds []struct{ Goos, Goarch, Flags, Env []string }
		SBOMs  []struct{ Args []string }
	}](t, doc)
	b := c.Builds[0]
	if !slices.Equal(b.Goos, []string{"linux", "darwin"}) || !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) ||
		!slices.Contains(b.Flags, "-trimpath") || !slices.Contains(b.Env, "CGO_ENABLED=0") || len(c.SBOMs) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestTheBillOfMaterials(t *testing.T) {
	t.Parallel()
	binary, file := program(t), filepath.Join(t.TempDir(), "bom.json")
	run(t, "go", "run", "./sbom", binary, file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Name, PURL string }
		}
		Components []struct{ Type, Name, Version, PURL string }
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion != "1.6" || bom.Metadata.Component.Name != "github.com/gatehouse/gatehouse" {
		t.Errorf("%+v", bom)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 10 || len(bom.Components) != len(info.Deps)+1 {
		t.Fatalf("%d components for %d modules", len(bom.Components), len(info.Deps))
	}
	if std := bom.Components[0]; "go"+std.Version != info.GoVersion || std.Name != "std" {
		t.Errorf("the standard library: %+v", std)
	}
	for i, m := range info.Deps {
		if c := bom.Components[i+1]; c.Name != m.Path || c.Version != m.Version || c.Type != "library" || !strings.HasPrefix(c.PURL, "pkg:golang/"+m.Path+"@v") {
			t.Errorf("%+v for %s %s", c, m.Path, m.Version)
		}
	}
}
