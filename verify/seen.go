package verify

import (
	"strings"
	"sync"
)

// seen remembers of which tokens the signature held. An entry is a fact about the token's exact spelling and the key that
// made it, never a decision: whether the key, the claims and the session are good is asked again each time.
//
// Each shard has two generations. What is looked up lives on in the younger one; when that is full it becomes the older
// one, and what nobody asked for since is forgotten. So the number of entries is bounded, without a list to keep in order.
type seen struct {
	perGeneration int
	shards        [16]seenShard
}

type seenShard struct {
	mu         sync.RWMutex
	young, old map[string]seenToken
}

type seenToken struct {
	key    *Key
	claims *Claims
}

func newSeen(size int) *seen {
	s := &seen{perGeneration: max(1, size/2/16)}
	for i := range s.shards {
		s.shards[i].young = make(map[string]seenToken)
	}
	return s
}

// shard spreads by the token's last letters: they belong to its signature.
func (s *seen) shard(token string) *seenShard {
	n := len(token)
	if n < 4 {
		return &s.shards[0]
	}
	return &s.shards[(token[n-2]^token[n-3]<<2^token[n-4])&15]
}

func (s *seen) get(token string, key *Key) (*Claims, bool) {
	shard := s.shard(token)
	shard.mu.RLock()
	t, ok := shard.young[token]
	if ok {
		shard.mu.RUnlock()
		return t.claims, t.key == key
	}
	t, ok = shard.old[token]
	shard.mu.RUnlock()
	if !ok || t.key != key {
		return nil, false
	}
	s.put(token, key, t.claims)
	return t.claims, true
}

func (s *seen) put(token string, key *Key, claims *Claims) {
	shard := s.shard(token)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if len(shard.young) >= s.perGeneration {
		shard.old, shard.young = shard.young, make(map[string]seenToken, s.perGeneration)
	}
	shard.young[strings.Clone(token)] = seenToken{key: key, claims: claims} // a clone, or it keeps the whole request alive
}
