package web

import (
	"bufio"
	"net"
	"net/http"
)

// A writer remembers what was answered.
type writer struct {
	http.ResponseWriter
	date   func() []string
	status int // 0 until the head of the final answer is out
	bytes  int64
}

// WriteHeader passes the status on. Of 1xx only 101 is final.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.head(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// head notes what the final answer's head says. Its Date is by the clock that dates our tokens, which need not be the
// machine's: a client takes from it how long a token has to live. That of an API passes as it is.
func (w *writer) head(status int) {
	w.status = status
	if h := w.Header(); h["Date"] == nil {
		h["Date"] = w.date()
	}
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.head(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered, the head included.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.head(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes the connection over: an upgrade, which [httputil.ReverseProxy] answers past WriteHeader.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if t, ok := conn.(interface{ Tunnel() error }); ok { // a listener that reads HTTP itself must be told that it is over
		if err := t.Tunnel(); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, buffered, nil
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
