package main

import (
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"testing"
	"unsafe"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The test is a process of its own, as `serve` is: memory that something else has had before would be cleared, and so
// be touched.
func TestASmallHeapIsNotCollectedAllTheTimeAndTakesNothingForIt(t *testing.T) {
	t.Parallel()
	if os.Getenv("DOCKET_TEST_ALONE") == "" {
		alone := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		alone.Env = append(os.Environ(), "DOCKET_TEST_ALONE=1")
		if out, err := alone.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	tuneMemory(func(string) string { return "" }, memlimit.Limit(1<<40), slog.New(slog.DiscardHandler))
	for range 3 {
		runtime.GC()
	}
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(goal)
	live := goal[1].Value.Uint64() - ballastSize
	if goal, least := goal[0].Value.Uint64()-ballastSize, live+live/2+ballastSize/2; goal < least || goal > least+2<<20 {
		t.Errorf("with %d bytes in use the heap is collected at %d, want %d and what stacks and globals add", live, goal, least)
	}

	page := uintptr(os.Getpagesize())
	entries := make([]byte, ballastSize/page*8) // proc_pid_pagemap(5): the highest bit of each is for being in memory
	pagemap, err := os.Open("/proc/self/pagemap")
	check(t, err)
	defer pagemap.Close()
	_, err = pagemap.ReadAt(entries, int64(uintptr(unsafe.Pointer(&ballast[0]))/page*8))
	check(t, err)
	resident := 0
	for i := 0; i < len(entries); i += 8 {
		resident += int(entries[i+7] >> 7)
	}
	if resident > ballastSize/int(page)/4 { // both its ends may lie in a huge page with something else
		t.Errorf("%d pages of the ballast are in memory", resident)
	}
}
