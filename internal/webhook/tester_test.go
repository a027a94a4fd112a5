package webhook

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func tester(t *testing.T, endpoints ...Endpoint) *Tester {
	t.Helper()
	nobody := func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	tester, err := NewTester(Config{Endpoints: endpoints, Lookup: nobody})
	if err != nil {
		t.Fatal(err)
	}
	return tester
}

// A test moves nothing in the queue: not when it fails, and not when it comes through while others wait for their next try.
func TestATestLeavesTheQueueAlone(t *testing.T) {
	store, now := &shelf{told: map[string]bool{}}, start
	e, heard, broken := hears(t)
	e.Events = []string{"account.*"} // a test comes whatever is asked for
	sender, try := teller(t, store, &now, e), tester(t, e)
	id := try.Names()[0].ID
	if id != sender.endpoints[0].id {
		t.Fatalf("the queue is of %s, and the test of %s", sender.endpoints[0].id, id)
	}
	broken(true)
	store.act("account.suspend", 100001, now)
	step(t, sender)
	before := slices.Clone(store.queue)
	came, err := try.Test(t.Context(), id, auth.Act{})
	if err != nil || came.Status != 503 || came.Err == nil {
		t.Errorf("got %+v, %v", came, err)
	}
	broken(false)
	if came, err = try.Test(t.Context(), id, auth.Act{}); err != nil || came.Status != 200 || came.Err != nil || came.Took < 0 {
		t.Errorf("got %+v, %v", came, err)
	}
	step(t, sender)
	if !slices.Equal(store.queue, before) || sender.config.Stats.Delivered.Load() != 0 || sender.config.Stats.Failed.Load() != 1 {
		t.Errorf("waiting are %+v, and were %+v", store.queue, before)
	}
	now = now.Add(backOff(0))
	step(t, sender)
	if want := []string{"webhook.test 0", "account.suspended 100001"}; !slices.Equal(heard(), want) {
		t.Errorf("heard %q, want %q", heard(), want)
	}
	if _, err := try.Test(t.Context(), "nobody", auth.Act{}); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if slices.Contains(Types(), Test) {
		t.Error("something that happens looks like a test")
	}
}

// raw is a server that says a text to whoever comes, and goes.
func raw(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 64<<10))
			_, _ = c.Write([]byte(text))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// Whatever is at the other end, what went wrong is said without a word of its own.
func TestWhatWentWrongWithATest(t *testing.T) {
	untrusted := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("whoever it is was told") }))
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(untrusted.Close)
	for name, c := range map[string]struct{ url, want string }{
		"another protocol":         {"http://" + raw(t, "220 hunter2 ESMTP\r\n"), "its answer is not one of HTTP"},
		"a header that is none":    {"http://" + raw(t, "HTTP/1.1 200 OK\r\nhunter2\r\n\r\n"), "its answer is not one of HTTP"},
		"a length that is none":    {"http://" + raw(t, "HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n"), "its answer is not one of HTTP"},
		"nothing":                  {"http://" + raw(t, ""), "it closed the connection without an answer"},
		"HTTP where TLS is due":    {"https://" + raw(t, "HTTP/1.1 400 Bad hunter2\r\n\r\n"), "server gave HTTP response to HTTPS client"},
		"a certificate of his own": {untrusted.URL, "certificate"},
		"nobody":                   {"http://127.0.0.1:1", "refused"},
		"a name that is none":      {"http://nobody.invalid", "the name has no address"},
	} {
		try := tester(t, Endpoint{URL: c.url + "/path-that-protects", Key: key, AllowInternal: true})
		came, err := try.Test(t.Context(), try.Names()[0].ID, auth.Act{})
		if err != nil || came.Err == nil || came.Status != 0 {
			t.Fatalf("%s: %+v, %v", name, came, err)
		}
		if said := came.Err.Error(); !strings.Contains(said, c.want) || strings.Contains(said, "hunter2") || strings.Contains(said, "protects") || len(said) > mostError+3 {
			t.Errorf("%s: %q", name, said)
		}
	}
}
