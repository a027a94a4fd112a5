package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
)

// redisPatience is how long Redis may take to say how it is.
const redisPatience = 5 * time.Second

// redis looks at the Redis through which limits are shared. Whatever is wrong with it, answers are right, so that nothing here
// is worse than doubtful but a server that is not there.
func (e *examination) redis(c *config.Config) {
	if c.SharedLimits == nil {
		return
	}
	// What is charged for a trial belongs to no installation.
	name := func(parts ...string) [sha256.Size]byte {
		return sha256.Sum256([]byte("doctor " + strings.Join(parts, " ")))
	}
	shared, err := server.SharedLimits(c.SharedLimits, name, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		e.note(wrong, "redis", "", "%s", message(err))
		return
	}
	defer shared.Close()
	ctx, cancel := context.WithTimeout(e.sh.ctx, redisPatience)
	defer cancel()
	state, err := shared.State(ctx)
	at := strings.Join(c.SharedLimits.Addresses, ", ")
	if err != nil {
		e.note(wrong, "redis", "see that it runs, and that this machine, the user and the password are let in; until then each replica counts limits for itself",
			"%s: %s", at, message(err))
	} else {
		e.redisState(at, state.Version, state.Policy, state.Bounded)
	}
	if exposed := c.SharedLimits.Exposed(); len(exposed) > 0 {
		e.note(doubtful, "redis", "give Redis TLS and write rediss:// in redis, unless that network is yours alone",
			"%s in clear text: whoever is on the way can read the password, and charge or empty any limit", strings.Join(exposed, ", "))
	}
}

// redisState judges what Redis said of itself.
func (e *examination) redisState(at, version, policy string, bounded bool) {
	switch {
	case oldRedis(version):
		e.note(doubtful, "redis", "use 6.2 or later, or Valkey", "%s: version %s is older than what limits are tested with", at, version)
	case bounded && policy == "noeviction":
		e.note(doubtful, "redis", "set maxmemory-policy to volatile-ttl: each of our keys has an expiry, and one that goes early only loosens a limit",
			"%s: version %s, which refuses to write when its memory is full, and then each replica counts limits for itself", at, version)
	default:
		e.well("redis", "%s: version %s, maxmemory-policy %s; a key that is evicted only loosens a limit", at, version, policy)
	}
}

// oldRedis says whether a version is older than 6.2, as far as it can be read. Valkey began after that.
func oldRedis(version string) bool {
	var major, minor int
	n, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	return err == nil && n == 2 && (major < 6 || major == 6 && minor < 2)
}
