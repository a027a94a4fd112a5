package manual

import "github.com/gatehouse/gatehouse/internal/auth"

// A Program turns a credential of one kind into a token and calls the API with it, as the page of its contract shows it.
type Program struct {
	// Identifier and Secret are the variables of the environment that it reads the credential from; Secret is "" where
	// one text is both.
	Identifier, Secret string
	Samples            []Sample
}

// A Sample is a program in one language. The one in curl gets the token and leaves the call to [Call].
type Sample struct{ Language, Code string }

// PathVariable is the variable of the path that every program calls.
const PathVariable = "API_PATH"

// programs says where the program of each kind stands and what it reads, in the order of [auth.Kinds].
var programs = []struct{ page, identifier, secret string }{
	{"access-token", "API_KEY", ""},
	{"orders", "API_USER_ID", "API_PASSWORD"},
	{"login", "API_USERNAME", "API_PASSWORD"},
	{"oauth", "CLIENT_ID", "CLIENT_SECRET"},
}

// Programs are those of the kinds whose contract is spoken, for this server.
func Programs(c Config) (map[auth.Kind]Program, error) {
	m := Manual{config: c}
	all := make(map[auth.Kind]Program)
	for i, kind := range auth.Kinds {
		if !c.Spoken(kind.Contract()) {
			continue
		}
		of := programs[i]
		at := page{Name: of.page}
		source, err := at.source()
		if err != nil {
			return nil, err
		}
		_, snippets := split(source)
		p := Program{Identifier: of.identifier, Secret: of.secret}
		for _, l := range languages {
			code, err := m.fill(at, snippets[0][l.name], Environment{URL: c.PublicURL})
			if err != nil {
				return nil, err
			}
			if code != "" {
				p.Samples = append(p.Samples, Sample{l.shown, code})
			}
		}
		all[kind] = p
	}
	return all, nil
}

// Call is the line of curl that calls the API of the server at this URL with $TOKEN.
func Call(url string) string {
	return "curl -sS " + url + "$" + PathVariable + ` -H "Authorization: Bearer $TOKEN"` + "\n"
}
