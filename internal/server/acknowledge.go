package server

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

// alone says whether one server at most uses the database: the one that holds the data directory.
func (op *Opened) alone() bool { return !op.Config.Database.Set() }

// Acknowledge waits until every server that may decide has applied the position, at most as long as is configured, and says
// whether all have.
func (op *Opened) Acknowledge(ctx context.Context, to auth.Position) bool {
	return op.acknowledge(ctx, to)
}

// acknowledgeBeside is how a command waits.
func (op *Opened) acknowledgeBeside(ctx context.Context, to auth.Position) bool {
	if op.alone() && !store.Locked(op.Config.DataDir) {
		return true // nobody holds anything in memory
	}
	missing, err := op.replicas.Acknowledge(ctx, to, op.Config.Revocation.Wait, nil)
	return err == nil && len(missing) == 0
}

// acknowledge is how a server waits. The change is committed in any case; not having waited it out is logged and counted.
func (s *Server) acknowledge(ctx context.Context, to auth.Position) bool {
	missing, err := s.opened.replicas.Acknowledge(ctx, to, s.config().Revocation.Wait, s.follower)
	if err == nil && len(missing) == 0 {
		return true
	}
	if ctx.Err() != nil {
		return false // nobody is there to be answered
	}
	s.metrics.Unconfirmed()
	s.log.Warn("a revocation was answered before every server had applied it; it is committed, and those that have not refuse everything no later than max_staleness after it",
		"position", to, "replicas", missing, "error", err)
	return false
}

// usedOnce remembers in the database what counts once, on whichever server.
type usedOnce struct{ db *store.DB }

func (u usedOnce) First(ctx context.Context, name string, until time.Time) (bool, error) {
	digest := sha256.Sum256([]byte(name))
	return u.db.UseOnce(ctx, digest[:], until)
}
