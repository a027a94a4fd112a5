package config

import (
	"path/filepath"
	"strings"
)

// fixed are the keys, and sections, that a running server cannot change: what is open, what is made once, what every token
// out says of itself.
var fixed = []string{
	"listen", "admin_listen", "public_url", "issuer", "audience", "environment", "key_prefix",
	"data_dir", "database", "database_pool", "redis", "master_key_file",
	"proxy_protocol", "max_connections", "max_connections_per_address", "tls", "admin_tls",
	"tokens.algorithm", "signing_keys", "revocation.max_staleness", "cache", "dashboard", "log.format",
}

// Fixed says whether a change of a key waits for the next start.
func Fixed(key string) bool {
	for _, f := range fixed {
		if rest, ok := strings.CutPrefix(key, f); ok && (rest == "" || rest[0] == '.') {
			return true
		}
	}
	return false
}

// Follow makes c, which was loaded while a server runs under running, what that server can go on with: keys that are
// [Fixed] keep the value they run with. It returns the keys that change now, and those whose change waits for a restart.
func (c *Config) Follow(running *Config) (changed, waiting []string) {
	before := leaves(running)
	for i, leaf := range leaves(c) {
		switch {
		case same(leaf.value, before[i].value):
		case Fixed(leaf.key):
			waiting = append(waiting, leaf.key)
			leaf.value.Set(before[i].value)
		default:
			changed = append(changed, leaf.key)
		}
	}
	c.MasterKey, c.MasterKeyPrevious, c.SharedLimits = running.MasterKey, running.MasterKeyPrevious, running.SharedLimits
	return changed, waiting
}

// Path is where the configuration file lies, "" if there is none.
func (c *Config) Path() string {
	if c.File == "" || filepath.IsAbs(c.File) {
		return c.File
	}
	return filepath.Join(c.dir, c.File)
}
