package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestMemoryLimitIsNineTenthsOfTheContainers(t *testing.T) { // not parallel: it changes the process's limit
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
			t.Setenv("GOMEMLIMIT", test.operator) // the runtime read it when the process started
			if test.operator == "" {
				check(t, os.Unsetenv("GOMEMLIMIT")) // also when the environment of the tests has it
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
