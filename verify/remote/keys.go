package remote

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

const (
	keySetPath = "/.well-known/jwks.json"
	maxKeySet  = 1 << 20

	// keysEvery is how often the key set is fetched at least: as long as the server lets others keep it.
	keysEvery = 5 * time.Minute

	// keysAtMost is how far apart fetches are that somebody's token asks for, or callers with made-up tokens would decide how
	// often.
	keysAtMost = 10 * time.Second

	// keysWithin is how long a fetch may take.
	keysWithin = 10 * time.Second
)

// Keys are those of the key set, without the revoked ones.
type keys struct {
	url    string
	client *http.Client
	log    *slog.Logger

	ring   atomic.Pointer[ring]
	wanted chan struct{} // sent to when a token names a key that is not there

	fetching sync.Mutex
	etag     string
	fetched  time.Time // when a fetch last began
}

// A ring never changes.
type ring struct {
	tokens  map[string]*verify.Key // by the header of tokens
	pages   map[string]*verify.Key // by that of the feed's pages
	made    map[string]*verify.Key // by the key's text in the key set
	revoked map[string]bool        // kids; what the key set says of them counts for nothing
}

func newKeys(base string, client *http.Client, log *slog.Logger) *keys {
	k := &keys{url: base + keySetPath, client: client, log: log, wanted: make(chan struct{}, 1)}
	k.ring.Store(new(ring))
	return k
}

// token finds the key that wrote a token's header, and asks for the key set anew if there is none.
func (k *keys) token(header string) (*verify.Key, bool) {
	key, ok := k.ring.Load().tokens[header]
	if !ok {
		select {
		case k.wanted <- struct{}{}:
		default:
		}
	}
	return key, ok
}

// run keeps the key set fresh until ctx ends.
func (k *keys) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wanted:
			k.fetching.Lock()
			ago := time.Since(k.fetched)
			k.fetching.Unlock()
			if !sleep(ctx, keysAtMost-ago) {
				return
			}
			select {
			case <-k.wanted: // by others, meanwhile
			default:
			}
		case <-time.After(keysEvery - rand.N(keysEvery/5)):
		}
		if err := k.fetch(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("the key set could not be fetched; those known before go on", "error", err)
		}
	}
}

// fetch asks for the key set and takes it over. If it fails, the keys stay as they were.
func (k *keys) fetch(ctx context.Context) error {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	k.fetched = time.Now()
	ctx, cancel := context.WithTimeout(ctx, keysWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return fmt.Errorf("fetch the key set: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Cache-Control", "no-cache") // what a cache on the way kept may have a revoked key in it
	if k.etag != "" {
		req.Header.Set("If-None-Match", k.etag)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch the key set: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotModified && k.etag != "" {
		return nil
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch the key set: %s answered %s", k.url, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	if err != nil {
		return fmt.Errorf("fetch the key set: %w", err)
	}
	if len(text) > maxKeySet {
		return fmt.Errorf("fetch the key set: it is longer than %d bytes", maxKeySet)
	}
	if err := k.replace(text); err != nil {
		return err
	}
	k.etag = res.Header.Get("ETag")
	return nil
}

// replace takes a key set over (RFC 7517). Keys for other purposes, and those that verify does not take, are left out. A key
// that was there before stays the same one: what is remembered of its signatures stays good.
func (k *keys) replace(text []byte) error {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("read the key set: %w", err)
	}
	made := make(map[string]*verify.Key)
	before := k.ring.Load()
	for _, one := range set.Keys {
		var b bytes.Buffer
		if err := json.Compact(&b, one); err != nil {
			return fmt.Errorf("read the key set: %w", err)
		}
		if key := before.made[b.String()]; key != nil {
			made[b.String()] = key
			continue
		}
		key, err := parseKey(one)
		if err != nil {
			k.log.Warn("a key of the key set is left out", "error", err)
			continue
		}
		made[b.String()] = key
	}
	k.put(made, before.revoked)
	return nil
}

// revoke drops keys for good, whatever a key set says of them.
func (k *keys) revoke(ids []string) {
	before := k.ring.Load()
	for _, id := range ids {
		if !before.revoked[id] {
			k.fetching.Lock() // which also replaces the ring
			defer k.fetching.Unlock()
			before = k.ring.Load()
			revoked := maps.Clone(before.revoked)
			if revoked == nil {
				revoked = make(map[string]bool)
			}
			for _, id := range ids {
				revoked[id] = true
			}
			k.put(before.made, revoked)
			return
		}
	}
}

func (k *keys) put(made map[string]*verify.Key, revoked map[string]bool) {
	next := &ring{tokens: make(map[string]*verify.Key), pages: make(map[string]*verify.Key), made: made, revoked: revoked}
	for _, key := range made {
		if !revoked[key.ID] {
			next.tokens[key.Header()] = key
			next.pages[key.HeaderOf(verify.RevocationsType)] = key
		}
	}
	k.ring.Store(next)
}

// parseKey reads one key of a key set.
func parseKey(text []byte) (*verify.Key, error) {
	var k struct{ Kty, Crv, Alg, Use, Kid, X, Y, N, E string }
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("read a key: %w", err)
	}
	if k.Use != "" && k.Use != "sig" {
		return nil, fmt.Errorf("key %q is for %q", k.Kid, k.Use)
	}
	var parts [4][]byte
	for i, s := range []string{k.X, k.Y, k.N, k.E} {
		var err error
		if parts[i], err = strict.DecodeString(s); err != nil {
			return nil, fmt.Errorf("key %q: %w", k.Kid, err)
		}
	}
	x, y, n, e := parts[0], parts[1], parts[2], parts[3]
	var material any
	switch {
	case k.Alg == "EdDSA" && k.Kty == "OKP" && k.Crv == "Ed25519":
		material = ed25519.PublicKey(x)
	case k.Alg == "ES256" && k.Kty == "EC" && k.Crv == "P-256" && len(x) == 32 && len(y) == 32:
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.Kid, err)
		}
		material = public
	case k.Alg == "RS256" && k.Kty == "RSA" && len(e) <= 3 && len(n) <= 1024:
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		if public.E < 3 {
			return nil, fmt.Errorf("key %q: %w", k.Kid, errors.New("its exponent is no good"))
		}
		material = public
	default:
		return nil, fmt.Errorf("key %q is of a sort that signs no token here: %q, %q, %q", k.Kid, k.Alg, k.Kty, k.Crv)
	}
	return verify.NewKey(k.Kid, verify.Algorithm(k.Alg), material)
}

// sleep waits so long and says whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
