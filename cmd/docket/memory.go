package main

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// smallHeap is what the heap may grow to before garbage is collected, however little of it is in use: see docs/adr/0023.
const smallHeap = 20 << 20

// tuneMemory sees to it that a small heap is not collected all the time, and that a large one is before the container's
// kernel ends us for it. GOGC and GOMEMLIMIT, as Go has them, override either.
func tuneMemory(getenv func(string) string, container memlimit.Provider, log *slog.Logger) {
	if getenv("GOGC") == "" {
		keepSmallHeap(0)
	}
	limit, err := memlimit.Set(memlimit.WithProvider(container))
	switch {
	case err != nil: // a system without containers, most often
		log.Debug("no memory limit", slog.Any("cause", err))
	case limit < math.MaxInt64:
		log.Info("memory limit", slog.Int64("bytes", limit))
	}
}

// keepSmallHeap sets GOGC, and again after each collection, for as long as the process lives.
func keepSmallHeap(set int) {
	roots := read("/gc/scan/stack:bytes") + read("/gc/scan/globals:bytes")
	if percent := percentOf(read("/gc/heap/live:bytes"), roots); percent != set { // to set it stops the world for a moment
		set = percent
		debug.SetGCPercent(set)
	}
	type collected struct{ _ *byte } // no object that shares its memory with others
	runtime.AddCleanup(new(collected), keepSmallHeap, set)
}

// percentOf is the GOGC with which a heap is collected when it has doubled, but not before it has smallHeap. Go adds that
// much of the live bytes and of the roots, stacks and globals, to the live ones: with its own 100 the heap would grow by
// what the stacks take as well. It goes in steps, so that it seldom changes.
func percentOf(live, roots uint64) int {
	const least, step = 50, 25
	const most = 100 * smallHeap / (4 << 20) // Go begins at 4 MiB by itself
	grows := max(smallHeap-min(live, smallHeap), live) * 100 / max(live+roots, 1)
	return int(min(max((grows+step/2)/step*step, least), most))
}

// read gives one of the runtime's metrics.
func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
