package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/gatehouse/gatehouse/internal/server"
)

type serve struct {
	Listen      string `placeholder:"ADDR" help:"The address for customers, instead of the configured one."`
	AdminListen string `placeholder:"ADDR" help:"The address for operators, instead of the configured one."`
	PublicURL   string `name:"public-url" placeholder:"URL" help:"How customers reach it, instead of the configured URL."`
	LogLevel    string `placeholder:"LEVEL" help:"debug, info, warn or error, instead of the configured one."`
	LogFormat   string `placeholder:"FORMAT" help:"json or text, instead of the configured one."`
}

func (serve) Help() string {
	return `Without any configuration it keeps everything in ./gatehouse-data, and serves customers at 127.0.0.1:8000 and operators at 127.0.0.1:9000. A database that is not there is made, an older one migrated.

SIGTERM, SIGINT or SIGHUP stops it in order: what is under way may end, for shutdown_grace. A second signal ends it at once.

    gatehouse serve
    gatehouse serve --config /etc/gatehouse/gatehouse.yaml --log-format text`
}

func (c *serve) Run(sh *shell) error {
	cfg, err := sh.config(map[string]string{
		"listen": c.Listen, "admin_listen": c.AdminListen, "public_url": c.PublicURL,
		"log.level": c.LogLevel, "log.format": c.LogFormat,
	})
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(sh.ctx)
	defer stop()
	s, err := server.New(ctx, cfg, server.Options{Log: sh.stderr, Announce: sh.out, Version: thisVersion().Version})
	if err != nil {
		return err
	}
	go collectGarbage(ctx)
	return s.Run(ctx)
}

// untilSignal returns a context that ends with the first signal to stop. The second then does what it does to any program.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
