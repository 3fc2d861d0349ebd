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

// proc is where Linux tells about processes. Nothing else counts time and memory as exactly, so that this command is
// for Linux alone.
const proc = "/proc"

// spent is the time that a process has been on a CPU, to the nanosecond: the sum over its threads. A thread that ends
// takes its time along; those of Go's runtime do not end by themselves.
func spent(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("%s/%d/task/*/schedstat", proc, pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist))
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if gone(err) {
			continue
		} else if err != nil {
			return 0, err
		}
		d, err := onCPU(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += d
	}
	return total, nil
}

// onCPU reads a schedstat: time on a CPU, time waiting for one, and how often.
func onCPU(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(n), err
}

// family is a process and its children, and what children that have ended used.
func family(pid int) (pids []int, ended time.Duration, err error) {
	pids = []int{pid}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range entries {
		other, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(proc, entry.Name(), "stat"))
		if gone(err) {
			continue
		} else if err != nil {
			return nil, 0, err
		}
		s, err := parseStat(string(text))
		if err != nil {
			return nil, 0, err
		}
		if other == pid {
			ended = s.ended
		} else if s.parent == pid {
			pids = append(pids, other)
		}
	}
	return pids, ended, nil
}

// familySpent is what a process and all children that it ever had have used.
func familySpent(pid int) (time.Duration, error) {
	pids, total, err := family(pid)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		d, err := spent(pid)
		if err != nil && !gone(err) {
			return 0, err
		}
		total += d
	}
	return total, nil
}

// stat is what we need of /proc/…/stat.
type stat struct {
	parent int
	ended  time.Duration // what its children have used that have ended
}

// tick is the unit of the times in there, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func parseStat(text string) (s stat, err error) {
	// The second field is the command's name, in brackets, and may hold anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return s, fmt.Errorf("%q is no process's state", text)
	}
	parent, err1 := strconv.Atoi(fields[1])
	user, err2 := strconv.ParseInt(fields[13], 10, 64)
	system, err3 := strconv.ParseInt(fields[14], 10, 64)
	return stat{parent, time.Duration(user+system) * tick}, errors.Join(err1, err2, err3)
}

// forgetPeak makes a process's peak of memory what it has now.
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("%s/%d/clear_refs", proc, pid), []byte("5"), 0)
}

// peak is the most memory that a process had at once, in bytes.
func peak(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("%s/%d/status", proc, pid))
	if err != nil {
		return 0, err
	}
	return parsePeak(string(text))
}

func parsePeak(status string) (int64, error) {
	_, rest, _ := strings.Cut(status, "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
	return kilobytes << 10, err
}

// gone tells whether a process ended while we looked at it.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
