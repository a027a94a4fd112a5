package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

func TestAnAsset(t *testing.T) {
	text := strings.Repeat("body { margin: 0 }\n", 100)
	a, err := web.NewAsset("/x", "style.css", "text/css; charset=utf-8", []byte(text))
	if err != nil || !strings.HasPrefix(a.Path, "/x/style-") || !strings.HasSuffix(a.Path, ".css") || a.Size() >= len(text) {
		t.Fatalf("%s of %d bytes: %v", a.Path, a.Size(), err)
	}
	s := webtest.Serve(t, web.Config{Own: []web.Address{{Path: a.Path, Methods: get(a.Serve)}}, Fallbacks: fallbacks})
	small, whole := s.Send(t, "GET "+a.Path+"\nAccept-Encoding: br, gzip"), s.Send(t, "GET "+a.Path)
	r, err := gzip.NewReader(strings.NewReader(small.Body))
	if err != nil {
		t.Fatal(err)
	}
	if unzipped, err := io.ReadAll(r); err != nil || !bytes.Equal(unzipped, []byte(text)) || whole.Body != text {
		t.Errorf("it is not the same compressed and as it is: %v", err)
	}
	if again := s.Send(t, "GET "+a.Path+"\nIf-None-Match: "+whole.Header.Get("ETag")); again.Status != 304 || again.Body != "" {
		t.Errorf("asked for again: %d", again.Status)
	}
	if _, err := web.NewAsset("/x", "style.css.gz", "text/css", []byte("not compressed")); err == nil {
		t.Error("a file that is not what its name says is taken")
	}
}

func TestTakesGzip(t *testing.T) {
	for values, want := range map[string]bool{
		"": false, "gzip": true, "br, GZIP": true, "gzip;q=0": false, "br;q=1, gzip; q=0.5": true, "gzip;q=0.0": false, "identity": false, "xgzip": false,
	} {
		if got := web.TakesGzip([]string{values}); got != want {
			t.Errorf("%q: %v", values, got)
		}
	}
}
