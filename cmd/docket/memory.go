package main

import (
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// ballast points to an allocation that is never written to. It takes no memory, but the garbage collector counts it as
// live and starts when the heap has grown to 1.5 times the live memory. Without it a small heap is collected all the time.
// See docs/adr/0023.
var ballast atomic.Pointer[[]byte]

const (
	ballastSize = 16 << 20
	growth      = 50 // percent
)

// tuneMemory makes the garbage collector run less often for a small heap, and before the container's memory limit is
// reached for a large one. The environment variables GOGC and GOMEMLIMIT, as Go defines them, take precedence.
func tuneMemory(getenv func(string) string, container memlimit.Provider, log *slog.Logger) {
	if getenv("GOGC") == "" {
		ballast.Store(new(untouched(make([]byte, ballastSize))))
		debug.SetGCPercent(growth)
	}
	limit, err := memlimit.Set(memlimit.WithProvider(container))
	switch {
	case err != nil: // usually a system without containers
		log.Debug("no memory limit", slog.Any("cause", err))
	case limit < math.MaxInt64:
		log.Info("memory limit", slog.Int64("bytes", limit))
	}
}
