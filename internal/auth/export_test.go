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
