package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// The numbers are those that libraries for Standard Webhooks are tested with.
func TestSign(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestInside(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.170",
		"198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "203.0.113.7", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
		"ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
		"2001::1", "2001:db8::1", "fec0::1", "3fff::1", "4000::1", "5f00::1",
	} {
		if !Inside(netip.MustParseAddr(a)) {
			t.Errorf("%s is outside", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"} {
		if Inside(netip.MustParseAddr(a)) {
			t.Errorf("%s is inside", a)
		}
	}
	if !Inside(netip.Addr{}) {
		t.Error("no address is outside")
	}
}

// receiver is somebody on loopback who counts what he is asked.
func receiver(t *testing.T, answer http.HandlerFunc) (*httptest.Server, *int) {
	t.Helper()
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, &asked
}

func key() []byte { return []byte("0123456789abcdef01234567") }

func post(t *testing.T, e Endpoint, lookup func(context.Context, string) ([]netip.Addr, error)) error {
	t.Helper()
	e.Key = key
	p, err := newPoster(e, lookup)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.post(t.Context(), auth.WebhookMessage{ID: "evt_1", Body: `{"type":"x"}`}, time.Unix(1795401802, 0))
	return err
}

// Nothing inside is called: not by its address, not by a name, however it is written and wherever the name leads a moment later.
func TestNothingInsideIsCalled(t *testing.T) {
	s, asked := receiver(t, func(http.ResponseWriter, *http.Request) {})
	u, _ := url.Parse(s.URL)
	for _, host := range []string{"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "[64:ff9b::7f00:1]", "2130706433", "0x7f.1", "127.1"} {
		if err := post(t, Endpoint{URL: "http://" + net.JoinHostPort(strings.Trim(host, "[]"), u.Port())}, nil); err == nil {
			t.Errorf("%s was called", host)
		}
	}
	loopback, outside := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.114.1")
	for name, lookup := range map[string]func() []netip.Addr{
		"a name that lies inside":       func() []netip.Addr { return []netip.Addr{loopback} },
		"a name with one foot inside":   func() []netip.Addr { return []netip.Addr{outside, loopback} },
		"the metadata of a cloud":       func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("169.254.169.254")} },
		"a name of IPv6 that is mapped": func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")} },
	} {
		err := post(t, Endpoint{URL: "http://hooks.example.com:" + u.Port()}, func(context.Context, string) ([]netip.Addr, error) { return lookup(), nil })
		if !errors.Is(err, errInside) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if *asked > 0 {
		t.Errorf("it was called %d times", *asked)
	}

	// A name that is outside when it is looked at and inside when it is called: it is resolved once, and that is what is called.
	asks, called := 0, ""
	d := dialer{
		lookup: func(context.Context, string) ([]netip.Addr, error) {
			if asks++; asks > 1 {
				return []netip.Addr{loopback}, nil
			}
			return []netip.Addr{outside}, nil
		},
		connect: func(_ context.Context, _, address string) (net.Conn, error) {
			called = address
			return nil, errors.New("nobody there")
		},
	}
	if _, err := d.dial(t.Context(), "tcp", "rebinding.example.com:443"); err == nil || asks != 1 || called != "203.0.114.1:443" {
		t.Errorf("it was resolved %d times and %s called: %v", asks, called, err)
	}
}

func TestWhatIsAllowedInsideIsCalled(t *testing.T) {
	var got http.Header
	var body string
	s, asked := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		text, _ := io.ReadAll(r.Body)
		body = string(text)
	})
	if err := post(t, Endpoint{URL: s.URL + "/hooks?team=7", AllowInternal: true}, nil); err != nil || *asked != 1 {
		t.Fatal(err)
	}
	if body != `{"type":"x"}` || got.Get("webhook-id") != "evt_1" || got.Get("webhook-timestamp") != "1795401802" ||
		got.Get("webhook-signature") != Sign(key(), "evt_1", "1795401802", []byte(body)) || got.Get("Content-Type") != "application/json" {
		t.Errorf("got %q with %v", body, got)
	}
}

// An answer is read a little, never followed, and never repeated.
func TestAnswers(t *testing.T) {
	other, elsewhere := receiver(t, func(http.ResponseWriter, *http.Request) {})
	for name, answer := range map[string]http.HandlerFunc{
		"it answered 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"it answered 308": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
		},
		"it answered 500": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hunter2", http.StatusInternalServerError) },
		"it answered 404": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			for range 1000 {
				if _, err := fmt.Fprint(w, strings.Repeat("x", 1<<16)); err != nil {
					return // it was not read to its end
				}
			}
			t.Error("64 MB of an answer were read")
		},
	} {
		s, _ := receiver(t, answer)
		if err := post(t, Endpoint{URL: s.URL, AllowInternal: true}, nil); err == nil || err.Error() != name {
			t.Errorf("want %q, got %v", name, err)
		}
	}
	if *elsewhere > 0 {
		t.Error("a redirect was followed")
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("whoever it is was told") }))
	s.Config.ErrorLog = nil
	defer s.Close()
	if err := post(t, Endpoint{URL: s.URL, AllowInternal: true}, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if err := post(t, Endpoint{URL: "http://127.0.0.1:1/secret-path", AllowInternal: true}, nil); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("nobody there: %v", err)
	}
}
