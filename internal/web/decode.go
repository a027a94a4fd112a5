package web

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// MaxBody is the longest body that our own addresses take, in bytes.
const MaxBody = 64 << 10

// A Body is a pointer to a struct of strings that a body of JSON is read into.
type Body[T any] interface {
	*T
	// Member returns where the value of the member of this exact name goes, nil if it has none.
	Member(name string) *string
}

// Decode reads the request's body, one strict value of JSON, into a T. A member that is missing or no string leaves its
// field empty, and so does a body that is no object: whoever needs it asks whether it is.
//
// The errors, in the order of looking: a [StatusError] of 413 for a body over [MaxBody], of 400 for one that does not
// arrive, of 415 for one that is not application/json; [ErrSyntax].
func Decode[T any, P Body[T]](r *Request) (T, error) {
	var t T
	body, err := readBody(r)
	if err != nil {
		return t, err
	}
	if !isMedia(r.Header, "application/json") {
		return t, &StatusError{Status: http.StatusUnsupportedMediaType}
	}
	if !readObject(body, P(&t).Member) {
		var none T
		return none, ErrSyntax
	}
	return t, nil
}

// Discard reads past a body that nobody asked for. One over [MaxBody] is a [StatusError] of 413.
func Discard(r *Request) error {
	_, err := readBody(r)
	return err
}

// bodies are buffers that a body is gathered in; a longer one than usual gets a buffer that is not kept.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const usualBody = 4 << 10

func readBody(r *Request) (string, error) {
	if r.ContentLength > MaxBody {
		return "", &StatusError{Status: http.StatusRequestEntityTooLarge}
	}
	if r.ContentLength == 0 || r.Body == nil {
		return "", nil
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if clear(buf.Bytes()); buf.Cap() <= usualBody {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	_, err := buf.ReadFrom(io.LimitReader(r.Body, MaxBody+1))
	if err != nil { // too slow, cut off, or bad chunks: that is framing
		return "", &StatusError{Status: http.StatusBadRequest, Err: err}
	}
	if buf.Len() > MaxBody {
		return "", &StatusError{Status: http.StatusRequestEntityTooLarge}
	}
	// It is all here. What comes next may wait for others longer than a body may take.
	r.awaitBody(0)
	return buf.String(), nil
}

// isMedia says whether the body is of this media type, as such and in UTF-8.
func isMedia(h http.Header, wanted string) bool {
	types := h["Content-Type"]
	if len(types) != 1 || len(h["Content-Encoding"]) != 0 {
		return false
	}
	if types[0] == wanted {
		return true
	}
	media, parameters, err := mime.ParseMediaType(types[0])
	if err != nil || media != wanted {
		return false
	}
	charset, given := parameters["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
