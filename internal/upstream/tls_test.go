package upstream

import (
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A server with https is known by who signed its certificate and by the name in it. One that is not known gets nothing.
func TestTLS(t *testing.T) {
	var asked string
	calls := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		asked = r.TLS.ServerName
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := Server{Scheme: "https", Host: u.Host}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate()) // for example.com and 127.0.0.1

	for _, c := range []struct {
		story string
		trust TLS
		name  string // that it is asked for
		wrong string // what the error says
	}{
		{"signed by one we trust", TLS{Roots: roots}, "", ""}, // nobody is asked for an address
		{"and of that name", TLS{Roots: roots, ServerName: "example.com"}, "example.com", ""},
		{"of another name", TLS{Roots: roots, ServerName: "example.org"}, "", "example.org"},
		{"signed by nobody we know", TLS{}, "", "unknown authority"},
		{"signed by somebody else", TLS{Roots: x509.NewCertPool(), ServerName: "example.com"}, "", "unknown authority"},
	} {
		other := newFake(t, says("200 OK"))
		p := newPool(t, Options{TLS: c.trust, Health: everyMillisecond}, server)
		before := calls
		_, proto, err := send(p, newCall(t.Context(), "POST", "/", "secret"))
		if c.wrong == "" {
			if err != nil || proto != "HTTP/1.1" || asked != c.name {
				t.Errorf("%s: got %q, %v, asked for %q", c.story, proto, err, asked)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.wrong) || calls != before {
			t.Errorf("%s: got %v, and %d calls arrived", c.story, err, calls-before)
		}
		p.asked(t)
		p.asked(t)
		if got := p.healthy(0); got != (c.wrong == "") {
			t.Errorf("%s: well is %v", c.story, got)
		}
		// To whom nothing was sent, another may stand in for.
		p = newPool(t, Options{TLS: c.trust}, server, other.Server)
		if _, _, err := send(p, newCall(t.Context(), "POST", "/", "secret")); err != nil {
			t.Errorf("%s: with another: %v", c.story, err)
		}
	}
}

// A handshake that does not end is no connection.
func TestAHandshakeThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody else does anything
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	second := newFake(t, says("200 OK"))
	p := newPool(t, Options{Timeouts: Timeouts{Connect: 300 * time.Millisecond}}, Server{Scheme: "https", Host: l.Addr().String()}, second.Server)
	if status, _, err := send(p, newCall(t.Context(), "POST", "/", "text")); status != 200 {
		t.Errorf("got %d, %v", status, err)
	}
}
