package server

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"docket/internal/store"
)

// The database is checked once at a time, however many probes start or are canceled. A probe that is not canceled is
// answered after one check.
func TestProbesShareACheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const duration = 100 * time.Millisecond
		var s Server
		n := 0
		check := func(ctx context.Context) (store.Condition, error) {
			n++
			select {
			case <-time.After(duration):
				return store.Condition{SchemaVersion: int32(n)}, nil
			case <-ctx.Done():
				return store.Condition{}, ctx.Err()
			}
		}
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		start := time.Now()
		for i := range 300 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = leaving // including the probe that started the check
			}
			all.Go(func() {
				switch c, err := s.shared(ctx, check); {
				case ctx == leaving && errors.Is(err, context.Canceled):
				case err != nil || c.SchemaVersion != 1 || time.Since(start) != duration:
					t.Errorf("after %v: %+v, %v", time.Since(start), c, err)
				}
			})
			synctest.Wait() // in this order
		}
		leave()
		all.Wait()
		if c, err := s.shared(t.Context(), check); err != nil || c.SchemaVersion != 2 {
			t.Errorf("the next probe finds %+v, %v", c, err)
		}
	})
}

func TestACheckOfTheDatabaseEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s Server
		start := time.Now()
		_, err := s.shared(t.Context(), func(ctx context.Context) (store.Condition, error) {
			<-ctx.Done()
			return store.Condition{}, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
