package beside

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// A Process is a program that runs until it is ended. A nil Process was never started.
type Process struct {
	*os.Process
	Ended <-chan struct{} // closed when it is not running any more
}

// Start starts cmd. What it says goes to the end of the file log.
func Start(cmd *exec.Cmd, log string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // how it ended stands in its log
		close(ended)
	}()
	return &Process{Process: cmd.Process, Ended: ended}, nil
}

// Running says whether it has not ended.
func (p *Process) Running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// LogTail is the end of a file that a process was started with, or what is wrong with that.
func LogTail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return tail(string(text))
}

// A Guard clears up after a program, in whatever way that ends.
type Guard struct {
	shell *exec.Cmd
	held  io.Closer // by us alone: the kernel closes it when we end
}

// Watch starts a guard. It waits until it is closed, or the program that has started it is gone, and runs a script then, with
// args as $1 and so on.
func Watch(script string, args ...string) (*Guard, error) {
	shell := exec.Command("/bin/sh", append([]string{"-c", "cat >/dev/null\n" + script, "sh"}, args...)...)
	shell.Dir = "/"
	apart(shell)
	held, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &Guard{shell, held}, shell.Start()
}

// Close has it clear up, and returns when it has.
func (g *Guard) Close() error { return errors.Join(g.held.Close(), g.shell.Wait()) }

// apart puts a command into a process group of its own: an interrupt from the terminal is for us, who end it in order.
func apart(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
}
