// Package program builds the shipped program and runs it as child processes, for the tests that meet it from outside. It
// leaves to them what they ask it and what an answer means. A server that was started is ended by whoever started it; should
// that one die first, it ends too.
package program

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// Build builds the program as it is shipped, whatever the tests are built with, and returns where it is, until remove is
// called.
func Build() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "gatehouse-e2e-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "gatehouse")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "github.com/gatehouse/gatehouse/cmd/gatehouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("build the program: %w\n%s", err, said)
	}
	return path, remove, nil
}

// Command prepares a command of the program at path, with more variables.
func Command(path string, variables []string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	// The tests' own settings are none of the program's, and it refuses what it does not know.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GATEHOUSE_") })
	cmd.Env = append(cmd.Env, variables...)
	return cmd
}

// Run runs a command and reads its answer in JSON into answer, unless that is nil.
func Run(cmd *exec.Cmd, answer any) error {
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gatehouse %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, said.String())
	}
	return Decode(out.Bytes(), answer)
}

// Decode reads what a command printed, unless nobody asked.
func Decode(out []byte, answer any) error {
	if answer == nil {
		return nil
	}
	return json.Unmarshal(out, answer)
}

// A Credential is what `credential create` prints: its id, and of the rest what belongs to its kind.
type Credential struct {
	ID           string
	Account      json.Number
	Key          string // api-key
	UserID       string `json:"user_id"` // basic
	Username     string // login
	Password     string // basic, login
	ClientID     string `json:"client_id"`     // oauth
	ClientSecret string `json:"client_secret"` // oauth
}

// A Server is a running `gatehouse serve`.
type Server struct {
	Said  beside.Said
	Admin string // host:port for operators
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// Serve starts a prepared command as a server and waits for nothing.
func Serve(cmd *exec.Cmd, admin string) (*Server, error) {
	s := &Server{Admin: admin, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &s.Said, &s.Said
	var err error
	s.ended, err = start(cmd)
	return s, err
}

// start starts a command, which ends with us. The channel is closed when it has ended.
func start(cmd *exec.Cmd) (ended chan struct{}, err error) {
	ended = make(chan struct{})
	began := make(chan error)
	go func() {
		// The kernel ends the child with the thread that began it, which therefore waits for it.
		runtime.LockOSThread()
		endWithUs(cmd)
		err := cmd.Start()
		began <- err
		if err == nil {
			cmd.Wait()
			close(ended)
		}
	}()
	return ended, <-began
}

// WaitReady returns when /readyz says yes.
func (s *Server) WaitReady() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	late := time.After(time.Minute)
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for {
		if res, err := client.Get("http://" + s.Admin + "/readyz"); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended before it was ready: %v", s.cmd.ProcessState)
		case <-late:
			return errors.New("the server is not ready after a minute")
		case <-again.C:
		}
	}
}

// PID is its process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends it a signal: SIGSTOP freezes it, SIGCONT lets it go on.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop ends it in an orderly way.
func (s *Server) Stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return errors.New(s.cmd.ProcessState.String())
	}
	return nil
}

// Kill ends it as a power cut would, and returns when it is gone.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}
