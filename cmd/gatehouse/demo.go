package main

import (
	"os"
	"syscall"

	"github.com/gatehouse/gatehouse/internal/demo"
)

type demoC struct {
	Listen string `placeholder:"ADDR" help:"The address for customers; 127.0.0.1:8000 unless you say otherwise. Port 0 takes a free one."`
	Keep   string `placeholder:"DIR" help:"Keep everything in this new folder. Without it nothing is left behind."`
}

func (demoC) Help() string {
	return `A server, a sample API behind its gateway, a sample account with a credential of each kind, and the curl lines to try it with, with real values in them. It needs no configuration, no network and no database, and looks at none. Ctrl-C ends it.

    gatehouse demo
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
		Listen: c.Listen, Dir: c.Keep, Program: program, Version: thisVersion().Version, Out: sh.out,
	})
}
