package server

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/metrics"
)

// SharedLimits returns the Redis that c names, unconnected, with buckets that name names.
func SharedLimits(c *config.Redis, name func(parts ...string) [sha256.Size]byte, answered func(time.Duration), log *slog.Logger) (*limit.Redis, error) {
	shared := limit.RedisConfig{
		Addresses: c.Addresses, Cluster: c.Cluster, TLS: c.TLS, Database: c.Database, Name: name, Answered: answered, Log: log,
	}
	if c.Password.Set() {
		shared.Credentials = func() (user, password string) { return c.User, c.Password.Reveal() }
	}
	return limit.NewRedis(shared)
}

// shareLimits makes the limiter, whose buckets other replicas share if c names a Redis, and looks whether that is there. The
// names of buckets say nothing to whoever reads them, and two installations never have the same.
func (s *Server) shareLimits(ctx context.Context, c *config.Config) error {
	limits := limit.Config{Now: s.options.Now}
	if c.SharedLimits != nil {
		name := func(parts ...string) [sha256.Size]byte {
			return s.opened.Rings.BucketDigest(s.opened.Meta.Incarnation, parts...)
		}
		var err error
		if s.redis, err = SharedLimits(c.SharedLimits, name, s.metrics.RedisAnswered, s.log); err != nil {
			return err
		}
		limits.Redis = s.redis
	}
	s.limiter = limit.New(limits)
	s.limiter.Start(ctx)
	return nil
}

// redisStands is how it stands with limits that are shared; nil: none are.
func (s *Server) redisStands() func() metrics.SharedLimits {
	if s.redis == nil {
		return nil
	}
	return func() metrics.SharedLimits {
		return metrics.SharedLimits{Away: s.redis.Away(), Failures: s.redis.Failures()}
	}
}
