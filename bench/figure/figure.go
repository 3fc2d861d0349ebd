// Package figure makes figures out of measurements: percentiles, ratios with their spread, exponents of growth, and the
// tables and plots that show them.
package figure

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Number is what a median can be taken of.
type Number interface {
	~int | ~int64 | ~float64
}

// Percentile is the smallest of the values, which are in order, that p percent of them do not exceed; 0 of none.
func Percentile[T cmp.Ordered](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var none T
		return none
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// Spread is the middle of several values and how far they lie apart.
type Spread struct{ Median, Min, Max float64 }

// Of gives the spread of values; all is 0 of none.
func Of[T Number](values []T) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := float64(sorted[middle])
	if len(sorted)%2 == 0 {
		median = (float64(sorted[middle-1]) + median) / 2
	}
	return Spread{median, float64(sorted[0]), float64(sorted[len(sorted)-1])}
}

// Ratio is the spread of a/b, pair by pair: each pair was measured in the same round, so that what changes on the machine
// from one round to the next does not count.
func Ratio(a, b []float64) Spread {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return Of(ratios)
}

// Exponent is the slope of a line through the points on paper with logarithmic axes: 0 for a cost that stays, 1 for one
// that grows as x does.
func Exponent(x, y []float64) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for i := range min(len(x), len(y)) {
		lx, ly := math.Log(x[i]), math.Log(y[i])
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+lx, sumY+ly, sumXX+lx*lx, sumXY+lx*ly
	}
	return (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
}

// String writes the median, the least and the most.
func (s Spread) String() string {
	if s.Min == s.Max {
		return fmt.Sprintf("%.2f", s.Median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Median, s.Min, s.Max)
}

// Micro writes microseconds, which are what a request costs.
func Micro(micro float64) string {
	switch {
	case math.IsNaN(micro) || micro == 0:
		return "–"
	case micro < 99.5:
		return fmt.Sprintf("%.1f µs", micro)
	case micro < 999.5:
		return fmt.Sprintf("%.0f µs", micro)
	case micro < 99_995:
		return fmt.Sprintf("%.2f ms", micro/1e3)
	case micro < 999_500:
		return fmt.Sprintf("%.0f ms", micro/1e3)
	}
	return fmt.Sprintf("%.2f s", micro/1e6)
}

// Axis writes microseconds beside an axis, where they are powers of ten.
func Axis(micro float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, "s"}, {1e3, "ms"}} {
		if micro >= unit.size {
			return fmt.Sprintf("%g %s", micro/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%g µs", micro)
}

// Micros is a duration in microseconds.
func Micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Count writes a whole number with its thousands apart.
func Count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Table writes a table in Markdown. Columns after the first are numbers.
func Table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	rule := slices.Repeat([]string{"---:"}, len(head))
	rule[0] = "---"
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
