package audit

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/beside"
)

var update = flag.Bool("update", false, "write what is made into docs/errors.md")

const (
	errorsPage   = "../../docs/errors.md"
	reasonsBegin = "<!-- begin reasons: written by go test ./internal/audit -run ErrorsPage -update -->\n"
	reasonsEnd   = "<!-- end reasons -->\n"
)

// page writes the explanations as the section of the docs.
func page() string {
	var b strings.Builder
	b.WriteString("| reason | what happened |\n|---|---|\n")
	for _, e := range Explanations {
		first, _, _ := strings.Cut(e.Meaning, ". ")
		b.WriteString("| [`" + string(e.Reason) + "`](#" + string(e.Reason) + ") | " + strings.TrimSuffix(first, ".") + " |\n")
	}
	capitals := strings.NewReplacer("{account}", "ACCOUNT", "{credential}", "CREDENTIAL", "{address}", "ADDRESS", "{kind}", "KIND")
	for _, e := range Explanations {
		b.WriteString("\n### `" + string(e.Reason) + "`\n\n" + e.Meaning + "\n\nWhat the caller sees:\n\n")
		for _, s := range e.Sees {
			b.WriteString("- " + s + "\n")
		}
		b.WriteString("\nTry again? " + e.Retry + "\n\nWhat to do: " + capitals.Replace(e.Mend) + "\n\n")
		for _, c := range e.Commands {
			b.WriteString("    " + capitals.Replace(c) + "\n")
		}
	}
	return b.String()
}

func TestErrorsPage(t *testing.T) {
	b, err := os.ReadFile(errorsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), reasonsBegin)
	got, after, ok2 := strings.Cut(rest, reasonsEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s does not say where the reasons stand", errorsPage)
	}
	want := "\n" + page() + "\n"
	if *update {
		if err := os.WriteFile(errorsPage, []byte(before+reasonsBegin+want+reasonsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run this test with -update (-want +got):\n%s", diff)
	}
}

// The page names every answer of the first three contracts, literally and in one row.
func TestErrorsPageHasEveryAnswer(t *testing.T) {
	b, err := os.ReadFile(errorsPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| 400 | 5000 | `API Key not found` |",
		"| 400 | 400 | `Bad Request` |",
		"| 401 | 401 | `Invalid credentials` |",
		"| 401 | 401 | `Unauthorized` |",
		"| 403 | 403 | `IP address not authorized` |",
		"| 403 | 403 | `Insufficient scope` |",
		"| 404 | 404 | `Not Found` |",
		"| 405 | 405 | `Method Not Allowed` |",
		"| 413 | 413 | `Payload Too Large` |",
		"| 429 | 429 | `Too Many Requests` |",
		"| 500 | 500 | `Internal Server Error` |",
		"| 502 | 502 | `Bad Gateway` |",
		"| 503 | 503 | `Service Unavailable` |",
		"| 504 | 504 | `Gateway Timeout` |",
		"| `The access token expired` |",
		"| `The access token was revoked` |",
		"| `The access token is of another type` |",
		"| `The access token is not valid` |",
		"| 400 | `SyntaxError` | `SYNTAX_ERROR` | `Invalid request body` |",
		"| 400 | `ValidationException` | `VALIDATION_FAILURE` | `Username and password are required` |",
		"| 400 | `ValidationException` | `VALIDATION_FAILURE` | `Refresh token is required` |",
		"| 400 | `ValidationException` | `VALIDATION_FAILURE` | `Invalid Idempotency-Key` |",
		"| 400 | `BadRequestError` | `BAD_REQUEST` | `Bad request` |",
		"| 401 | `UnauthorizedError` | `UNAUTHORIZED` | `Invalid credentials` |",
		"| 401 | `UnauthorizedError` | `UNAUTHORIZED` | `Invalid refresh token` |",
		"| 401 | `UnauthorizedError` | `UNAUTHORIZED` | `Authentication required` |",
		"| 403 | `ForbiddenError` | `FORBIDDEN` | `IP address not authorized` |",
		"| 403 | `ForbiddenError` | `FORBIDDEN` | `Insufficient scope` |",
		"| 404 | `NotFoundError` | `NOT_FOUND` | `Not found` |",
		"| 405 | `MethodNotAllowedError` | `METHOD_NOT_ALLOWED` | `Method not allowed` |",
		"| 413 | `PayloadTooLargeError` | `PAYLOAD_TOO_LARGE` | `Request body too large` |",
		"| 415 | `UnsupportedMediaTypeError` | `UNSUPPORTED_MEDIA_TYPE` | `Content-Type must be application/json` |",
		"| 429 | `TooManyRequestsError` | `TOO_MANY_REQUESTS` | `Too many login attempts. Please try again later.` |",
		"| 429 | `TooManyRequestsError` | `TOO_MANY_REQUESTS` | `Too many requests. Please try again later.` |",
		"| 500 | `InternalServerError` | `INTERNAL_SERVER_ERROR` | `Internal server error` |",
		"| 502 | `BadGatewayError` | `BAD_GATEWAY` | `Bad gateway` |",
		"| 503 | `ServiceUnavailableError` | `SERVICE_UNAVAILABLE` | `Service temporarily unavailable` |",
		"| 504 | `GatewayTimeoutError` | `GATEWAY_TIMEOUT` | `Gateway timeout` |",
	} {
		if strings.Count(string(b), "\n"+row) != 1 {
			t.Errorf("no row begins %s", row)
		}
	}
}

// The PHP on the page is PHP, where there is one to ask.
func TestErrorsPagePHP(t *testing.T) {
	php := beside.Need(t, "php", "php-cli")
	b, err := os.ReadFile(errorsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```php\n")
	code, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no PHP on the page")
	}
	file := filepath.Join(t.TempDir(), "refresh.php")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), php, "-l", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
