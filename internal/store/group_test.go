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

func TestASmallListReadsWhatItGives(t *testing.T) {
	t.Parallel()
	yes := true
	for _, c := range []struct {
		query ListQuery
		small bool
	}{
		{ListQuery{Limit: 1}, true},
		{ListQuery{Limit: 100}, true},
		{ListQuery{Limit: 20, Offset: 80}, true},
		{ListQuery{Limit: 20, Offset: 81}, false},
		{ListQuery{Limit: 101}, false},
		{ListQuery{Limit: 20, Offset: math.MaxInt32}, false},
		{ListQuery{Limit: 1000, Offset: math.MaxInt32}, false},
		{ListQuery{Limit: 20, Sort: SortTitle, Ascending: true}, true},
		{ListQuery{Limit: 20, Completed: &yes}, true},
		{ListQuery{Limit: 20, Completed: &yes, Sort: SortTitle}, false},
		{ListQuery{Limit: 20, Priorities: []string{"high"}}, false},
		{ListQuery{Limit: 20, Search: "milk"}, false},
		{ListQuery{Limit: 20, Cursor: "a page before"}, false},
	} {
		if c.query.small() != c.small {
			t.Errorf("%+v: small is %t", c.query, !c.small)
		}
	}
}
