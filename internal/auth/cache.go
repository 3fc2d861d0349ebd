package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	cacheShards  = 32
	shardEntries = 512         // 16,384 entries in all, about 3 MiB
	cacheTTL     = time.Minute // the maximum age of an entry
)

// cache holds the identities of valid tokens, so that the signature of a token is checked once a minute and not with
// every request.
//
// An entry never outlives its token or the key set that verified it. Invalid tokens are not stored. The key is a hash
// of the whole token, including its signature, so that only the token itself finds its entry.
//
// The cache holds at most 16,384 entries. It is divided into shards, each with its own lock, so that concurrent
// requests rarely wait for each other (BenchmarkVerifyParallel).
type cache struct {
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu           sync.Mutex
	entries      map[cacheKey]cacheEntry
	hits, misses int64 // of get
}

type cacheKey = [sha256.Size]byte

type cacheEntry struct {
	identity   Identity
	expires    time.Time
	generation uint64 // of the keys that verified the token
}

// valid reports whether the entry may be used at now with the keys of that generation.
func (e cacheEntry) valid(generation uint64, now time.Time) bool {
	return e.generation == generation && now.Before(e.expires)
}

func (c *cache) shard(key cacheKey) *cacheShard { return &c.shards[key[0]%cacheShards] }

// get returns the identity stored under key. It reports false if there is none or it is no longer valid.
func (c *cache) get(key cacheKey, generation uint64, now time.Time) (Identity, bool) {
	shard := c.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	entry, ok := shard.entries[key]
	if ok && !entry.valid(generation, now) {
		delete(shard.entries, key)
		ok = false
	}
	if ok {
		shard.hits++
	} else {
		shard.misses++
	}
	return entry.identity, ok
}

// stats returns how often get found an identity, how often it found none, and the number of entries.
func (c *cache) stats() (hits, misses int64, entries int) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		hits, misses, entries = hits+shard.hits, misses+shard.misses, entries+len(shard.entries)
		shard.mu.Unlock()
	}
	return hits, misses, entries
}

// put stores the identity of a token that was verified at now with the keys of that generation. It stores nothing if
// the token has expired and is accepted only because of the leeway.
func (c *cache) put(key cacheKey, identity Identity, generation uint64, now time.Time) {
	entry := cacheEntry{identity, now.Add(cacheTTL), generation}
	if identity.Expires.Before(entry.expires) {
		entry.expires = identity.Expires
	}
	if !entry.valid(generation, now) {
		return
	}
	shard := c.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.entries == nil {
		shard.entries = map[cacheKey]cacheEntry{}
	}
	if len(shard.entries) >= shardEntries {
		shard.evict(generation, now)
	}
	shard.entries[key] = entry
}

// evict deletes one entry: the first of eight random ones that is no longer valid, or else the eighth.
func (s *cacheShard) evict(generation uint64, now time.Time) {
	const sample = 8
	var victim cacheKey
	seen := 0
	for key, entry := range s.entries { // in an order that clients cannot influence
		victim = key
		if seen++; seen == sample || !entry.valid(generation, now) {
			break
		}
	}
	delete(s.entries, victim)
}
