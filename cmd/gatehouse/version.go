package main

import (
	"runtime"
	"runtime/debug"
)

type version struct{ printed }

func (version) Help() string { return `    gatehouse version --json` }

type versionJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree with changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisVersion is what the build knows of itself: nothing needs to be passed to the linker.
func thisVersion() versionJSON {
	v := versionJSON{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = or(info.Main.Version, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (c *version) Run(sh *shell) error {
	v := thisVersion()
	if c.JSON {
		return sh.json(v)
	}
	return sh.printf("gatehouse %s %s %s\n", v.Version, v.Platform, v.Go)
}
