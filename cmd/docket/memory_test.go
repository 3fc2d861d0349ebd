package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestMemoryIsLimitedToWhatTheContainerMayTake(t *testing.T) { // not parallel: the limit is the process's
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const before, container = 3 << 30, 5 << 30
	for _, test := range []struct {
		name, operator string // GOMEMLIMIT
		provider       memlimit.Provider
		want           int64
		log            string
	}{
		{"limited", "", memlimit.Limit(container), 9 << 29, `"msg":"memory limit"`},
		{"limited by the operator", "5GiB", memlimit.Limit(container), before, `"msg":"memory limit"`},
		{"not limited", "", func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64, ""},
		{"no container", "", func() (uint64, error) { return 0, errors.New("no cgroup") }, before, `"msg":"no memory limit"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			t.Setenv("GOMEMLIMIT", test.operator) // the runtime has read it when the process began
			if test.operator == "" {
				check(t, os.Unsetenv("GOMEMLIMIT")) // also where who runs the tests has set it
			}
			var log strings.Builder
			tuneMemory(func(string) string { return "100" }, test.provider, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			if got := debug.SetMemoryLimit(-1); got != test.want {
				t.Errorf("the limit is %d, want %d", got, test.want)
			}
			if test.log == "" && log.Len() > 0 || !strings.Contains(log.String(), test.log) {
				t.Errorf("logged %q, want %s", log.String(), test.log)
			}
		})
	}
}

func TestASmallHeapIsNotCollectedAllTheTime(t *testing.T) { // not parallel: GOGC is the process's
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for _, test := range []struct {
		live, roots uint64 // MiB
		want        int
	}{
		{0, 0, 500}, {1, 1, 500}, {3, 1, 425}, {4, 0, 400}, {4, 1, 325}, {4, 6, 150}, {6, 8, 100}, {8, 8, 75}, {8, 0, 150}, {10, 1, 100}, {10, 10, 50}, {20, 0, 100}, {1000, 1, 100}, {10, 100, 50},
	} {
		if got := percentOf(test.live<<20, test.roots<<20); got != test.want {
			t.Errorf("GOGC is %d with %d MiB live and %d of roots, want %d", got, test.live, test.roots, test.want)
		}
	}

	large := make([]byte, 64<<20)
	runtime.GC()
	keepSmallHeap(0)
	if got := read("/gc/gogc:percent"); got != 100 {
		t.Errorf("GOGC is %d with a large heap", got)
	}
	runtime.KeepAlive(large)
	large = nil
	for end := time.Now().Add(10 * time.Second); read("/gc/gogc:percent") <= 100; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("GOGC is still that of a large heap, with %d MiB live", read("/gc/heap/live:bytes")>>20)
		}
		runtime.GC()
	}
}
