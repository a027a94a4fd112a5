package oauth_test

import (
	"os"
	"testing"

	"github.com/gatehouse/gatehouse/internal/apitest"
)

func TestMain(m *testing.M) {
	const (
		notSpoken = "the contract is switched off: TestWhatIsNotSpokenIsAsDocumented of internal/server"
	)
	os.Exit(apitest.Main(m, map[string]string{
		"POST /oauth/token 404 invalid_request Not found":      notSpoken,
		"POST /oauth/introspect 404 invalid_request Not found": notSpoken,
		"POST /oauth/revoke 404 invalid_request Not found":     notSpoken,
	}, "OAuth 2"))
}
