package liquid_test

import (
	"os"
	"testing"

	"github.com/gatehouse/gatehouse/internal/apitest"
)

func TestMain(m *testing.M) {
	const (
		notSpoken = "the contract is switched off: TestWhatIsNotSpokenIsAsDocumented of internal/server"
		clearText = "a request without TLS where that is required: TestClearTextIsRefusedAsDocumented of internal/server"
	)
	os.Exit(apitest.Main(m, map[string]string{
		"GET /authentication 404 404 Not Found":             notSpoken,
		"GET /api/authentication 404 404 Not Found":         notSpoken,
		"GET /order-authentication 404 404 Not Found":       notSpoken,
		"GET /api/order-authentication 404 404 Not Found":   notSpoken,
		"GET /authentication 400 400 Bad Request":           clearText,
		"GET /api/authentication 400 400 Bad Request":       clearText,
		"GET /order-authentication 400 400 Bad Request":     clearText,
		"GET /api/order-authentication 400 400 Bad Request": clearText,
	}, "API keys", "Orders"))
}
