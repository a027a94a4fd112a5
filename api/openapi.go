package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed openapi.yaml
var openAPI []byte

// What the document says of a server. Each line stands there once.
const (
	exampleServer = "  - url: \"https://auth.example.com\"\n"
	exampleHeader = "      name: X-LIQUID-API-KEY\n"
)

// OpenAPI is the document (OpenAPI 3.1, in YAML) of every address of the contracts, as the server at publicURL has them, which
// takes API keys in this header.
func OpenAPI(publicURL, header string) []byte {
	return bytes.Replace(
		bytes.Replace(openAPI, []byte(exampleServer), fmt.Appendf(nil, "  - url: %s\n", quoted(publicURL)), 1),
		[]byte(exampleHeader), fmt.Appendf(nil, "      name: %s\n", quoted(header)), 1)
}

// quoted is s as a string of JSON, which is one of YAML too.
func quoted(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // never fails for a string
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

//go:embed admin.yaml
var admin []byte

// Admin is the document (OpenAPI 3.1, in YAML) of the admin API, which is for operators alone.
func Admin() []byte { return admin }
