package beside

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// turn is whose turn it is of the ports of a range. It goes on with each that is looked at, so that nobody is given one twice
// in a row, and begins somewhere, for other tests of this machine look for theirs meanwhile.
var turn = func() *atomic.Uint32 {
	t := new(atomic.Uint32)
	t.Store(rand.Uint32N(1 << 16))
	return t
}()

// FreePort finds a port of the loopback that nobody listens on, from a range that ends before to. That should not be above
// 32768, where those begin that the kernel lends to connections: one of these might have the port before the server has, or
// while it is down.
func FreePort(from, to int) (int, error) {
	for range 100 {
		port := from + int(turn.Add(1))%(to-from)
		if Free(port) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}

// Free says whether nobody listens on a port of the loopback.
func Free(port int) bool {
	l, err := net.Listen("tcp", Address(port))
	return err == nil && l.Close() == nil
}

// Address is a port of the loopback, as host:port.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FindAddress finds an address of the loopback that nobody listens on.
func FindAddress() (string, error) {
	port, err := FreePort(10100, 18000)
	return Address(port), err
}

// FreeAddress is [FindAddress] for a test.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := FindAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
