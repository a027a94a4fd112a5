package b2b_test

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
		"POST /auth/login 404 NotFoundError NOT_FOUND Not found":        notSpoken,
		"POST /auth/refresh 404 NotFoundError NOT_FOUND Not found":      notSpoken,
		"POST /auth/logout 404 NotFoundError NOT_FOUND Not found":       notSpoken,
		"POST /auth/logout 400 BadRequestError BAD_REQUEST Bad request": clearText,
	}, "Login"))
}
