package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/gatehouse/gatehouse/internal/config"
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

The configuration file is read anew when it changes, and at SIGHUP: a good one takes over without losing a request, a bad one is refused in the log, with file, line and reason, and the former one stays.

SIGTERM or SIGINT stops it in order: what is under way may end, for shutdown_grace. A second signal ends it at once.

    gatehouse serve
    gatehouse serve --config /etc/gatehouse/gatehouse.yaml --log-format text`
}

func (c *serve) Run(sh *shell) error {
	load := func() (*config.Config, error) {
		return sh.config(map[string]string{
			"listen": c.Listen, "admin_listen": c.AdminListen, "public_url": c.PublicURL,
			"log.level": c.LogLevel, "log.format": c.LogFormat,
		})
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before anything that takes long: unhandled it would end the process
	defer signal.Stop(hangups)
	ctx, stop := untilSignal(sh.ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := server.New(ctx, cfg, server.Options{Log: sh.stderr, Announce: sh.out, Terminal: sh.screen(), Version: thisVersion().Version, Load: load})
	if err != nil {
		return err
	}
	go reloadAt(ctx, hangups, s)
	var told sync.WaitGroup
	told.Go(func() { notify(ctx, sh.environ, s.Ready()) })
	go collectGarbage(ctx, s.Ready())
	err = s.Run(ctx)
	stop()
	told.Wait()
	return err
}

// reloadAt reloads the configuration of s at each signal until ctx ends.
func reloadAt(ctx context.Context, signals <-chan os.Signal, s *server.Server) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			_ = s.Reload(ctx) // what was wrong is in the log
		}
	}
}

// untilSignal returns a context that ends with the first of these signals. The second then does what it does to any program.
func untilSignal(ctx context.Context, signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
