package server

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"docket/internal/limit"
	"docket/internal/middleware"
	"docket/internal/problem"
)

// count counts a request of an owner's against RATE_LIMIT_PER_MINUTE. The response tells the quota in the header fields
// of draft-ietf-httpapi-ratelimit-headers-11.
func (s *Server) count(state *middleware.State, r *http.Request) error {
	quota, ok := s.rate.Take(state.Owner)
	state.Header()["Ratelimit-Policy"] = []string{`"default";q=` + strconv.Itoa(s.config.RateLimit) + ";w=60"}
	setQuota(state, quota)
	if !ok {
		return rateLimited(s.config.RateLimit, seconds(quota.Reset))
	}
	if r.Header["If-None-Match"] != nil {
		state.BeforeHeader = func(status int) {
			if status == http.StatusNotModified {
				setQuota(state, s.rate.NotModified(state.Owner))
			}
		}
	}
	return nil
}

func setQuota(state *middleware.State, q limit.Quota) {
	state.Header()["Ratelimit"] = []string{
		`"default";r=` + strconv.Itoa(q.Remaining) + ";t=" + strconv.Itoa(seconds(q.Reset)),
	}
}

// seconds rounds up, so that a client that waits for that long need not wait again.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// rateLimited returns the problem of a request beyond the limit.
func rateLimited(limit, retryAfter int) *problem.Problem {
	retryAfter = max(1, retryAfter)
	wait := fmt.Sprintf("%d seconds", retryAfter)
	if retryAfter == 1 {
		wait = "a second"
	}
	return &problem.Problem{
		Type: problem.RateLimited, RetryAfter: retryAfter,
		Detail: "You have sent more than " + grouped(limit) + " requests a minute. Nothing was done. Try again in " + wait + ".",
	}
}
