package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

//go:embed openapi.yaml
var openAPI []byte

// exampleServer is the line of the document that names the server. It stands there once.
const exampleServer = "  - url: \"https://auth.example.com\"\n"

// OpenAPI is the document (OpenAPI 3.1, in YAML) of every address of the contracts, as the server at publicURL has them.
func OpenAPI(publicURL string) []byte {
	var quoted bytes.Buffer
	e := json.NewEncoder(&quoted) // a string of JSON is one of YAML
	e.SetEscapeHTML(false)
	_ = e.Encode(publicURL) // never fails for a string; ends in a line feed
	return bytes.Replace(openAPI, []byte(exampleServer), append([]byte("  - url: "), quoted.Bytes()...), 1)
}

//go:embed admin.yaml
var admin []byte

// Admin is the document (OpenAPI 3.1, in YAML) of the admin API, which is for operators alone.
func Admin() []byte { return admin }
