package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"unsafe"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestBallastRaisesTheHeapGoalAndTakesNoMemory(t *testing.T) { //nolint:paralleltest // it changes the process's GOGC
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer func() { ballast.Store(nil) }()
	func() {
		used := make([]byte, 4*ballastSize)
		for i := range used {
			used[i] = 1
		}
		runtime.KeepAlive(used)
	}()
	runtime.GC() // so that the ballast gets memory that was in use

	tuneMemory(func(string) string { return "" }, memlimit.Limit(1<<40), slog.New(slog.DiscardHandler))
	page := os.Getpagesize()
	entries := make([]byte, ballastSize/page*8) // proc_pid_pagemap(5): the highest bit says that a page is in memory
	pagemap, err := os.Open("/proc/self/pagemap")
	check(t, err)
	defer func() { _ = pagemap.Close() }()
	_, err = pagemap.ReadAt(entries, int64(uintptr(unsafe.Pointer(&(*ballast.Load())[0])))/int64(page)*8)
	check(t, err)
	resident := 0
	for i := 0; i < len(entries); i += 8 {
		resident += int(entries[i+7] >> 7)
	}
	if resident > ballastSize/page/4 { // both its ends may be in a huge page with other data
		t.Errorf("%d pages of the ballast are in memory", resident)
	}

	for range 3 {
		runtime.GC()
	}
	heap := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(heap)
	goal, live := heap[0].Value.Uint64()-ballastSize, heap[1].Value.Uint64()-ballastSize
	if least := live + live/2 + ballastSize/2; goal < least || goal > least+2<<20 {
		t.Errorf("with %d bytes live the heap goal is %d, want %d and at most 2 MiB for stacks and globals", live, goal, least)
	}
}
