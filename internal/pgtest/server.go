package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// patience is how long we wait for what PostgreSQL does at once, on a machine that is busy.
const patience = 60 * time.Second

// superuser owns the server. Databases are those of an ordinary role, as in production.
const (
	superuser = "postgres"
	role      = "gatehouse"
)

// A Server is one PostgreSQL server with its folder and its port, both of which it keeps while it is down. One goroutine at a
// time starts and ends it.
type Server struct {
	name     string
	programs string
	dir      string // its socket, its log, and data
	port     int
	password string // of role
	settings []string
	as       *syscall.Credential // nil: as we are
	guard    *beside.Guard
	made     *atomic.Int64

	postmaster *beside.Process // nil: it was never started
}

// New makes a server and starts it. Whoever has no test to end it calls [Server.Close]; if he does not come to it, it ends
// with his program.
func New(c Config) (*Server, error) {
	s, err := prepare(c)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.password, s.made = rand.Text(), new(atomic.Int64)
	if err := errors.Join(s.initialize(), s.Restart()); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", errors.Join(err, s.Close()))
	}
	if err := s.Query(new(string), "", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, s.password)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare makes the folder of a server, and its guard.
func prepare(c Config) (*Server, error) {
	found, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{programs: found}
	if s.port, err = beside.FreePort(18000, 32000); err != nil { // those of Redis are below
		return nil, err
	}
	s.name = cmp.Or(c.Name, fmt.Sprintf("server%d", s.port))
	if s.dir, err = os.MkdirTemp("", "gatehouse-pg-"); err != nil {
		return nil, err
	}
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if s.as, err = ordinary(); err == nil {
			err = os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid))
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	if s.guard, err = beside.Watch(guardian, s.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	fsync := "off"
	if c.Fsync {
		fsync = "on"
	}
	s.settings = []string{
		"port=" + strconv.Itoa(s.port), "listen_addresses=127.0.0.1", "unix_socket_directories=" + s.dir,
		"fsync=" + fsync, "full_page_writes=" + fsync,
		"max_connections=200", "shared_buffers=32MB", "min_wal_size=32MB", "max_wal_size=192MB", "wal_keep_size=64MB",
		"timezone=UTC", "log_line_prefix=%m [%p] %a ", "jit=off",
	}
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		s.settings = append(s.settings, name+"="+c.Settings[name])
	}
	return s, nil
}

// ordinary is the user that PostgreSQL's package makes.
func ordinary() (*syscall.Credential, error) {
	u, err := user.Lookup(superuser)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// guardian ends every process that lives in the folder of data, and removes the folder.
const guardian = `
dir=$1
tell() {
	found=1
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/cwd" 2>/dev/null)" = "$dir/data" ] || continue
		found=0
		for signal; do kill "-$signal" "${p#/proc/}" 2>/dev/null; done
	done
	return $found
}
tell QUIT CONT && sleep 0.5
while tell KILL; do sleep 0.1; done
rm -rf "$dir"
`

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// String is its name.
func (s *Server) String() string { return s.name }

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return beside.Address(s.port) }

// URL is how an ordinary role, which owns the databases, opens one of them.
func (s *Server) URL(database string) string { return URL(database, s.password, s.Addr()) }

// Password is the role's, the same on a server and its standbys.
func (s *Server) Password() string { return s.password }

// URL is how the role opens a database at the first of addresses that takes writes: servers, or proxies in front of them.
func URL(database, password string, addresses ...string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: strings.Join(addresses, ","), Path: "/" + database}
	if len(addresses) > 1 {
		u.RawQuery = "target_session_attrs=read-write"
	}
	return u.String()
}

// program runs one of PostgreSQL's programs and returns what it printed.
func (s *Server) program(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := s.command(ctx, name, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %s: %w\n%s", s.name, name, err, said.String())
	}
	return out.String(), nil
}

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	return cmd
}

func (s *Server) initialize() error {
	_, err := s.program("initdb", "--pgdata="+s.data(), "--username="+superuser, "--auth-local=trust", "--auth-host=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	return err
}

// Restart starts a server that is down, on the port it had, and returns when it takes connections.
func (s *Server) Restart() error {
	args := []string{"-D", s.data()}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	started, err := beside.Start(s.command(context.Background(), "postgres", args...), s.log())
	if err != nil {
		return err
	}
	s.postmaster = started
	return s.until("ready", func() (bool, error) {
		if !started.Running() {
			return false, errors.New("it ended")
		}
		// The last line says how it is, in words that pg_ctl waits for too.
		lines := s.pidFile()
		return len(lines) >= 8 && lines[0] == strconv.Itoa(started.Pid) && (lines[7] == "ready" || lines[7] == "standby"), nil
	})
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// pidFile is what the running server says of itself, a thing a line.
func (s *Server) pidFile() []string {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil // not yet
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// until waits for done.
func (s *Server) until(what string, done func() (bool, error)) error {
	late := time.Now().Add(patience)
	for {
		ok, err := done()
		switch {
		case ok:
			return nil
		case err != nil:
			return fmt.Errorf("%s is not %s: %w; its log ends:\n%s", s.name, what, err, s.LogTail())
		case time.Now().After(late):
			return fmt.Errorf("%s is not %s after %v; its log ends:\n%s", s.name, what, patience, s.LogTail())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// LogTail is the end of its log.
func (s *Server) LogTail() string { return beside.LogTail(s.log()) }

// Query runs a statement as the superuser, in database or, if that is "", in the superuser's own, and sets answer to the rows,
// one a line, with bars between their columns. It needs no network.
func (s *Server) Query(answer *string, database, statement string) error {
	out, err := s.program("psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1",
		"--host="+s.dir, "--port="+strconv.Itoa(s.port), "--username="+superuser, "--dbname="+cmp.Or(database, superuser), "--command="+statement)
	*answer = strings.TrimRight(out, "\n")
	return err
}

// CreateDatabase makes an empty database and returns its name.
func (s *Server) CreateDatabase() (string, error) { return s.createLike("template0") }

// createLike makes a copy of a database that nobody is connected to.
func (s *Server) createLike(template string) (string, error) {
	name := fmt.Sprintf("test%d", s.made.Add(1))
	return name, s.Query(new(string), "", fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE %s", name, role, template))
}

// DropDatabase drops a database, whoever still uses it.
func (s *Server) DropDatabase(name string) error {
	return s.Query(new(string), "", fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
}

// Standby makes another server that follows s, asynchronously until s is told otherwise by [Server.Synchronous].
func (s *Server) Standby(c Config) (*Server, error) {
	standby, err := prepare(c)
	if err != nil {
		return nil, err
	}
	standby.password, standby.made = s.password, s.made
	if err := standby.Follow(s); err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	return standby, nil
}

// Follow makes a server that is down a standby of primary, with a fresh copy of its data, and returns when it follows.
func (s *Server) Follow(primary *Server) error {
	if err := os.RemoveAll(s.data()); err != nil {
		return err
	}
	if _, err := s.program("pg_basebackup", "--pgdata="+s.data(), "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
		fmt.Sprintf("--dbname=host=%s port=%d user=%s application_name=%s", primary.dir, primary.port, superuser, s.name)); err != nil {
		return err
	}
	if err := s.Restart(); err != nil {
		return err
	}
	return s.until("following "+primary.name, func() (bool, error) {
		var state string
		err := primary.Query(&state, "", fmt.Sprintf("SELECT state FROM pg_stat_replication WHERE application_name = '%s'", s.name))
		return state == "streaming", err
	})
}

// Synchronous has commits wait from now on until standby has them too; with nil they wait for nobody.
func (s *Server) Synchronous(standby *Server) error {
	name := ""
	if standby != nil {
		name = `"` + standby.name + `"`
	}
	// ALTER SYSTEM wants to be alone in its statement.
	if err := errors.Join(s.Query(new(string), "", fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = '%s'", name)),
		s.Query(new(string), "", "SELECT pg_reload_conf()")); err != nil || standby == nil {
		return err
	}
	return s.until("synchronous with "+standby.name, func() (bool, error) {
		var state string
		err := s.Query(&state, "", fmt.Sprintf("SELECT sync_state FROM pg_stat_replication WHERE application_name = '%s'", standby.name))
		return state == "sync", err
	})
}

// Promote makes a standby a primary, whose commits wait for nobody, and returns when it takes writes.
func (s *Server) Promote() error {
	if err := s.Synchronous(nil); err != nil { // its primary waited for s, and s would
		return err
	}
	var promoted string
	if err := s.Query(&promoted, "", "SELECT pg_promote(true, 60)"); err != nil || promoted != "t" {
		return fmt.Errorf("promote %s: %s, %w", s.name, promoted, err)
	}
	return nil
}

// Deafen has a standby follow nobody any more: from when it returns, the standby falls behind.
func (s *Server) Deafen() error {
	if err := errors.Join(s.Query(new(string), "", "ALTER SYSTEM SET primary_conninfo = ''"), s.Query(new(string), "", "SELECT pg_reload_conf()")); err != nil {
		return err
	}
	return s.until("deaf", func() (bool, error) {
		var receivers string
		err := s.Query(&receivers, "", "SELECT count(*) FROM pg_stat_wal_receiver")
		return receivers == "0", err
	})
}

// processes are all that live in the server's folder.
func (s *Server) processes() ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || at != s.data() {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return nil, err
		}
		found = append(found, pid)
	}
	return found, nil
}

// signal sends one to every process of the server. They are no group: each of them leads one of its own.
func (s *Server) signal(sig syscall.Signal) error {
	found, err := s.processes()
	for _, pid := range found {
		if e := syscall.Kill(pid, sig); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Freeze stops all its processes in their tracks: connections stand, and are not answered.
func (s *Server) Freeze() error {
	// The first to stop is the one that makes others; one it made just before stops in the second round.
	err := s.postmaster.Signal(syscall.SIGSTOP)
	return errors.Join(err, s.signal(syscall.SIGSTOP), s.signal(syscall.SIGSTOP))
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

// Kill ends all its processes as a power cut would, and returns when they are gone.
func (s *Server) Kill() error {
	if !s.postmaster.Running() {
		return nil
	}
	lines := s.pidFile()
	if err := errors.Join(s.Freeze(), s.signal(syscall.SIGKILL)); err != nil {
		return err
	}
	<-s.postmaster.Ended
	if err := s.gone(); err != nil {
		return err
	}
	// A shared memory segment of a few bytes would outlive them, and a machine has some thousands.
	if len(lines) >= 7 {
		if fields := strings.Fields(lines[6]); len(fields) == 2 {
			if id, err := strconv.Atoi(fields[1]); err == nil {
				_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			}
		}
	}
	return nil
}

func (s *Server) gone() error {
	return s.until("gone", func() (bool, error) {
		left, err := s.processes()
		return len(left) == 0, err
	})
}

// Stop ends it in an orderly way: transactions under way are rolled back, connections told so.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

func (s *Server) end(sig syscall.Signal) error {
	if !s.postmaster.Running() {
		return nil
	}
	if err := s.postmaster.Signal(sig); err != nil {
		return err
	}
	select {
	case <-s.postmaster.Ended:
		return s.gone()
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s has not stopped after %v", s.name, patience), s.Kill())
	}
}

// Close ends it at once and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.Thaw(), s.end(syscall.SIGQUIT), os.RemoveAll(s.dir), s.guard.Close())
}
