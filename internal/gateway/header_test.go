package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
)

// rawAPI answers every request with 200 and hands over the head of each as it came over the wire.
func rawAPI(t *testing.T) (api string, heads chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heads = make(chan string, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					var head strings.Builder
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							return
						}
						if line == "\r\n" {
							break
						}
						head.WriteString(line)
					}
					heads <- head.String()
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), heads
}

// asCGI is a header's name as programs behind CGI see it, and servers that are no less careless.
func asCGI(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c - 'a' + 'A'
		}
		if c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name)
}

// Whoever the client says it is, however it spells it, the API sees one value of each header, and that is ours.
func TestSpellingsOfIdentity(t *testing.T) {
	api, heads := rawAPI(t)
	r := protected("/")
	r.Upstreams = []*url.URL{parse(t, api)}
	r.Identity = map[string]Fact{"X-Tenant-Id": Account}
	h := newHouse(t, nil, []Route{r})
	h.gate.scope = "a b"

	for _, spelled := range []string{
		"%s: mallory",
		"%[2]s: mallory",
		"%[3]s: mallory",
		"%[4]s: mallory",
		"%[5]s: mallory",
		"%[6]s: mallory",
		"%[7]s: mallory",
		"%[8]s: mallory",
		"%[9]s: mallory",
		"%[10]s: mallory",
		"%s:mallory",
		"%s:\tmallory",
		"%s:",
		"%s: mallory\r\n%[1]s: eve",
		"%s: mallory\r\n%[3]s: eve",
		"%s: mallory, eve",
		"%[3]s: mallory\r\n%[4]s: eve",
		"Connection: %s",
		"Connection: %s, close",
		"Connection: %[3]s",
		"Connection: keep-alive, %[2]s",
		"Connection: keep-alive\r\nConnection: %s",
		"Connection: %s\r\n%[1]s: mallory",
		"Connection: %[3]s\r\n%[3]s: mallory",
		"Connection: close, %s, %[3]s\r\n%[1]s: mallory\r\n%[3]s: eve",
		"Proxy-Connection: %s",
		"Keep-Alive: %s",
		"TE: %s",
		"Trailer: %s",
		"Connection: Authorization, %s",
		"Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-Id, X-Auth-Account, X-Auth-Type",
		"X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.2\r\nx-forwarded-for: 10.0.0.3",
	} {
		for name, want := range map[string]string{
			"X-Auth-Account": "100001", "X-Auth-Account-Ref": "C-1", "X-Auth-Credential": "cred00000001", "X-Auth-Type": "B2B_ACCESS",
			"X-Auth-Scope": "a b", "X-Tenant-Id": "100001", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "api.example.com",
			"X-Forwarded-Proto": "http", "X-Request-Id": "",
		} {
			header := fmt.Sprintf(spelled+"%.0[11]s", name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_"),
				strings.ToLower(strings.ReplaceAll(name, "-", "_")), strings.ToUpper(name), strings.Replace(name, "-", "_", 1),
				strings.ReplaceAll(name, "-", "."), strings.ReplaceAll(name, "-", "~"), strings.ReplaceAll(name, "-", "+"),
				strings.ReplaceAll(name, "-", "'"), "")
			conn := h.dial()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: api.example.com\r\n%s\r\n%s\r\n\r\n", withToken, header)
			answer := h.read("GET", bufio.NewReader(conn))
			if answer.StatusCode != 200 {
				t.Errorf("%q: got %d", header, answer.StatusCode)
				continue
			}
			if name == "X-Request-Id" {
				want = answer.Header.Get("X-Request-Id")
			}
			head := <-heads
			var values []string
			for line := range strings.SplitSeq(head, "\r\n") {
				n, v, _ := strings.Cut(line, ":")
				if asCGI(n) == asCGI(name) {
					values = append(values, n+":"+v)
				}
			}
			if len(values) != 1 || values[0] != name+": "+want {
				t.Errorf("%q: the API sees %q, want one %s: %s", header, values, name, want)
			}
			// A request id is drawn from letters too, and now and then there is an eve among them.
			if said := strings.ReplaceAll(head, answer.Header.Get("X-Request-Id"), ""); strings.Contains(said, "mallory") || strings.Contains(said, "eve") {
				t.Errorf("%q: the API sees\n%s", header, head)
			}
			_ = conn.Close()
		}
	}
}

// What claims another address, host, path or method than the one that was judged goes no further, and neither do
// credentials.
func TestWhatGoesNoFurther(t *testing.T) {
	api, heads := rawAPI(t)
	r := protected("/")
	r.Upstreams = []*url.URL{parse(t, api)}
	h := newHouse(t, nil, []Route{r})
	for _, name := range []string{
		"Forwarded", "X-Forwarded", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Prefix", "X-Forwarded-Ssl",
		"X_FORWARDED_PREFIX", "X-Real-IP", "X_Real_IP", "x-real-ip", "True-Client-IP", "True_Client-IP", "X-Client-IP", "CF-Connecting-IP",
		"cf_connecting_ip", "X-Original-URL", "X-Original-Method", "X-Original-Host", "x_original_uri", "X-Rewrite-URL", "X_Rewrite_Url",
		"X-HTTP-Method-Override", "X-Http-Method-Override", "X_HTTP_METHOD_OVERRIDE", "X-Method-Override", "X-HTTP-Method",
		"Proxy-Authorization", "Proxy_Authorization", "DPoP", "dpop", "X-LIQUID-API-KEY", "x_liquid_api_key", "X-Liquid.Api.Key",
		"X-Forwarded-" + strings.Repeat("a", 1000), "X_Original_" + strings.Repeat("_", 1000),
	} {
		if answer := h.do("GET", "/", "", withToken, name+": mallory"); answer.StatusCode != 200 {
			t.Errorf("%s: got %d", name, answer.StatusCode)
			continue
		}
		if head := <-heads; strings.Contains(head, "mallory") || strings.Contains(head, "good") {
			t.Errorf("%s: the API sees\n%s", name, head)
		}
	}
	// The rest is the API's own.
	for _, name := range []string{
		"Accept", "X-Auth", "X-Auth-Account-Id", "X-Authorization", "X-Forward", "X-Origin", "Xforwarded-For", "X-LIQUID-API-SDK", "Tenant", "_",
		strings.Repeat("x-", 32), strings.Repeat("x-", 33), "A",
	} {
		h.do("GET", "/", "", withToken, name+": kept")
		if head := <-heads; strings.Count(head, ": kept\r\n") != 1 {
			t.Errorf("%s: the API sees\n%s", name, head)
		}
	}
}

func FuzzStripSet(f *testing.F) {
	for _, name := range append(ours, "", "_", "X-Forwarded-", "x_original_x", "X-Key", strings.Repeat("X-Original-", 10)) {
		f.Add(name)
	}
	s := newStripSet("X-Key", "tenant", "")
	all := append([]string{"X-Key", "tenant"}, ours...)
	f.Fuzz(func(t *testing.T, name string) {
		want := strings.HasPrefix(asCGIBytes(name), "X_FORWARDED_") || strings.HasPrefix(asCGIBytes(name), "X_ORIGINAL_")
		for _, one := range all {
			want = want || asCGIBytes(one) == asCGIBytes(name)
		}
		if got := s.has(name); got != want {
			t.Errorf("%q: got %t, want %t", name, got, want)
		}
	})
}

// asCGIBytes is asCGI for what need not be UTF-8.
func asCGIBytes(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 0x80 {
			b[i] = '_'
		}
	}
	return asCGI(string(b))
}

func BenchmarkStrip(b *testing.B) {
	s := newStripSet("X-LIQUID-API-KEY", "X-Tenant")
	names := []string{
		"Accept", "Accept-Encoding", "Content-Type", "Content-Length", "User-Agent", "Authorization", "X-Liquid-Api-Key", "X-Liquid-Api-Sdk", "Cookie",
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, name := range names {
			if s.has(name) {
				n++
			}
		}
		if n != 2 {
			b.Fatal(n)
		}
	}
}
