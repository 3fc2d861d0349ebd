package load

import (
	"syscall"
	"time"
)

// sleepUntil is more exact than time.Sleep, which is up to a millisecond late: as long as many requests take.
func sleepUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		rest := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&rest, nil) // when a signal ends it, the loop goes on
	}
}
