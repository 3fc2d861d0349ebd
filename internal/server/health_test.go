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

// However many ask, and however many of them leave, the database is looked at by one at a time, and whoever stays has an
// answer after one look.
func TestProbesShareALook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const far = 100 * time.Millisecond
		var l looks
		n := 0
		check := func(ctx context.Context) (store.Condition, error) {
			n++
			select {
			case <-time.After(far):
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
				ctx = leaving // the one who looks is among them
			}
			all.Go(func() {
				switch c, err := l.join(ctx, check); {
				case ctx == leaving && errors.Is(err, context.Canceled):
				case err != nil || c.SchemaVersion != 1 || time.Since(start) != far:
					t.Errorf("after %v: %+v, %v", time.Since(start), c, err)
				}
			})
			synctest.Wait() // in this order
		}
		leave()
		all.Wait()
		if c, err := l.join(t.Context(), check); err != nil || c.SchemaVersion != 2 {
			t.Errorf("the next one finds %+v, %v", c, err)
		}
	})
}

func TestALookEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l looks
		start := time.Now()
		_, err := l.join(t.Context(), func(ctx context.Context) (store.Condition, error) {
			<-ctx.Done()
			return store.Condition{}, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
