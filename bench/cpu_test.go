package main

import (
	"testing"
	"time"
)

func TestTimeOnACPUIsReadFromASchedstat(t *testing.T) {
	t.Parallel()
	got, err := onCPU("3989395 854910 1002\n")
	if err != nil || got != 3989395 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := onCPU(""); err == nil {
		t.Error("nothing is taken for a time")
	}
}

func TestAProcessIsReadWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	got, err := parseStat("31 (a) b (c)) S 7 31 0 0 -1 4194304 314 9 0 0 4 5 60 70 20 0 6 0 129122\n")
	if want := (stat{parent: 7, ended: 1300 * time.Millisecond}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseStat("31 (short) S 7"); err == nil {
		t.Error("half a line is taken for a process")
	}
}

func TestPeakOfMemoryIsRead(t *testing.T) {
	t.Parallel()
	got, err := parsePeak("Name:\tx\nVmPeak:\t  123 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n")
	if err != nil || got != 2<<20 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parsePeak("Name:\tx\n"); err == nil {
		t.Error("nothing is taken for a peak")
	}
}
