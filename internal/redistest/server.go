package redistest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/certtest"
)

// A Server is one Redis server with its folder and its port, both of which it keeps while it is down. One goroutine at a time
// starts and ends it.
type Server struct {
	config  Config
	program string
	dir     string
	port    int
	roots   *x509.CertPool // nil: clear text
	guard   *beside.Guard

	process *beside.Process // nil: it was never started
}

// New makes a server and starts it. Whoever has no test to end it calls [Server.Close]; if he does not come to it, it ends
// with his program.
func New(c Config) (*Server, error) {
	found, err := program()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, program: found}
	if s.dir, err = os.MkdirTemp("", "gatehouse-redis-"); err != nil {
		return nil, err
	}
	if s.guard, err = beside.Watch(guardian, s.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if c.TLS {
		if err := s.trust(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	// Somebody may take the port between our finding it free and the server's listening.
	for range 5 {
		if s.port, err = freePort(c.cluster); err != nil {
			break
		}
		if err = s.Restart(); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("start Redis: %w", errors.Join(err, s.Close()))
}

// freePort finds a port that nobody listens on. A member of a cluster needs a second one, for its bus.
func freePort(cluster bool) (int, error) {
	for range 100 {
		port, err := beside.FreePort(11000, 18000)
		if err != nil || !cluster || beside.Free(port+busAbove) {
			return port, err
		}
	}
	return 0, errors.New("no port is free that has one for its bus")
}

// busAbove is how far above its port a member of a cluster has its bus.
const busAbove = 10000

// guardian ends the process whose number lies in the folder, and removes that.
const guardian = `
[ -e "$1/pid" ] && kill -KILL "$(cat "$1/pid")" 2>/dev/null
rm -rf "$1"
`

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// String says where it listens.
func (s *Server) String() string { return "redis on " + s.Addr() }

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return beside.Address(s.port) }

func (s *Server) bus() int { return s.port + busAbove }

// CAFile is the file with the authority of its certificate, for one with TLS.
func (s *Server) CAFile() string { return s.file("ca.pem") }

// URL is how it is written in a configuration: redis://:password@127.0.0.1:11000, rediss://127.0.0.1:11000?ca_file=….
func (s *Server) URL() string { return URL(s.config, s.CAFile(), s.Addr()) }

// URL is that of servers that are like c and listen at addresses, or of proxies in front of them.
func URL(c Config, caFile string, addresses ...string) string {
	u := url.URL{Scheme: "redis", Host: strings.Join(addresses, ",")}
	if c.Password != "" {
		u.User = url.UserPassword("", c.Password)
	}
	if c.TLS {
		u.Scheme, u.RawQuery = "rediss", url.Values{"ca_file": {caFile}}.Encode()
	}
	return u.String()
}

// Restart starts a server that is down, on the port it had, and returns when it answers. It is empty.
func (s *Server) Restart() error {
	port := strconv.Itoa(s.port)
	args := []string{"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}
	if s.config.TLS {
		args = append(args, "--port", "0", "--tls-port", port, "--tls-auth-clients", "no", "--tls-cluster", "yes",
			"--tls-cert-file", s.file("cert.pem"), "--tls-key-file", s.file("key.pem"), "--tls-ca-cert-file", s.CAFile())
	} else {
		args = append(args, "--port", port)
	}
	if s.config.Password != "" {
		args = append(args, "--requirepass", s.config.Password)
	}
	if s.config.cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000",
			"--cluster-port", strconv.Itoa(s.bus()))
	}
	cmd := exec.Command(s.program, append(args, s.config.Args...)...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	started, err := beside.Start(cmd, s.file("log"))
	if err != nil {
		return err
	}
	s.process = started
	if err := os.WriteFile(s.file("pid"), []byte(strconv.Itoa(started.Pid)), 0o600); err != nil {
		return errors.Join(err, s.Kill())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.until(ctx, s.answers); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

// until waits for done, and returns what is wrong with it when ctx or the server ends.
func (s *Server) until(ctx context.Context, done func(context.Context) error) error {
	for {
		err := done(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Ended:
			return fmt.Errorf("%s has ended: %w; its log ends:\n%s", s, err, beside.LogTail(s.file("log")))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; its log ends:\n%s", s, err, beside.LogTail(s.file("log")))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// answers says whether it is our own server that answers, and not another that has the port.
func (s *Server) answers(ctx context.Context) error {
	return s.says(ctx, "process_id:"+strconv.Itoa(s.process.Pid), "INFO", "server")
}

// whole says whether it has heard of all the cluster's keys.
func (s *Server) whole(ctx context.Context) error {
	return errors.Join(s.says(ctx, "cluster_state:ok", "CLUSTER", "INFO"), s.says(ctx, "cluster_known_nodes:3", "CLUSTER", "INFO"))
}

func (s *Server) says(ctx context.Context, line string, args ...any) error {
	c := s.client()
	defer c.Close()
	said, err := c.Do(ctx, args...).Text()
	if err == nil && !strings.Contains(said, line+"\r\n") {
		err = fmt.Errorf("it does not say %s", line)
	}
	return err
}

func (s *Server) client() *redis.Client {
	logging.Disable() // it tells of every connection that is refused, and servers here are down half of the time
	options := &redis.Options{
		Addr: s.Addr(), Password: s.config.Password, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		ContextTimeoutEnabled: true, ReadTimeout: patience,
	}
	if s.roots != nil {
		options.TLSConfig = &tls.Config{RootCAs: s.roots}
	}
	return redis.NewClient(options)
}

// Do asks the server one thing, over a connection of its own: Do("SET", "k", "v"). What is not there is [redis.Nil].
func (s *Server) Do(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.client()
	defer c.Close()
	return c.Do(ctx, args...).Result()
}

// Flush forgets all keys.
func (s *Server) Flush() error {
	_, err := s.Do("FLUSHALL")
	return err
}

// Lasting are the keys that have no expiry, and the number of all there are.
func (s *Server) Lasting() (lasting []string, all int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.client()
	defer c.Close()
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		all++
		ttl, err := c.PTTL(ctx, keys.Val()).Result()
		if err != nil {
			return lasting, all, err
		}
		if ttl == -1 { // nanoseconds: as Redis says it
			lasting = append(lasting, keys.Val())
		}
	}
	return lasting, all, keys.Err()
}

// Freeze stops it in its tracks: connections stand, and are not answered.
func (s *Server) Freeze() error { return s.process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.process.Signal(syscall.SIGCONT) }

// Kill ends it as a power cut would, frozen or not, and returns when it is gone.
func (s *Server) Kill() error {
	if !s.process.Running() {
		return nil
	}
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.process.Ended
	return os.Remove(s.file("pid"))
}

// Close ends it at once and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.Kill(), s.guard.Close(), os.RemoveAll(s.dir))
}

// trust lays out the certificates, those of [Config.like] if there is one.
func (s *Server) trust() error {
	var files map[string][]byte
	var err error
	if s.config.like == nil {
		files, err = certify()
	} else {
		files = make(map[string][]byte)
		for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
			var e error
			files[name], e = os.ReadFile(s.config.like.file(name))
			err = errors.Join(err, e)
		}
	}
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(s.file(name), text, 0o600))
	}
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(files["ca.pem"])
	return err
}

// certify makes an authority and a certificate of it, each by the name of its file.
func certify() (map[string][]byte, error) {
	tomorrow := time.Now().Add(24 * time.Hour)
	ca, err := certtest.Make(x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a test"}, NotAfter: tomorrow,
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return nil, err
	}
	leaf, err := certtest.Make(x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, NotAfter: tomorrow,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, ca)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"ca.pem": ca.CertPEM, "cert.pem": leaf.CertPEM, "key.pem": leaf.KeyPEM}, nil
}
