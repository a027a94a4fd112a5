package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/web"
)

// readCertificates makes what the listeners show.
func (s *Server) readCertificates(c *config.Config) error {
	var err error
	if c.TLS.On() {
		files := config.AdminTLS{
			CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCAFile: c.TLS.ClientCAFile, ClientCertificates: c.TLS.ClientCertificates,
		}
		if s.certificates, err = s.newCertificates(files, newACME(c)); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	if c.AdminTLS.CertFile != "" {
		if s.adminCertificates, err = s.newCertificates(c.AdminTLS, nil); err != nil {
			return fmt.Errorf("admin_tls: %w", err)
		}
	}
	return nil
}

func (s *Server) newCertificates(files config.AdminTLS, acme *listen.ACMEConfig) (*listen.Certificates, error) {
	return listen.NewCertificates(listen.CertificatesConfig{
		CertFile: files.CertFile, KeyFile: files.KeyFile, ACME: acme, Log: s.log,
		ClientCAFile: files.ClientCAFile, ClientsMayHaveNone: files.ClientCertificates == config.CertificateOptional,
	})
}

// newACME is what the listener is to get by itself; nil: nothing.
func newACME(c *config.Config) *listen.ACMEConfig {
	a := c.TLS.ACME
	if len(a.Hosts) == 0 {
		return nil
	}
	return &listen.ACMEConfig{
		Hosts: a.Hosts, Email: a.Email, Directory: a.Directory, CAFile: a.CAFile, Cache: ACMEPath(c.DataDir),
	}
}

// ACMEPath is the folder in a data directory where what ACME gets is kept.
func ACMEPath(dataDir string) string { return filepath.Join(dataDir, "acme") }

// listen opens both addresses, and makes the servers for them.
func (s *Server) listen(ctx context.Context) error {
	c := s.config()
	var err error
	s.listener, err = newListener(ctx, "listen", c.Listen, s.options.Listener, listen.Config{
		Refuse: func(remote, method, target string, why *listen.Refusal) []byte {
			return s.current.Load().floor.Unparsed(remote, method, target, &web.StatusError{Status: why.Status, Err: why})
		},
		Certificates: s.certificates, ProxyProtocol: c.ProxyProtocol,
		Trusts: func(peer netip.Addr) bool { return s.current.Load().proxies.Trusts(peer) },

		Max: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress, Log: s.log,
		HeadTime: s.options.headTime, Stall: s.options.stall,
	})
	if err != nil {
		return err
	}
	if s.adminListen, err = newListener(ctx, "admin_listen", c.AdminListen, s.options.AdminListener, listen.Config{
		Refuse: refuseAdmin, Certificates: s.adminCertificates, Log: s.log,
	}); err != nil {
		return err
	}
	errorLog := slog.NewLogLogger(s.access.Handler(), slog.LevelDebug) // what clients do wrong on the wire
	s.public = web.NewServer(s.listener.Handler(http.HandlerFunc(s.serve)), errorLog)
	s.public.RegisterOnShutdown(s.feed.Stop) // or who waits for revocations would be waited for
	s.admin = web.NewServer(s.adminListen.Handler(s.adminHandler()), log.New(io.Discard, "", 0))
	return nil
}

// serve serves a request under the setup that is in force when it comes.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.current.Load().floor.ServeHTTP(w, r)
}

// newListener listens where inner does, or, without one, at address, which is the value of key.
func newListener(ctx context.Context, key, address string, inner net.Listener, c listen.Config) (*listen.Listener, error) {
	if inner != nil {
		return listen.New(inner, c)
	}
	inner, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: set %s to an address that is free, for instance with port 0", key, err, key)
	}
	return listen.New(inner, c)
}

// refuseAdmin is the answer of admin_listen to what is no request.
func refuseAdmin(_, _, _ string, why *listen.Refusal) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", why.Status, http.StatusText(why.Status))
}

var errClearText = errors.New("it came in clear text, and require_https is set")

// encrypted refuses what came in clear text.
func encrypted(proxies limit.Proxies, next web.Handler) web.Handler {
	if next == nil {
		return nil
	}
	return func(w http.ResponseWriter, r *web.Request) error {
		if err := inClearText(proxies, r); err != nil {
			return err
		}
		return next(w, r)
	}
}

// inClearText is an error if a request came so, on whichever part of its way we know of. Of a proxy's word for it, each has
// to be good: what stands there may be a list, to which the client wrote the first.
func inClearText(proxies limit.Proxies, r *web.Request) error {
	good := r.TLS != nil
	if said := r.Header["X-Forwarded-Proto"]; len(said) > 0 && proxies.Trusts(r.Caller.Peer) {
		good = !slices.ContainsFunc(strings.Split(strings.Join(said, ","), ","), func(one string) bool {
			return !strings.EqualFold(strings.TrimSpace(one), "https")
		})
	}
	if !good {
		return &web.StatusError{Status: http.StatusBadRequest, Err: errClearText}
	}
	return nil
}
