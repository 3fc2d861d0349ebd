package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"testing"
	"time"
)

func keyOf(n int) cacheKey {
	return sha256.Sum256(binary.AppendVarint(nil, int64(n)))
}

func TestCacheEntriesEndWithTheirTokenOrAfterAMinute(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		expires time.Duration // of the token, after now
		age     time.Duration // of the entry
		want    bool
	}{
		"new":                    {time.Hour, cacheTTL - 1, true},
		"a minute old":           {time.Hour, cacheTTL, false},
		"just before expiry":     {10 * time.Second, 10*time.Second - 1, true},
		"expired":                {10 * time.Second, 10 * time.Second, false},
		"within the leeway only": {-time.Second, 0, false},
	} {
		var c cache
		c.put(keyOf(1), Identity{"ann", now.Add(test.expires)}, 7, now)
		if identity, ok := c.get(keyOf(1), 7, now.Add(test.age)); ok != test.want || ok && identity.Owner != "ann" {
			t.Errorf("%s: got %v, want %v", name, ok, test.want)
		}
	}
}

func TestCacheEntriesEndWhenTheKeysChange(t *testing.T) {
	t.Parallel()
	var c cache
	now := time.Now()
	c.put(keyOf(1), Identity{"ann", now.Add(time.Hour)}, 7, now)
	if _, ok := c.get(keyOf(1), 8, now); ok {
		t.Error("a token that was verified with the old keys is still in the cache")
	}
}

func TestCacheSizeIsLimited(t *testing.T) {
	t.Parallel()
	var c cache
	now := time.Now()
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 20_000 {
				c.put(keyOf(g*20_000+i), Identity{"ann", now.Add(time.Hour)}, 0, now)
			}
		})
	}
	group.Wait()
	total := 0
	for i := range c.shards {
		if n := len(c.shards[i].entries); n > shardEntries {
			t.Errorf("a shard has %d entries, more than %d", n, shardEntries)
		} else {
			total += n
		}
	}
	if total != cacheShards*shardEntries {
		t.Errorf("%d entries, want %d", total, cacheShards*shardEntries)
	}
}

func TestCacheEvictsExpiredEntriesFirst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	shard := cacheShard{entries: map[cacheKey]cacheEntry{
		keyOf(1): {expires: now.Add(-time.Second)},
		keyOf(2): {expires: now.Add(time.Hour)},
		keyOf(3): {expires: now.Add(time.Hour)},
	}}
	shard.evict(0, now)
	if _, ok := shard.entries[keyOf(1)]; ok || len(shard.entries) != 2 {
		t.Error("a valid entry was evicted before an expired one")
	}
}
