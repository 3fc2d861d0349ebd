package limit

import (
	"sync"
	"time"
)

// Rate limits how many requests each owner may send. An owner may send as many as are allowed in a minute at once; what
// was used comes back evenly over the minute (GCRA, the leaky bucket as a meter). It is safe for concurrent use.
//
// An owner costs memory for a minute or two after its last request, when its quota is whole again, and longer if no request
// is counted then: only counting forgets. Owners who are in neither map have their whole quota.
type Rate struct {
	limit    int           // requests in a minute
	interval time.Duration // in which one request comes back
	now      func() time.Time

	mu            sync.Mutex
	recent, older map[string]time.Time // when the quota of an owner is whole again
	rotated       time.Time            // when recent became older
}

// Quota is what an owner may send.
type Quota struct {
	Remaining int           // requests that may be sent at once
	Reset     time.Duration // until the quota is whole again; if nothing remains, until another request may be sent
}

const (
	window = time.Minute

	// maxOwners is the number of owners that a map may have. An owner costs some 150 bytes, so both take 30 MB at most.
	// Beyond it, the owners who sent nothing for the longest time have their whole quota again, rather than that anybody
	// is refused for the requests of others.
	maxOwners = 100_000
)

// NewRate returns a Rate that allows that many requests a minute, on the given clock.
func NewRate(limit int, now func() time.Time) *Rate {
	return &Rate{limit: limit, interval: window / time.Duration(limit), now: now, recent: map[string]time.Time{}, rotated: now()}
}

// Take counts a request of the owner's. It reports false if the owner may not send it yet, and counts nothing then.
func (r *Rate) Take(owner string) (Quota, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	whole := r.wholeAt(owner, now).Add(r.interval)
	if whole.Sub(now) > r.most() {
		return r.quota(whole.Add(-r.interval), now), false
	}
	r.set(owner, whole, now)
	return r.quota(whole, now), true
}

// NotModified returns to the owner four fifths of a request that was counted, whose response cost little.
func (r *Rate) NotModified(owner string) Quota {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	whole := r.wholeAt(owner, now).Add(-r.interval * 4 / 5)
	r.set(owner, whole, now)
	return r.quota(whole, now)
}

// most is the time in which a quota that is used up becomes whole.
func (r *Rate) most() time.Duration { return time.Duration(r.limit) * r.interval }

func (r *Rate) quota(whole, now time.Time) Quota {
	used := max(0, whole.Sub(now))
	q := Quota{Remaining: int((r.most() - used) / r.interval), Reset: used}
	if q.Remaining == 0 {
		q.Reset = used + r.interval - r.most()
	}
	return q
}

// wholeAt returns when the owner's quota is whole, now at the earliest. The caller has locked r.mu, as for set.
func (r *Rate) wholeAt(owner string, now time.Time) time.Time {
	whole, known := r.recent[owner]
	if !known {
		whole = r.older[owner]
	}
	if whole.Before(now) {
		return now
	}
	return whole
}

// set forgets the owners in older when a minute has passed since they were all in recent: their quotas are whole.
func (r *Rate) set(owner string, whole, now time.Time) {
	if now.Sub(r.rotated) > window || len(r.recent) >= maxOwners {
		r.older, r.recent, r.rotated = r.recent, map[string]time.Time{}, now
	}
	r.recent[owner] = whole
}
