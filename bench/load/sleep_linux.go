package load

import (
	"syscall"
	"time"
)

// sleepUntil is more exact than time.Sleep, which can be a millisecond late. Many requests take no longer than that.
func sleepUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		rest := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&rest, nil) // if a signal interrupts it, the loop continues
	}
}
