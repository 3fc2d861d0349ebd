package store

import (
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
