package check

import (
	"strings"
	"testing"
)

// A URL can hold thousands of unknown parameters. A problem lists a hundred, and no more are examined.
func TestTheCostOfManyUnknownParametersIsBounded(t *testing.T) { //nolint:paralleltest // it counts allocations
	op := &Operation{queries: map[string]*parameter{"limit": {}, "offset": {}}}
	cost := func(n int) float64 {
		query := strings.Repeat("a&", n)
		return testing.AllocsPerRun(10, func() {
			if faults := op.checkQuery(query); len(faults) != maxFaults {
				t.Errorf("%d faults", len(faults))
			}
		})
	}
	if few, many := cost(maxFaults), cost(8000); many > few+10 {
		t.Errorf("%v allocations for %d parameters, and %v for 8000", few, maxFaults, many)
	}
}
