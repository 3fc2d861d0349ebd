package store

import (
	"math"
	"testing"
	"time"
)

// Whoever leaves hands on what it was to send, past those who left before it.
func TestAGroupIsHandedOnToWhoStillWaits(t *testing.T) {
	t.Parallel()
	var c coalescer
	reads := make([]*read, 3)
	for i := range reads {
		reads[i] = &read{lead: make(chan *group, 1)}
		c.waiting = append(c.waiting, reads[i])
	}
	c.out = []*group{{since: time.Now()}}
	c.next(c.out[0])
	c.leave(reads[1])
	c.leave(reads[0])
	select {
	case g := <-reads[2].lead:
		if len(g.reads) != 1 || g.reads[0] != reads[2] {
			t.Errorf("the group has %d reads", len(g.reads))
		}
		reads[2].lead <- g
	default:
		t.Fatal("nobody sends the group")
	}
	if c.leave(reads[2]); len(c.out) != 0 {
		t.Error("a group that nobody is in holds its place")
	}
}

func TestAFarPageIsNotSmall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, offset int32
		small         bool
	}{{1, 0, true}, {100, 0, true}, {20, 80, true}, {20, 81, false}, {101, 0, false}, {20, math.MaxInt32, false}, {1000, math.MaxInt32, false}} {
		if q := (ListQuery{Limit: c.limit, Offset: c.offset}); q.small() != c.small {
			t.Errorf("limit %d, offset %d: small is %t", c.limit, c.offset, !c.small)
		}
	}
}
