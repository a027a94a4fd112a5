package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Assets are files that never change, each at an address that has its hash. They are read when somebody first asks for one or
// for its address, packed or unpacked when somebody first takes it so, and kept: an idle server holds none, and nobody can have
// that done again and again.
type Assets struct {
	root string
	read func() (assetsRead, error)
}

// An AssetFile says what becomes an asset.
type AssetFile struct {
	From      string // its path among the files; one that ends in .gz is compressed with gzip already
	Name      string // in the address, before the hash is put into it
	MediaType string
}

type assetsRead struct {
	paths  map[string]string // by what they are called
	byPath map[string]asset
}

// NewAssets makes assets under root of some of these files. A file that cannot be read is an error of everything else.
func NewAssets(root string, files fs.FS, called map[string]AssetFile) *Assets {
	return &Assets{root, sync.OnceValues(func() (assetsRead, error) {
		read := assetsRead{make(map[string]string), make(map[string]asset)}
		for name, f := range called {
			file, err := fs.ReadFile(files, f.From)
			if err != nil {
				return assetsRead{}, err
			}
			sum := sha256.Sum256(file)
			ext := path.Ext(f.Name)
			at := fmt.Sprintf("%s/%s-%s%s", root, strings.TrimSuffix(f.Name, ext), hex.EncodeToString(sum[:6]), ext)
			read.paths[name], read.byPath[at] = at, newAsset(f, file)
		}
		return read, nil
	})}
}

// Paths says where each is, by what it is called.
func (a *Assets) Paths() (map[string]string, error) {
	read, err := a.read()
	return read.paths, err
}

// Address is that of all of them.
func (a *Assets) Address() Address {
	return Address{Path: a.root, Prefix: true, Methods: map[string]Handler{http.MethodGet: a.serve}}
}

func (a *Assets) serve(w http.ResponseWriter, r *Request) error {
	read, err := a.read()
	if err != nil {
		return err
	}
	one, ok := read.byPath[r.Path]
	if !ok {
		return &StatusError{Status: http.StatusNotFound}
	}
	return one.serve(w, r)
}

// An asset is one file, packed and plain.
type asset struct {
	mediaType     string
	tag           string
	packed, plain func() ([]byte, error)
}

func newAsset(f AssetFile, file []byte) asset {
	given := func() ([]byte, error) { return file, nil }
	a := asset{mediaType: f.MediaType, tag: Tag(file)}
	if strings.HasSuffix(f.From, ".gz") {
		a.packed, a.plain = given, sync.OnceValues(func() ([]byte, error) { return unpack(f.From, file) })
	} else {
		a.packed, a.plain = sync.OnceValues(func() ([]byte, error) { return pack(file) }), given
	}
	return a
}

func pack(file []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, _ = w.Write(file) // to memory: it cannot fail
	_ = w.Close()
	return b.Bytes(), nil
}

func unpack(name string, file []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	return io.ReadAll(r)
}

func (a asset) serve(w http.ResponseWriter, r *Request) error {
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
	h["Vary"] = []string{"Accept-Encoding"}
	if NotModified(w, r, a.tag) {
		return nil
	}
	h["Content-Type"] = []string{a.mediaType}
	take := a.plain
	if TakesGzip(r.Header["Accept-Encoding"]) {
		h["Content-Encoding"] = []string{"gzip"}
		take = a.packed
	}
	body, err := take()
	if err != nil {
		return err
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body)
	return nil
}

// TakesGzip says whether an Accept-Encoding names gzip and does not refuse it (RFC 9110, section 12.5.3).
func TakesGzip(values []string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			coding, weight, _ := strings.Cut(one, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}
