package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// controlSocket is the file in the data directory through which commands ask the running server for what only it knows: the
// refusals of the last hour, which it holds in memory. It tells nothing that the database beside it would not tell, to
// nobody else: the file's mode is 0600, and the directory's 0700.
const controlSocket = "control.sock"

// longestSocket is the length of a socket's path that every system takes.
const longestSocket = 100

// ErrNoServer says that no server runs on the data directory.
var ErrNoServer = errors.New("no server is running on this data directory")

// refusals is what the server remembers of who was refused.
type refusals interface {
	Find(requestID string) (auth.Refusal, bool)
	Recent(auth.RefusalFilter) []auth.Refusal
}

// A control answers commands.
type control struct {
	dir      string
	refusals refusals
}

func newControl(dir string, r refusals) (*control, error) {
	if dir == "" || r == nil {
		return nil, errors.New("control: the data directory and the refusals are both needed")
	}
	return &control{dir: dir, refusals: r}, nil
}

// Run answers until ctx ends. Where the path of the data directory is too long for a socket it answers nobody, and commands
// know only what is in the database.
func (c *control) Run(ctx context.Context) error {
	path, release, err := socketPath(c.dir)
	if errors.Is(err, syscall.ENAMETOOLONG) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	real := filepath.Join(c.dir, controlSocket)
	// A crash leaves the file behind. It is nobody's: this process holds the data directory.
	if err := os.Remove(real); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", real, err)
	}
	l.SetUnlinkOnClose(false)
	defer os.Remove(real)
	if err := os.Chmod(real, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: c.handler(), ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer commands: %w", err)
	}
	return nil
}

// socketPath is a path of the socket that is short enough for the system, good until release. A longer one is reached
// through the open directory, where the system has a name for that.
func socketPath(dir string) (path string, release func(), err error) {
	if path := filepath.Join(dir, controlSocket); len(path) <= longestSocket {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	path = fmt.Sprintf("/proc/self/fd/%d", d.Fd())
	if _, err := os.Stat(path); err != nil {
		return "", nil, errors.Join(syscall.ENAMETOOLONG, d.Close())
	}
	return filepath.Join(path, controlSocket), func() { _ = d.Close() }, nil
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /refusals/{id}", func(w http.ResponseWriter, r *http.Request) {
		found := []auth.Refusal{}
		if one, ok := c.refusals.Find(r.PathValue("id")); ok {
			found = append(found, one)
		}
		writeRefusals(w, found)
	})
	mux.HandleFunc("GET /refusals", func(w http.ResponseWriter, r *http.Request) {
		f, err := parseFilter(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeRefusals(w, c.refusals.Recent(f))
	})
	return mux
}

func writeRefusals(w http.ResponseWriter, found []auth.Refusal) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(found) // the command on the other side is gone
}

func filterQuery(f auth.RefusalFilter) url.Values {
	q := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			q.Set(name, value)
		}
	}
	set("account", f.Account.String(), f.Account != 0)
	set("credential", string(f.Credential), f.Credential != "")
	set("address", f.Address.String(), f.Address.IsValid())
	set("since", f.Since.UTC().Format(time.RFC3339Nano), !f.Since.IsZero())
	set("request_id", f.RequestID, f.RequestID != "")
	set("after", f.After.String(), f.After != auth.RefusalPlace{})
	set("most", strconv.Itoa(f.Most), f.Most != 0)
	return q
}

func parseFilter(q url.Values) (auth.RefusalFilter, error) {
	f := auth.RefusalFilter{Credential: auth.CredentialID(q.Get("credential")), RequestID: q.Get("request_id")}
	var errs []error
	read := func(name string, parse func(string) error) {
		if s := q.Get(name); s != "" {
			errs = append(errs, parse(s))
		}
	}
	read("account", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		f.Account = auth.AccountID(n)
		return err
	})
	read("address", func(s string) (err error) { f.Address, err = netip.ParseAddr(s); return err })
	read("since", func(s string) (err error) { f.Since, err = time.Parse(time.RFC3339Nano, s); return err })
	read("after", func(s string) (err error) { f.After, err = auth.ParseRefusalPlace(s); return err })
	read("most", func(s string) (err error) { f.Most, err = strconv.Atoi(s); return err })
	return f, errors.Join(errs...)
}

// A Control asks the server that runs on a data directory.
type Control struct{ dir string }

// ControlClient asks the server of this data directory. Whether there is one shows when it is asked.
func ControlClient(dataDir string) *Control { return &Control{dir: dataDir} }

// recentBeside is how a command learns what the running server remembers, if one runs here. That it cannot be asked keeps nobody from
// what is stored.
func (op *Opened) recentBeside(unheard func(error)) func(context.Context, auth.RefusalFilter) []auth.Refusal {
	if !op.alone() { // the servers may be on other machines
		return func(context.Context, auth.RefusalFilter) []auth.Refusal { return nil }
	}
	client := ControlClient(op.Config.DataDir)
	return func(ctx context.Context, f auth.RefusalFilter) []auth.Refusal {
		ask := client.Recent
		if f.RequestID != "" {
			ask = func(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
				return client.Find(ctx, f.RequestID)
			}
		}
		found, err := ask(ctx, f)
		if err != nil && !errors.Is(err, ErrNoServer) && unheard != nil {
			unheard(err)
		}
		return found
	}
}

// Find returns the refusal of one request, if the server has it in memory; none is no error. Without a server it is
// [ErrNoServer].
func (c *Control) Find(ctx context.Context, requestID string) ([]auth.Refusal, error) {
	return c.get(ctx, "/refusals/"+url.PathEscape(requestID))
}

// Recent returns the refusals in the server's memory that fit the filter. Without a server it is [ErrNoServer].
func (c *Control) Recent(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	return c.get(ctx, "/refusals?"+filterQuery(f).Encode())
}

func (c *Control) get(ctx context.Context, target string) ([]auth.Refusal, error) {
	path, release, err := socketPath(c.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, ErrNoServer
	}
	if err != nil {
		return nil, err
	}
	defer release()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://control"+target, nil)
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNoServer
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running server: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the running server: it answered %s", strings.ToLower(res.Status))
	}
	var found []auth.Refusal
	if err := json.NewDecoder(res.Body).Decode(&found); err != nil {
		return nil, fmt.Errorf("ask the running server: %w", err)
	}
	return found, nil
}
