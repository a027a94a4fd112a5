package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// NewTransport returns a transport that knows [Trip]'s question, whether anything was sent at all. It speaks HTTP/1.1: a call
// of HTTP/2 shares its connection with others, and then no breaking of it says whose fault that was.
func NewTransport(t Timeouts, trust TLS) *http.Transport {
	d := dialer{Dialer: net.Dialer{Timeout: t.Connect, KeepAlive: 30 * time.Second}, trust: trust}
	return &http.Transport{
		Proxy:          nil, // where calls go is for the configuration to say, not for the environment
		DialContext:    d.plain,
		DialTLSContext: d.encrypted,
		// One host is all a transport has: the default of two idle connections for each would mean a new connection for
		// nearly every call under load.
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  t.Answer,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // bytes pass as they are
	}
}

// A dialer makes connections, and marks why it could not.
type dialer struct {
	net.Dialer
	trust TLS
}

// A noConnection is why there is no connection to a server. Of the call nothing was sent.
type noConnection struct{ error }

func (e noConnection) Unwrap() error { return e.error }

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, noConnection{err}
	}
	return c, nil
}

func (d *dialer) encrypted(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.plain(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, RootCAs: d.trust.Roots, ServerName: d.trust.ServerName}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr) // net/http has put it together
	}
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	encrypted := tls.Client(c, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, noConnection{fmt.Errorf("TLS with %s: %w", addr, err)}
	}
	return encrypted, nil
}
