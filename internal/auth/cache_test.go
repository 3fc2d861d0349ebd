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

func TestCacheForgetsAtExpiryAndAfterAMinute(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		expires time.Duration
		later   time.Duration
		known   bool
	}{
		"fresh":                    {time.Hour, cacheFor - 1, true},
		"a minute old":             {time.Hour, cacheFor, false},
		"just before expiry":       {10 * time.Second, 10*time.Second - 1, true},
		"expired":                  {10 * time.Second, 10 * time.Second, false},
		"good by the leeway alone": {-time.Second, 0, false},
	} {
		var c cache
		c.put(keyOf(1), Identity{"ann", now.Add(test.expires)}, 7, now)
		if identity, known := c.get(keyOf(1), 7, now.Add(test.later)); known != test.known || known && identity.Owner != "ann" {
			t.Errorf("%s: known is %v, want %v", name, known, test.known)
		}
	}
}

func TestCacheForgetsWhenTheKeysChange(t *testing.T) {
	t.Parallel()
	var c cache
	now := time.Now()
	c.put(keyOf(1), Identity{"ann", now.Add(time.Hour)}, 7, now)
	if _, known := c.get(keyOf(1), 8, now); known {
		t.Error("a token verified with other keys is still known")
	}
}

func TestCacheIsBoundedUnderAFloodOfGoodTokens(t *testing.T) {
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
		t.Errorf("%d entries, want the cache to be full", total)
	}
}

func TestCacheDropsWhatNoLongerCountsFirst(t *testing.T) {
	t.Parallel()
	now := time.Now()
	shard := cacheShard{entries: map[cacheKey]cacheEntry{
		keyOf(1): {until: now.Add(-time.Second)},
		keyOf(2): {until: now.Add(time.Hour)},
		keyOf(3): {until: now.Add(time.Hour)},
	}}
	shard.makeRoom(0, now)
	if _, there := shard.entries[keyOf(1)]; there || len(shard.entries) != 2 {
		t.Error("an entry that still counts was dropped before one that does not")
	}
}
