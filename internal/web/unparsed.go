package web

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
)

// Unparsed returns the whole answer to a request that was refused before net/http could make one of it: its head could not
// be read, or not in one way only. It is 400, or the status of a [StatusError], in the words of the target's contract, as
// far as there is a target, with everything that other answers have, and it is observed like them. Whoever sends it closes
// the connection: where the next request would begin nobody knows.
//
// remote is the peer, as in [http.Request.RemoteAddr]; method and target are what the request line said, "" if nothing;
// why is for the log.
func (f *Floor) Unparsed(remote, method, target string, why error) []byte {
	recorded := &recorder{header: make(http.Header)}
	one := &request{}
	one.w.ResponseWriter = recorded
	func() {
		defer func() { _ = recover() }() // the connection is closed anyway
		defer f.finish(one)
		f.begin(one, recorded, &http.Request{
			Method: method, RequestURI: target, RemoteAddr: remote, Header: make(http.Header), Body: http.NoBody,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		})
		f.unrouted(&one.r, target)
		var status *StatusError
		if !errors.As(why, &status) {
			why = &StatusError{Status: http.StatusBadRequest, Err: why}
		}
		f.refuse(&one.w, &one.r, why)
	}()
	return recorded.answer(f.date(), method != http.MethodHead)
}

// A recorder keeps an answer in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *recorder) answer(date []string, withBody bool) []byte {
	if r.status == 0 {
		r.status = http.StatusInternalServerError
	}
	r.header["Date"] = date
	r.header["Connection"] = []string{"close"}
	r.header["Content-Length"] = []string{strconv.Itoa(r.body.Len())}
	var out bytes.Buffer
	out.WriteString("HTTP/1.1 " + strconv.Itoa(r.status) + " " + http.StatusText(r.status) + "\r\n")
	_ = r.header.Write(&out) // a Buffer takes everything
	out.WriteString("\r\n")
	if withBody {
		out.Write(r.body.Bytes())
	}
	return out.Bytes()
}
