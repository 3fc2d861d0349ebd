package figure_test

import (
	"math"
	"testing"

	"docket/bench/figure"
)

func TestPercentileIsTheValueAtItsRank(t *testing.T) {
	t.Parallel()
	var hundred []int
	for i := range 100 {
		hundred = append(hundred, i+1)
	}
	for _, test := range []struct {
		sorted []int
		p      float64
		want   int
	}{
		{nil, 50, 0},
		{[]int{7}, 50, 7},
		{[]int{7}, 99, 7},
		{[]int{1, 2}, 50, 1},
		{[]int{1, 2}, 51, 2},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 95, 95},
		{hundred, 99, 99},
		{hundred, 99.1, 100},
		{hundred, 100, 100},
	} {
		if got := figure.Percentile(test.sorted, test.p); got != test.want {
			t.Errorf("%v %% of %d values is %d, want %d", test.p, len(test.sorted), got, test.want)
		}
	}
}

func TestSpreadIsOfTheValuesAndLeavesTheirOrder(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	if got, want := figure.Of(values), (figure.Spread{Median: 2, Min: 1, Max: 3}); got != want || values[0] != 3 {
		t.Errorf("got %+v of %v, want %+v", got, values, want)
	}
	if got, want := figure.Of([]int{4, 1, 2, 3}), (figure.Spread{Median: 2.5, Min: 1, Max: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := figure.Of[int](nil); got != (figure.Spread{}) {
		t.Errorf("got %+v of nothing", got)
	}
}

func TestRatioComparesWhatWasMeasuredInOneRound(t *testing.T) {
	t.Parallel()
	// The machine was half as fast in the second round: that changes no ratio.
	got := figure.Ratio([]float64{90, 45, 80}, []float64{100, 50, 100})
	if want := (figure.Spread{Median: 0.9, Min: 0.8, Max: 0.9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := got.String(), "0.90 (0.80 to 0.90)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := (figure.Spread{Median: 2, Min: 2, Max: 2}).String(), "2.00"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExponentTellsHowACostGrows(t *testing.T) {
	t.Parallel()
	x := []float64{1e5, 1e6, 1e7}
	for want, y := range map[float64][]float64{
		0:   {5, 5, 5},
		1:   {5, 50, 500},
		2:   {5, 500, 50_000},
		0.5: {1, math.Sqrt(10), 10},
		-1:  {100, 10, 1},
	} {
		if got := figure.Exponent(x, y); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v grows with %v, want %v", y, got, want)
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	for micro, want := range map[float64]string{
		0: "–", 1.25: "1.2 µs", 80.06: "80.1 µs", 99.6: "100 µs", 999.6: "1.00 ms", 12_345: "12.35 ms", 123_456: "123 ms", 1_234_567: "1.23 s",
	} {
		if got := figure.Micro(micro); got != want {
			t.Errorf("%v is written %s, want %s", micro, got, want)
		}
	}
	for micro, want := range map[float64]string{0.1: "0.1 µs", 100: "100 µs", 1e4: "10 ms", 1e6: "1 s"} {
		if got := figure.Axis(micro); got != want {
			t.Errorf("%v is written %s, want %s", micro, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -1000: "-1,000", -100: "-100"} {
		if got := figure.Count(n); got != want {
			t.Errorf("%v is written %s, want %s", n, got, want)
		}
	}
}

func TestATableIsMarkdown(t *testing.T) {
	t.Parallel()
	got := figure.Table([]string{"what", "how much"}, [][]string{{"a", "1"}, {"b", "2"}})
	if want := "| what | how much |\n| --- | ---: |\n| a | 1 |\n| b | 2 |\n"; got != want {
		t.Errorf("got\n%s", got)
	}
}
