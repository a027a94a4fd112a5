package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// An Asset is a file that never changes: its address has its hash.
type Asset struct {
	Path       string
	mediaType  string
	tag        string
	compressed []byte
	plain      func() ([]byte, error) // unpacked when somebody first asks for it so, and kept: nobody can have that done again and again
}

// NewAsset makes an asset under root of a file, which is compressed with gzip already if its name ends in .gz.
func NewAsset(root, name, mediaType string, file []byte) (Asset, error) {
	name, isCompressed := strings.CutSuffix(name, ".gz")
	if !isCompressed {
		var c bytes.Buffer
		w, err := gzip.NewWriterLevel(&c, gzip.BestCompression)
		if err != nil {
			return Asset{}, err
		}
		_, _ = w.Write(file) // to memory: it cannot fail
		_ = w.Close()
		file = c.Bytes()
	}
	plain, err := unpack(file)
	if err != nil {
		return Asset{}, fmt.Errorf("%s: %w", name, err)
	}
	sum := sha256.Sum256(plain)
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return Asset{}, fmt.Errorf("%s: a file without an extension", name)
	}
	return Asset{
		Path:      fmt.Sprintf("%s/%s-%s%s", root, name[:dot], hex.EncodeToString(sum[:6]), name[dot:]),
		mediaType: mediaType, tag: Tag(plain), compressed: file,
		plain: sync.OnceValues(func() ([]byte, error) { return unpack(file) }),
	}, nil
}

func unpack(file []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Size is how much of it travels to whoever takes gzip, in bytes.
func (a Asset) Size() int { return len(a.compressed) }

// Serve answers with the file.
func (a Asset) Serve(w http.ResponseWriter, r *Request) error {
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
	h["Vary"] = []string{"Accept-Encoding"}
	if NotModified(w, r, a.tag) {
		return nil
	}
	h["Content-Type"] = []string{a.mediaType}
	body := a.compressed
	if TakesGzip(r.Header["Accept-Encoding"]) {
		h["Content-Encoding"] = []string{"gzip"}
	} else {
		var err error
		if body, err = a.plain(); err != nil {
			return err
		}
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
