package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// percentile returns the smallest of the sorted values that p percent of them do not exceed, or zero if there are none.
func percentile[T cmp.Ordered](sorted []T, p float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// spread is the median of values and the quartiles, between which half of them are.
type spread struct{ median, lower, upper float64 }

// spreadOf returns the spread of values, or zero if there are none.
func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{percentile(sorted, 50), percentile(sorted, 25), percentile(sorted, 75)}
}

// ratio returns the spread of a/b in each round. Differences between rounds affect both sides and cancel out.
func ratio(a, b []float64) spread {
	all := make([]float64, min(len(a), len(b)))
	for i := range all {
		all[i] = a[i] / b[i]
	}
	return spreadOf(all)
}

// String writes the median and the quartiles.
func (s spread) String() string {
	if s.lower == s.upper {
		return fmt.Sprintf("%.2f", s.median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.lower, s.upper)
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// micros writes microseconds in a fitting unit; a dash for 0.
func micros(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 99.5:
		return fmt.Sprintf("%.1f µs", v)
	case v < 9_999.5:
		return count(v) + " µs"
	}
	return fmt.Sprintf("%.1f ms", v/1e3)
}

// mebibytes writes bytes.
func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }

// count writes a whole number with separated thousands.
func count[T int | float64](n T) string {
	digits := fmt.Sprintf("%.0f", float64(n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// table writes a table in Markdown, of which all columns but the first are numbers.
func table(rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(rows[0])
	rule := slices.Repeat([]string{"---:"}, len(rows[0]))
	rule[0] = "---"
	line(rule)
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}
