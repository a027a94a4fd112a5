package beside

import (
	"net"
	"testing"
)

// Who asks for two ports is given two, and none that is taken.
func TestFreePorts(t *testing.T) {
	const from, to = 10100, 10130
	taken := make(map[int]bool)
	for len(taken) < 5 {
		port, err := FreePort(from, to)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			continue // another test of this machine was quicker
		}
		defer l.Close()
		if port < from || port >= to || taken[port] || Free(port) {
			t.Errorf("%d was given, which is not free or not of the range", port)
		}
		taken[port] = true
	}
	if a, b := FreeAddress(t), FreeAddress(t); a == b {
		t.Errorf("%s was given twice", a)
	}
}

func TestNoPortIsFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	if got, err := FreePort(port, port+1); err == nil {
		t.Errorf("got %d, which is taken", got)
	}
}
