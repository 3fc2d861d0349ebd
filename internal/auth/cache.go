package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	cacheShards  = 32
	shardEntries = 512 // with 32 shards: 16,384 tokens, some 3 MiB
	cacheFor     = time.Minute
)

// cache remembers good tokens, so that a client that sends its token with every
// request pays for one signature check a minute and not for each.
//
// It says nothing that verifying again would not say: an entry ends with its
// token's expiry, and all of them end when the key set changes. Bad tokens are never stored, and a flood of good ones
// only pushes others out. Its key is a hash of the whole token, signature
// included, so that nobody finds an entry without holding the very token.
type cache struct {
	shards [cacheShards]cacheShard // each with a lock of its own, so that few wait
}

type cacheShard struct {
	mu      sync.Mutex
	entries map[cacheKey]cacheEntry
}

type cacheKey = [sha256.Size]byte

type cacheEntry struct {
	identity   Identity
	until      time.Time
	generation uint64 // of the keys that verified it
}

// get returns the identity stored under key, if it still counts.
func (c *cache) get(key cacheKey, generation uint64, now time.Time) (Identity, bool) {
	shard := &c.shards[key[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	entry, there := shard.entries[key]
	if there && (entry.generation != generation || !now.Before(entry.until)) {
		delete(shard.entries, key)
		there = false
	}
	return entry.identity, there
}

// put stores an identity that verification at now gave, with the keys of that
// generation.
func (c *cache) put(key cacheKey, identity Identity, generation uint64, now time.Time) {
	entry := cacheEntry{identity, now.Add(cacheFor), generation}
	if identity.Expires.Before(entry.until) {
		entry.until = identity.Expires
	}
	if !now.Before(entry.until) {
		return // good by the leeway alone
	}
	shard := &c.shards[key[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.entries == nil {
		shard.entries = map[cacheKey]cacheEntry{}
	}
	if len(shard.entries) >= shardEntries {
		shard.makeRoom(generation, now)
	}
	shard.entries[key] = entry
}

// makeRoom drops one entry: one of a few that no longer counts, or any.
func (s *cacheShard) makeRoom(generation uint64, now time.Time) {
	const looks = 8
	var victim cacheKey
	seen := 0
	for key, entry := range s.entries { // in an order that nobody outside can choose
		victim = key
		if seen++; seen == looks || entry.generation != generation || !now.Before(entry.until) {
			break
		}
	}
	delete(s.entries, victim)
}
