package auth

// Remembered counts the tokens in the cache.
func (v *Verifier) Remembered() int {
	total := 0
	for i := range v.cache.shards {
		v.cache.shards[i].mu.Lock()
		total += len(v.cache.shards[i].entries)
		v.cache.shards[i].mu.Unlock()
	}
	return total
}
