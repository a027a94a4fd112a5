package admin_test

import (
	"os"
	"testing"

	"github.com/gatehouse/gatehouse/internal/apitest"
)

func TestMain(m *testing.M) {
	os.Exit(apitest.Main(m, nil, "Accounts", "Credentials", "Sessions and tokens", "Signing keys", "People", "What is going on", "Document"))
}
