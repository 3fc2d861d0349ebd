package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// proc is the folder in which Linux describes processes. No other system measures CPU time and memory as exactly.
const proc = "/proc"

// cpuTime returns how long a process has been on a CPU, to the nanosecond: the sum over its threads. Time of threads
// that have ended is missing; those of Go's runtime do not end by themselves.
func cpuTime(pid int) (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("%s/%d/task/*/schedstat", proc, pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if ended(err) {
			continue
		} else if err != nil {
			return 0, err
		}
		d, err := parseSchedstat(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += d
	}
	return total, nil
}

// parseSchedstat returns the first of its numbers: the nanoseconds on a CPU.
func parseSchedstat(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(n), err
}

// treeCPUTime returns how long a process and its children, also those that have ended, have been on a CPU.
func treeCPUTime(pid int) (total time.Duration, err error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return 0, err
	}
	pids := []int{pid}
	for _, entry := range entries {
		other, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		s, err := readStat(other)
		switch {
		case ended(err):
		case err != nil:
			return 0, err
		case other == pid:
			total += s.endedChildren
		case s.parent == pid:
			pids = append(pids, other)
		}
	}
	for _, pid := range pids {
		d, err := cpuTime(pid)
		if err != nil && !ended(err) {
			return 0, err
		}
		total += d
	}
	return total, nil
}

// stat is a part of /proc/…/stat.
type stat struct {
	parent        int
	endedChildren time.Duration // CPU time of the children that have ended
}

// tick is the unit of the times in /proc/…/stat, on every Linux that Go supports.
const tick = 10 * time.Millisecond

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

func parseStat(text string) (s stat, err error) {
	// The second field is the command's name, in brackets, and may contain anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return s, fmt.Errorf("%q is not the stat of a process", text)
	}
	parent, err1 := strconv.Atoi(fields[1])
	user, err2 := strconv.ParseInt(fields[13], 10, 64)
	system, err3 := strconv.ParseInt(fields[14], 10, 64)
	return stat{parent, time.Duration(user+system) * tick}, errors.Join(err1, err2, err3)
}

// resetPeak sets a process's peak of memory to what it uses now.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("%s/%d/clear_refs", proc, pid), []byte("5"), 0)
}

// peakMemory returns the most memory that a process has used at a time, in bytes.
func peakMemory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/%d/status", proc, pid))
	if err != nil {
		return 0, err
	}
	return parsePeak(string(text))
}

func parsePeak(status string) (float64, error) {
	_, rest, _ := strings.Cut(status, "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 64)
	return kilobytes * 1024, err
}

// ended reports whether an error means that a process has ended.
func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
