package listen_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// BenchmarkServe is a request and its answer over a kept connection, with a Listener and without.
func BenchmarkServe(b *testing.B) {
	handler := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "ok") })
	bench := func(b *testing.B, l net.Listener, h http.Handler) {
		server := web.NewServer(h, nil)
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		br := bufio.NewReader(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := io.WriteString(c, "GET /x HTTP/1.1\r\n"+host+"Accept: application/json\r\n\r\n"); err != nil {
				b.Fatal(err)
			}
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	}
	open := func(b *testing.B) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	b.Run("without", func(b *testing.B) { bench(b, open(b), handler) })
	b.Run("with", func(b *testing.B) {
		l, err := listen.New(open(b), listen.Config{Refuse: func(string, string, string, *listen.Refusal) []byte { return nil }})
		if err != nil {
			b.Fatal(err)
		}
		bench(b, l, l.Handler(handler))
	})
}
