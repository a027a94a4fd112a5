package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// channel is where it is told that the change log has grown.
	channel = "gatehouse_changes"
	// askEvery is how often the connection that listens is asked whether it still does.
	askEvery = 5 * time.Second
	// reconnectWithin is the longest pause before the next attempt to listen, and reconnectAfter the shortest.
	reconnectAfter, reconnectWithin = 50 * time.Millisecond, time.Second
)

// watch listens on a connection of its own beside the pool. While it cannot, the follower looks for itself.
func (p *postgres) watch(kick func()) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-p.closing:
		case <-ctx.Done():
		}
		cancel()
	}()
	config := p.config.ConnConfig.Copy()
	config.RuntimeParams["application_name"] = listening
	pause := reconnectAfter
	for ctx.Err() == nil {
		if p.listen(ctx, config, kick) {
			pause = reconnectAfter
		}
		kick() // whatever came meanwhile
		// Not all replicas at the same moment.
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, reconnectWithin)
	}
}

// listen calls kick for each notification until the connection is lost. It says whether there was one.
func (p *postgres) listen(ctx context.Context, config *pgx.ConnConfig, kick func()) bool {
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false
	}
	defer c.PgConn().Conn().Close()
	if err := p.within(ctx, c, "LISTEN "+channel); err != nil {
		return false
	}
	kick()
	for {
		wait, cancel := context.WithTimeout(ctx, askEvery)
		_, err := c.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			kick()
		case ctx.Err() != nil || c.IsClosed():
			return true
		default:
			if err := p.within(ctx, c, "SELECT 1"); err != nil {
				return true
			}
		}
	}
}

func (p *postgres) within(ctx context.Context, c *pgx.Conn, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	if _, err := c.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
