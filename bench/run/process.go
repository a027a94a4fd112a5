package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a child that is measured.
type process struct {
	address string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has ended,
	err     error         // and this is how
}

// start starts cmd and waits for its end in the background.
func start(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the processor time that the process has taken so far, its own and the kernel's on its behalf.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// memory is what the process has resident now, and the most it ever had, in bytes.
func (p *process) memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			peak = kib << 10
		}
	}
	return now, peak, nil
}

// stop ends the process in an orderly way and waits for it.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	return p.err
}

// startFloor starts the floor and waits until it can be asked.
func startFloor(ctx context.Context, binary, mode string, args ...string) (*process, error) {
	return startFloorOn(ctx, "", binary, mode, args...)
}

// startFloorOn has it keep its rows in PostgreSQL, at a URL; "" in SQLite.
func startFloorOn(ctx context.Context, database, binary, mode string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{"-mode", mode}, args...)...)
	cmd.Env = append(os.Environ(), "FLOOR_DATABASE="+database)
	cmd.Stderr = os.Stderr
	// A pipe of our own: Wait would close that of StdoutPipe before all is read.
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout = in
	p, err := start(cmd)
	in.Close()
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the floor did not say where it listens: %w", err), p.stop())
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// startServer starts the server on the configuration in the file config and waits until it is ready. What it logs, a line a
// request among it, goes to the file log.
func startServer(ctx context.Context, binary, config, log string, at addresses) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, binary, "serve", "--config", config)
	cmd.Env = environ()
	cmd.Stdout, cmd.Stderr = f, f // files, so that nothing of ours stands between
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	p.address = at.listen
	if err := p.ready(ctx, "http://"+at.admin+"/readyz"); err != nil {
		p.stop()
		said, _ := os.ReadFile(log)
		return nil, fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return p, nil
}

// ready returns when url answers 200.
func (p *process) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the server is not ready after 30 s"))
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the server ended before it was ready: %v", p.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}
