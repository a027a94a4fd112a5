package dashboard

// A Line is one line of the table of pages, for tests.
type Line struct {
	Method, Path string // with its wildcards
	Needs        string
	Open         bool
}

// Lines are the table of one side.
func (d *Dashboard) Lines() []Line {
	var all []Line
	for _, r := range d.routes {
		all = append(all, Line{r.method, r.path, string(r.needs), r.open})
	}
	return all
}

// Seal is what a list hands out to go on.
func (d *Dashboard) Seal(purpose, text string) string { return d.seal(purpose, text) }

// Unseal reads it back.
func (d *Dashboard) Unseal(purpose, sealed string) (string, bool) { return d.unseal(purpose, sealed) }

// Own is whether an address is one of ours.
func Own(next string) (string, bool) { return own(next) }

// AssetPaths are where the files are that pages are made of.
func (d *Dashboard) AssetPaths() (map[string]string, error) { return d.assets.Paths() }
