package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// ballast is an allocation that is never written to. It takes no memory, but the garbage collector counts it as live
// and starts when the heap has grown by half of what is live. Without it a small heap is collected all the time. See
// docs/adr/0023.
var ballast []byte

const (
	ballastSize = 16 << 20
	growth      = 50 // percent
)

// tuneMemory makes a small heap be collected less often, and a large one before the container's kernel ends the process.
// The environment variables GOGC and GOMEMLIMIT, as Go defines them, override either.
func tuneMemory(getenv func(string) string, container memlimit.Provider, log *slog.Logger) {
	if getenv("GOGC") == "" {
		ballast = untouched(make([]byte, ballastSize))
		debug.SetGCPercent(growth)
	}
	limit, err := memlimit.Set(memlimit.WithProvider(container))
	switch {
	case err != nil: // most often a system without containers
		log.Debug("no memory limit", slog.Any("cause", err))
	case limit < math.MaxInt64:
		log.Info("memory limit", slog.Int64("bytes", limit))
	}
}
