package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// connections is how many clients ask at once, each with one request under way.
const connections = 64

// A conn is one keep-alive connection. It reads no more of an answer than it must, because every microsecond it takes is
// taken from the server, which runs on the same cores.
type conn struct {
	net.Conn
	buf []byte
}

func dial(ctx context.Context, address string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, buf: make([]byte, 16<<10)}, nil
}

// ask sends request and returns the answer, good until the next call.
func (c *conn) ask(request []byte) (status int, body []byte, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, nil, err
	}
	n, head := 0, -1
	for head < 0 {
		if n == len(c.buf) {
			return 0, nil, errors.New("the head of an answer is too long")
		}
		m, err := c.Read(c.buf[n:])
		if err != nil {
			return 0, nil, err
		}
		n += m
		head = bytes.Index(c.buf[:n], []byte("\r\n\r\n"))
	}
	status, length, err := parseHead(c.buf[:head+2])
	if err != nil {
		return 0, nil, err
	}
	head += len("\r\n\r\n")
	if length == chunked {
		return c.chunks(status, head, n)
	}
	if head+length > len(c.buf) {
		return 0, nil, errors.New("an answer is too long")
	}
	for n < head+length {
		m, err := c.Read(c.buf[n:])
		if err != nil {
			return 0, nil, err
		}
		n += m
	}
	return status, c.buf[head : head+length], nil
}

// lastChunk ends a body in chunks. No chunk of our answers has it within.
var lastChunk = []byte("\r\n0\r\n\r\n")

// chunks reads a body in chunks, of which n bytes, the head among them, have come. It returns the chunks as they are.
func (c *conn) chunks(status, head, n int) (int, []byte, error) {
	for !bytes.HasSuffix(c.buf[head:n], lastChunk) {
		if n == len(c.buf) {
			return 0, nil, errors.New("an answer is too long")
		}
		m, err := c.Read(c.buf[n:])
		if err != nil {
			return 0, nil, err
		}
		n += m
	}
	return status, c.buf[head:n], nil
}

var (
	contentLength = []byte("\r\nContent-Length: ")
	inChunks      = []byte("\r\nTransfer-Encoding: chunked\r\n")
)

// chunked is the length of a body that says it at its end.
const chunked = -1

// parseHead reads the status and the length of the body, which is all that matters here.
func parseHead(head []byte) (status, length int, err error) {
	if len(head) < len("HTTP/1.1 200") || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("not an answer: %q", head)
	}
	status = int(head[9]-'0')*100 + int(head[10]-'0')*10 + int(head[11]-'0')
	if bytes.Contains(head, inChunks) {
		return status, chunked, nil
	}
	_, rest, ok := bytes.Cut(head, contentLength)
	digits, _, end := bytes.Cut(rest, []byte("\r\n"))
	if !ok || !end {
		return 0, 0, fmt.Errorf("an answer with neither Content-Length nor chunks: %q", head)
	}
	length, err = strconv.Atoi(string(digits))
	return status, length, err
}

// A traffic says what one connection asks, again and again.
type traffic interface {
	// next returns the next request. It may use buf for it.
	next(buf []byte) []byte
	// took sees the answer to it; an error ends the run.
	took(status int, body []byte) error
}

// A crowd is the clients of one side.
type crowd struct {
	addresses []string  // the connections take them in turn
	traffic   []traffic // of each connection
}

func newCrowd(addresses []string, each func(i int) (traffic, error)) (*crowd, error) {
	c := &crowd{addresses: addresses}
	for i := range connections {
		t, err := each(i)
		if err != nil {
			return nil, err
		}
		c.traffic = append(c.traffic, t)
	}
	return c, nil
}

// turn asks so many requests in all and returns how long that took. Its connections are its own: a server may have closed
// older ones in the meantime.
func (c *crowd) turn(ctx context.Context, requests int) (time.Duration, error) {
	conns := make([]*conn, connections)
	for i := range conns {
		conn, err := dial(ctx, c.addresses[i%len(c.addresses)])
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		conns[i] = conn
	}
	// The end of ctx must end reads that wait.
	defer context.AfterFunc(ctx, func() {
		for _, conn := range conns {
			conn.SetDeadline(time.Unix(1, 0))
		}
	})()
	var left atomic.Int64
	left.Store(int64(requests))
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	began := time.Now()
	for i, conn := range conns {
		wg.Go(func() {
			t, buf := c.traffic[i], make([]byte, 0, 4<<10)
			for left.Add(-1) >= 0 {
				status, body, err := conn.ask(t.next(buf))
				if err == nil {
					err = t.took(status, body)
				}
				if err != nil {
					errs[i] = err
					left.Store(0)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	return took, errors.Join(append(errs, context.Cause(ctx))...)
}
