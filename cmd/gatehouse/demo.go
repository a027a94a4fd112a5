package main

import (
	"os"
	"syscall"

	"github.com/gatehouse/gatehouse/internal/demo"
)

type demoC struct {
	Listen string   `placeholder:"ADDR" help:"The address for customers; 127.0.0.1:8000 unless you say otherwise. Port 0 takes a free one."`
	Fixed  bool     `help:"A sandbox for tests: credentials that are the same in every one, and some that misbehave on purpose."`
	Origin []string `placeholder:"ORIGIN" help:"Pages of this origin may call it from a browser, as http://localhost:3000; may be given more than once."`
	Keep   string   `placeholder:"DIR" help:"Keep everything in this new folder. Without it nothing is left behind."`
}

func (demoC) Help() string {
	return `A server, a sample API behind its gateway, a sample account with a credential of each kind, and the curl lines to try it with, with real values in them. It needs no configuration, no network and no database, and looks at none. Ctrl-C ends it.

With --fixed it is a sandbox that a customer's tests can rely on: its credentials are constant and published, in the test environment, and some expire in 5 s, come too often, come from the wrong address, are revoked, or meet a server that cannot answer. No other server takes them.

    gatehouse demo
    gatehouse demo --fixed
    gatehouse demo --listen 127.0.0.1:0 --keep ./demo`
}

func (c *demoC) Run(sh *shell) error {
	if sh.global.Config != "" || sh.global.DataDir != "" {
		return usage("the demo brings its own configuration and data: leave out --config and --data-dir; --keep DIR keeps them")
	}
	ctx, stop := untilSignal(sh.ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	program, err := os.Executable()
	if err != nil {
		program = "gatehouse"
	}
	return demo.Run(ctx, demo.Config{
		Listen: c.Listen, Dir: c.Keep, Fixed: c.Fixed, Origins: c.Origin, Program: program, Version: thisVersion().Version, Out: sh.out,
	})
}
