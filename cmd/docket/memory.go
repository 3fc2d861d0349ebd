package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// ballast is never touched, so that it takes no memory, but it counts as in use: garbage is collected when the heap has
// grown by half of what is in use. Of a small heap that would be all the time. See docs/adr/0023.
var ballast []byte

const (
	ballastSize = 16 << 20
	growth      = 50 // percent
)

// tuneMemory sees to it that a small heap is not collected all the time, and that a large one is before the container's
// kernel ends us for it. GOGC and GOMEMLIMIT, as Go has them, override either.
func tuneMemory(getenv func(string) string, container memlimit.Provider, log *slog.Logger) {
	if getenv("GOGC") == "" {
		ballast = untouched(make([]byte, ballastSize))
		debug.SetGCPercent(growth)
	}
	limit, err := memlimit.Set(memlimit.WithProvider(container))
	switch {
	case err != nil: // a system without containers, most often
		log.Debug("no memory limit", slog.Any("cause", err))
	case limit < math.MaxInt64:
		log.Info("memory limit", slog.Int64("bytes", limit))
	}
}
