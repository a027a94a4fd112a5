package web_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// A readFS tells what was read of it.
type readFS struct {
	fstest.MapFS
	read atomic.Int64
}

func (f *readFS) ReadFile(name string) ([]byte, error) {
	f.read.Add(1)
	return f.MapFS.ReadFile(name)
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Of files nothing is read before somebody asks, whoever asks at once gets the same, packed or not, and no more is read then.
func TestAssets(t *testing.T) {
	text := strings.Repeat("body { margin: 0 }\n", 100)
	files := &readFS{MapFS: fstest.MapFS{"s/style.css": {Data: []byte(text)}, "s/lib.js.gz": {Data: gzipped(t, text)}}}
	assets := web.NewAssets("/x", files, map[string]web.AssetFile{
		"style": {From: "s/style.css", Name: "style.css", MediaType: "text/css; charset=utf-8"},
		"lib":   {From: "s/lib.js.gz", Name: "library.js", MediaType: "text/javascript; charset=utf-8"},
	})
	s := webtest.Serve(t, web.Config{Own: []web.Address{assets.Address()}, Fallbacks: fallbacks})
	if n := files.read.Load(); n != 0 {
		t.Errorf("%d files were read before anybody asked", n)
	}
	paths, err := assets.Paths()
	if err != nil || len(paths) != 2 {
		t.Fatalf("they are at %v: %v", paths, err)
	}
	for name, want := range map[string]struct{ path, mediaType string }{
		"style": {`^/x/style-[0-9a-f]{12}\.css$`, "text/css; charset=utf-8"}, "lib": {`^/x/library-[0-9a-f]{12}\.js$`, "text/javascript; charset=utf-8"},
	} {
		at := paths[name]
		if !regexp.MustCompile(want.path).MatchString(at) {
			t.Errorf("%s is at %s", name, at)
		}
		var small, whole webtest.Answer
		var both sync.WaitGroup
		both.Go(func() { small = s.Send(t, "GET "+at+"\nAccept-Encoding: br, gzip") })
		both.Go(func() { whole = s.Send(t, "GET "+at) })
		both.Wait()
		r, err := gzip.NewReader(strings.NewReader(small.Body))
		if err != nil {
			t.Fatal(err)
		}
		if unzipped, err := io.ReadAll(r); err != nil || string(unzipped) != text || whole.Body != text || len(small.Body) >= len(text) {
			t.Errorf("%s is not the same compressed and as it is: %v", name, err)
		}
		for _, a := range []webtest.Answer{small, whole} {
			if got := a.Header.Get("Content-Type"); got != want.mediaType || a.Header.Get("ETag") == "" {
				t.Errorf("%s: %v", name, a.Header)
			}
		}
		if again := s.Send(t, "GET "+at+"\nIf-None-Match: "+whole.Header.Get("ETag")); again.Status != 304 || again.Body != "" {
			t.Errorf("%s asked for again: %d", name, again.Status)
		}
	}
	for _, nowhere := range []string{"/x", "/x/style.css", "/x/style-000000000000.css"} {
		if a := s.Send(t, "GET "+nowhere); a.Status != 404 {
			t.Errorf("%s: %d", nowhere, a.Status)
		}
	}
	if n := files.read.Load(); n != 2 {
		t.Errorf("2 files were read %d times", n)
	}
}

// A file that is missing is an error of all; one that is not what its name says is one where that matters.
func TestBrokenAssets(t *testing.T) {
	missing := web.NewAssets("/x", fstest.MapFS{}, map[string]web.AssetFile{"style": {From: "style.css", Name: "style.css"}})
	if _, err := missing.Paths(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one is missing: %v", err)
	}
	broken := web.NewAssets("/x", fstest.MapFS{"style.css.gz": {Data: []byte("not compressed")}}, map[string]web.AssetFile{"style": {From: "style.css.gz", Name: "style.css"}})
	paths, err := broken.Paths()
	if err != nil {
		t.Fatal(err)
	}
	s := webtest.Serve(t, web.Config{Own: []web.Address{broken.Address()}, Fallbacks: fallbacks})
	if a := s.Send(t, "GET "+paths["style"]); a.Status != 500 {
		t.Errorf("what cannot be unpacked: %d", a.Status)
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
