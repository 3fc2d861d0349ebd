package auth

import "time"

func init() { fetchTimeout = 5 * time.Minute }

// CachedTokens returns the number of tokens in the cache.
func (v *Verifier) CachedTokens() int {
	total := 0
	for i := range v.cache.shards {
		v.cache.shards[i].mu.Lock()
		total += len(v.cache.shards[i].entries)
		v.cache.shards[i].mu.Unlock()
	}
	return total
}

// KeepKeys replaces how long a key set without a usable key does not withdraw the last ones.
func (c *Config) KeepKeys(d time.Duration) { c.keepKeys = d }
