package beside

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// A verdict is a test that writes down how it ended.
type verdict struct {
	testing.TB
	said string
}

func (*verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) { v.end("failed: "+format, args) }
func (v *verdict) Skipf(format string, args ...any)  { v.end("skipped: "+format, args) }

func (v *verdict) end(format string, args []any) {
	v.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// judge runs a test to its end and says how it ended; "" if nothing ended it.
func judge(test func(testing.TB)) string {
	v := new(verdict)
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(v)
	}()
	<-done
	return v.said
}

// What is missing is skipped where one may lack it, and fails in CI.
func TestWhatIsMissing(t *testing.T) {
	missing := func(t testing.TB) {
		Need(t, "gatehouse-none-such", "none-such")
		panic("it went on")
	}
	for ci, want := range map[string]string{"": "skipped: ", "true": "failed: "} {
		t.Setenv("CI", ci)
		if got := judge(missing); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " none-such") {
			t.Errorf("with CI=%s: got %q, want %q and the package", ci, got, want)
		}
	}
}

func TestWhatIsThere(t *testing.T) {
	t.Setenv("CI", "true")
	if got := judge(func(t testing.TB) {
		path := Need(t, "sh", "dash")
		if _, err := os.Stat(path); err != nil {
			panic(err)
		}
	}); got != "" {
		t.Errorf("a machine with a shell: %s", got)
	}
}
