package listen

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
)

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyHeader = 4 << 10 // of addresses and what may follow them
)

var errProxy = errors.New("it is no header that we take")

// readProxyHeader reads a header of the PROXY protocol, version 2, and not a byte behind it, and returns the source. That
// is the zero value for LOCAL: the proxy itself connects.
//
// Only TCP over IPv4 and IPv6 is taken. What may follow the addresses (TLVs) is passed over.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	var fixed [16]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	size := binary.BigEndian.Uint16(fixed[14:])
	if string(fixed[:12]) != proxySignature || size > maxProxyHeader {
		return netip.AddrPort{}, errProxy
	}
	rest := make([]byte, size)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	const local, proxy, tcp4, tcp6 = 0x20, 0x21, 0x11, 0x21
	switch command, family := fixed[12], fixed[13]; {
	case command == local:
		return netip.AddrPort{}, nil
	case command == proxy && family == tcp4 && size >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest[:4])), binary.BigEndian.Uint16(rest[8:])), nil
	case command == proxy && family == tcp6 && size >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest[:16])).Unmap(), binary.BigEndian.Uint16(rest[32:])), nil
	}
	return netip.AddrPort{}, errProxy
}
