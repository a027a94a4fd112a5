package fault

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every connection with what it sends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T, to string) *Link {
	t.Helper()
	l, err := Listen(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, l *Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// said sends a word and waits for it to come back.
func said(c net.Conn, word string, patience time.Duration) error {
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	return heard(c, len(word), patience)
}

func heard(c net.Conn, n int, patience time.Duration) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(c, make([]byte, n))
	return err
}

const long, short = 10 * time.Second, 50 * time.Millisecond

func TestWhole(t *testing.T) {
	l := open(t, echo(t))
	c := dial(t, l)
	sent := bytes.Repeat([]byte("gatehouse"), 100_000)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
	}
}

func TestCut(t *testing.T) {
	l := open(t, echo(t))
	c := dial(t, l)
	if err := said(c, "hello", long); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if err := heard(c, 1, long); err == nil || isTimeout(err) {
		t.Errorf("cut: got %v", err)
	}
	if err := refused(l); err != nil {
		t.Errorf("while it is cut: %v", err)
	}
	l.Mend()
	c = dial(t, l)
	if err := said(c, "hello", long); err != nil {
		t.Error(err)
	}
	l.Drop()
	if err := heard(c, 1, long); err == nil || isTimeout(err) {
		t.Errorf("dropped: got %v", err)
	}
	if err := said(dial(t, l), "hello", long); err != nil {
		t.Error(err)
	}
}

func TestSilence(t *testing.T) {
	l := open(t, echo(t))
	before := dial(t, l)
	if err := said(before, "hello", long); err != nil {
		t.Fatal(err)
	}
	l.Silence()
	l.Silence()
	during := dial(t, l)
	for _, c := range []net.Conn{before, during} {
		if err := said(c, "hello", short); !isTimeout(err) {
			t.Errorf("got %v, want silence", err)
		}
	}
	l.Mend()
	for _, c := range []net.Conn{before, during} {
		if err := heard(c, len("hello"), long); err != nil {
			t.Errorf("what was sent meanwhile: %v", err)
		}
	}
	l.Silence()
	if err := l.Close(); err != nil { // and it does not hang
		t.Error(err)
	}
}

func TestDelayAndNobodyThere(t *testing.T) {
	to := echo(t)
	l := open(t, to)
	l.Delay(short)
	began := time.Now()
	if err := said(dial(t, l), "hello", long); err != nil || time.Since(began) < 2*short {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	l.Close()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	if err := refused(open(t, nobody.Addr().String())); err != nil {
		t.Errorf("a server that is not there: %v", err)
	}
}

// refused makes sure that a new connection ends at once.
func refused(l *Link) error {
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		return nil
	}
	defer c.Close()
	if err := said(c, "hello", long); err == nil || isTimeout(err) {
		return fmt.Errorf("got %v", err)
	}
	return nil
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
