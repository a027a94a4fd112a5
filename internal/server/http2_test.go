package server

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A framer speaks HTTP/2 frame by frame, over TLS. It reads nothing by itself.
type framer struct {
	*http2.Framer
	conn    net.Conn
	portion []byte // to be sent
	sent    int    // bytes
	head    []byte // of a GET of /api/wait with a token
}

// Write sends frames in portions, as a flood would be.
func (f *framer) Write(p []byte) (int, error) {
	if f.portion = append(f.portion, p...); len(f.portion) < 16<<10 {
		return len(p), nil
	}
	_, err := f.conn.Write(f.portion)
	f.sent += len(f.portion)
	f.portion = f.portion[:0]
	return len(p), err
}

func (w *world) frames(token string) *framer {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // so that a test that hangs fails
	f := &framer{conn: conn}
	f.Framer = http2.NewFramer(f, conn)
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/api/wait"}, {"authorization", "Bearer " + token},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}) // so that each is the same
	}
	f.head = head.Bytes()
	if _, err := io.WriteString(f, http2.ClientPreface); err != nil {
		w.t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// Floods of HTTP/2's own kinds stay within the bounds of their one connection, or end it, and nobody else notices.
func TestFloodsOfHTTP2(t *testing.T) {
	const enough = 1 << 20 // bytes of a flood
	for name, flood := range map[string]struct {
		ends  bool // the server ends the connection, sooner or later
		begin func(f *framer) error
		next  func(f *framer, i uint32) error
	}{
		"rapid reset": {false, nil, func(f *framer, i uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.head, EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return f.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}},
		"streams without end": {false, nil, func(f *framer, i uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.head, EndHeaders: true})
		}},
		"CONTINUATION": {true, func(f *framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head})
		}, func(f *framer, _ uint32) error {
			return f.WriteContinuation(1, false, append([]byte("\x00\x01a\x7f\x81\x3e"), make([]byte, 8000)...))
		}},
		"CONTINUATION of nothing": {false, func(f *framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.head})
		}, func(f *framer, _ uint32) error { return f.WriteContinuation(1, false, nil) }},
		"PING": {false, nil, func(f *framer, _ uint32) error { return f.WritePing(false, [8]byte{}) }},
		"SETTINGS": {false, nil, func(f *framer, _ uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var waiting, most atomic.Int64
			api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/wait" {
					most.Store(max(most.Load(), waiting.Add(1)))
					defer waiting.Add(-1)
					_, _ = io.Copy(io.Discard, r.Body) // or nobody would notice that the caller leaves
					<-r.Context().Done()
				}
			}))
			defer api.Close()
			w := newWorld(t, unlimited+"log: {level: error}\nroutes:\n- {path: /api/, accepts: [ACCESS_TOKEN], upstream: '"+api.URL+"'}\n"+
				newCertificate(t, time.Now().Add(time.Hour)))
			h := honestly(w, "https")
			f := w.frames(w.holder(auth.APIKey).access)
			var err error
			if flood.begin != nil {
				err = flood.begin(f)
			}
			for i := uint32(0); err == nil && (f.sent < enough || h.calls() < 20 || flood.ends && f.sent < 64*enough); i++ {
				err = flood.next(f, i)
			}
			for h.calls() < 20 {
				time.Sleep(time.Millisecond)
			}
			if flood.ends && err == nil {
				t.Errorf("after %d bytes it goes on", f.sent)
			}
			if n := most.Load(); n > 200 { // twice what a connection may have at once: those that were cancelled take a moment
				t.Errorf("%d calls of one connection reached the API at once", n)
			}
			_ = f.conn.Close()
			t.Logf("%d bytes, %v; at most %d calls at once reached the API; %s", f.sent, err, most.Load(), h.end())
			for w.listener.Open() > 0 || waiting.Load() > 0 { // what it left behind ends
				time.Sleep(time.Millisecond)
			}
		})
	}
}
